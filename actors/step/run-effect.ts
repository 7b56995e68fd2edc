import type { Action, Grant } from "../../machines/contracts/action.ts";
import { terminal } from "../../machines/contracts/failure.ts";
import type { JournalEntry } from "../../machines/contracts/journal.ts";
import type { Json, JsonObject } from "../../machines/contracts/json.ts";
import type { Outcome } from "../../machines/contracts/outcome.ts";
import { digest } from "../digest.ts";
import type { Effect, Work } from "../handlers/handler.ts";
import { LeaseLost, stored } from "../store-failure.ts";
import { confirmLease } from "./confirm-lease.ts";
import { stow, unstow } from "./stow.ts";
import { actionDigest, toAsk } from "./to-ask.ts";
import { traced } from "./traced.ts";
import type { WorkScope } from "./work.ts";

/**
 * Runs effects of one handler call under the journal's rules (DESIGN section 4): a completed effect is read,
 * never repeated; one begun and not completed is in doubt, and unless it is safe to repeat, a person decides.
 */
export function effectRunner(scope: WorkScope) {
  const occurrences = new Map<string, number>();

  return async <T extends Json>(
    effect: Effect<T>,
  ): Promise<{ ok: true; value: T } | { ok: false; work: Work }> => {
    const { life, signal } = scope;
    signal.throwIfAborted();
    const name = `${effect.name}#${digest(effect.input).slice(0, 16)}`;
    const occurrence = (occurrences.get(name) ?? 0) + 1;
    occurrences.set(name, occurrence);
    const id = `${name}#${occurrence}`;
    const key = `${life.key.runId}/${life.key.stepId}/${id}`;
    const done = () => traced(effect.name, () => effect.run(signal, key));

    let { grant } = effect;
    if (effect.repeat === "free" && grant === undefined) {
      return toWork(await done());
    }
    if (life.journal.isCompleted(id)) {
      const kept = await unstow(scope.ports.artifacts, life.key, life.journal.result(id));
      if ("value" in kept) return { ok: true, value: kept.value as T };
      // A passing failure is known not to have happened: it is tried again.
      if (!kept.failure.retryable) return toWork({ ok: false, ...kept });
    }
    if (effect.repeat === "unsafe" && life.journal.isInDoubt(id)) {
      const settled = settleDoubt(scope, effect, id);
      if ("kind" in settled) return { ok: false, work: settled };
      grant = settled;
    } else if (grant !== undefined && (life.journal.spentBy(grant.digest) ?? id) !== id) {
      const message = `the grant for ${effect.name} was already used`;
      return { ok: false, work: { kind: "failed", failure: terminal("policy_denied", message) } };
    }
    // A grant is spent by being written down before it is used.
    if (effect.repeat === "unsafe" || grant !== undefined) {
      await append(scope, begun(scope, id, grant));
    }
    await confirmLease(scope);
    const outcome = await done();
    // Cut short by us, not ended: what it did is not known, and is not written down as known.
    if (!outcome.ok) signal.throwIfAborted();
    if (!outcome.ok && outcome.failure.kind === "in_doubt") {
      const settled = settleDoubt(scope, effect, id);
      // A grant given for this doubt was spent on the try just made: the next doubt is a new question.
      return { ok: false, work: "kind" in settled ? settled : { kind: "failed", ...outcome } };
    }
    if (outcome.ok || !outcome.failure.retryable || effect.repeat === "unsafe") {
      const result = await stow(scope.ports.artifacts, life.key, outcome);
      const at = scope.ports.clock.now();
      await append(scope, { event: "completed", effect: id, at, result });
    }
    return toWork(outcome);
  };
}

const begun = (scope: WorkScope, effect: string, grant: Grant | undefined): JournalEntry => ({
  event: "begun",
  effect,
  at: scope.ports.clock.now(),
  ...(grant === undefined ? {} : { grant: grant.digest }),
});

async function append({ ports, life }: WorkScope, entry: JournalEntry): Promise<void> {
  const written = await stored(ports.store.append(life.lease, [entry]));
  if (written === "lost")
    throw new LeaseLost("the journal refused a write: the fence has moved on");
  life.journal.add(entry);
}

/** The grant that lets an effect in doubt run again, or the work that asks for it or gives it up. */
function settleDoubt(scope: WorkScope, effect: Effect<Json>, id: string): Grant | Work {
  const { context, life, options } = scope;
  const message = `${effect.name} was begun and may have happened: its outcome was never recorded`;
  if (options.inDoubt === "fail") {
    return { kind: "failed", failure: terminal("in_doubt", message, { effect: id }) };
  }
  const input = { may_have_run: true, effect: effect.name, input: effect.input } as JsonObject;
  // Each doubt is a question of its own: the grant that answered the last one is spent.
  for (let doubt = 1; ; doubt += 1) {
    const action: Action = { kind: "repeat", name: effect.name, input: { ...input, doubt } };
    const wanted = actionDigest(life.key, action);
    if (life.journal.spentBy(wanted) !== undefined) continue;
    const grant = context.grants.find((given) => given.digest === wanted);
    return grant ?? { kind: "asked", asks: [toAsk(life.key, action, message)] };
  }
}

function toWork<T extends Json>(
  outcome: Outcome<T>,
): { ok: true; value: T } | { ok: false; work: Work } {
  if (outcome.ok) return outcome;
  return { ok: false, work: { kind: "failed", failure: outcome.failure } };
}
