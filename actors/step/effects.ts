import type { Action, Grant } from "../../machines/contracts/domain/action.ts";
import {
  fail,
  retryable,
  terminal,
  type Outcome,
  type Failure,
} from "../../machines/contracts/domain/failure.ts";
import { type Usage, usageOfFailure } from "../../machines/contracts/domain/step-result.ts";
import type { JournalEntry, StepKey } from "../../machines/contracts/domain/record.ts";
import {
  isJsonObject,
  type Json,
  jsonDepth,
  type JsonObject,
} from "../../machines/contracts/domain/json.ts";
import { digestOf, actionDigest, inputDigests, toAsk } from "./approvals.ts";
import type { Effect, HandlerResult } from "../handlers/handler.ts";
import { LeaseLost, confirmLease, type ActivityScope } from "./session.ts";
import { isPermitted } from "./policy.ts";
import { screenOf } from "./screening.ts";
import { keptSpan, traced } from "../tracing.ts";
import { DeadlinePassed, Drained } from "../trouble.ts";
import { StoreError } from "../../machines/contracts/domain/errors.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";

/**
 * Runs effects of one handler call under the journal's rules.
 *
 *   free    done, and nothing is written
 *   safe    [begun, where the journal was not written a moment ago] · done · completed with its result
 *   unsafe  begun, durable · done · completed with its result
 *
 * What is guaranteed:
 *   - a completed effect is read from the journal and never done again in this step;
 *   - nothing that costs is done before this worker has seen that the journal can be written and that there is a place
 *     for a large result: trouble with either is waited out while nothing is spent;
 *   - an outcome is held here until the journal has it. A temporary failure to store the result never repeats the
 *     effect; what the store can't keep at all fails the step, and the journal says so where the result would stand;
 *   - an unsafe effect begun and not completed is in doubt, whatever is said of it by now: a person is asked, or the
 *     step fails, as settings say; where its repetition fails, the failure still says that the first try may have run;
 *   - what is done was allowed since the last wait: where keeping the journal had to wait, it is judged again;
 *   - a grant is spent by being written down before it is used.
 */
export function effectRunner(
  scope: ActivityScope,
  withdrawn: (action: Action | undefined) => Promise<HandlerResult | null>,
  onCompleted: () => void = () => {},
) {
  const occurrences = new Map<string, number>();

  return async <T extends Json>(
    given: Effect<T>,
  ): Promise<{ ok: true; value: T } | { ok: false; result: HandlerResult }> => {
    const { session, signal } = scope;
    // What does not plainly say that it may be repeated may not.
    const isRepeatable = given.repeat === "free" || given.repeat === "safe";
    const effect: Effect<T> = isRepeatable ? given : { ...given, repeat: "unsafe" };
    signal.throwIfAborted();
    const id = effect.key ?? numbered(occurrences, effect);
    const key = `${session.key.runId}/${session.key.stepId}/${id}`;
    const done = async (by: Grant | undefined) => {
      const work = () => effect.run(signal, key, by);
      try {
        return await traced(session, effect.name, () => around(scope, id, effect, work));
      } catch (error) {
        if (effect.repeat !== "unsafe" || signal.aborted || endsSession(error)) throw error;
        // Nobody expected it, and it says nothing of what was done until then.
        session.log.error({ err: error, effect: effect.name }, "an unsafe effect threw");
        return fail(terminal("in_doubt", `${effect.name} threw: ${messageOf(error)}`));
      } finally {
        session.beginStretch(scope.ports.clock.monotonic());
      }
    };
    /** Why the effect may not be done any more; null when it may, in this stretch and under this lease. */
    const confirm = async (needsLease: boolean): Promise<HandlerResult | null> => {
      for (;;) {
        if (!isPermitted(scope, effect.action)) {
          const refused = await withdrawn(effect.action);
          if (refused !== null) return refused;
        }
        if (needsLease) await confirmLease(scope);
        if (isPermitted(scope, effect.action)) return null;
      }
    };

    const known = session.journal.recall(id);
    let { grant } = effect;
    // What was begun as unsafe stays so: its server may call it safe by now.
    const isInDoubt =
      effect.concludes !== true &&
      (session.journal.isUnsafeInDoubt(id) ||
        (effect.repeat === "unsafe" && session.journal.isInDoubt(id)));
    const isUnkept = effect.repeat === "free" && scope.options.keepJournals !== true;
    if (isUnkept && grant === undefined && !isInDoubt) {
      const refused = await confirm(false);
      return refused === null
        ? toHandlerResult(await done(undefined))
        : { ok: false, result: refused };
    }
    if (session.journal.isCompleted(id)) {
      const kept = await restore(scope.ports.artifacts, session.key, session.journal.result(id));
      if ("value" in kept) return { ok: true, value: kept.value as T };
      // A passing failure is known not to have happened: it is tried again.
      if (!kept.failure.retryable) return toHandlerResult({ ok: false, ...kept });
    }
    if (isInDoubt) {
      const settled = settleDoubt(scope, effect, id);
      if ("kind" in settled) return { ok: false, result: settled };
      grant = settled;
    } else if (grant !== undefined && (session.journal.spentBy(grant.digest) ?? id) !== id) {
      const message = `the grant for ${effect.name} was already used`;
      return { ok: false, result: { kind: "failed", failure: terminal("policy_denied", message) } };
    }
    await checkArtifacts(scope);
    const begunAt = scope.ports.clock.now();
    const holds = effect.holds ?? undefined;
    const isWritten = effect.repeat === "unsafe" || grant !== undefined || holds !== undefined;
    // Of a traced attempt that dies in the middle its successor's trace is to know.
    const isBegun = isWritten || !scope.trouble.isJournalGood || session.span.isRecording();
    if (isBegun) {
      await append(scope, begun(scope, id, effect, grant));
    }
    const refused = await confirm(true);
    if (refused !== null) {
      // Begun was only the intent: that nothing was done is known, and doing it later is not forbidden. What was in
      // doubt before stays so.
      if (isWritten && !isInDoubt)
        await append(scope, completed(scope, id, { failure: { ...neverDone } }));
      return { ok: false, result: refused };
    }
    const mayHaveRun = isInDoubt || known === "unrepeated";
    const outcome = mayHaveRun ? inDoubtBefore(await done(grant)) : await done(grant);
    if (!outcome.ok) outcome.failure = screenOf(scope).hideInFailure(outcome.failure);
    // Cut short by us, not ended: what it did is not known, and is not written down as known.
    if (!outcome.ok) signal.throwIfAborted();
    if (!outcome.ok && outcome.failure.kind === "in_doubt") {
      const settled = settleDoubt(scope, effect, id);
      // A grant given for this doubt was spent on the try just made: the next doubt is a new question.
      return { ok: false, result: "kind" in settled ? settled : { kind: "failed", ...outcome } };
    }
    // A call that a budget did not hold was not made: with a larger budget it will be.
    const isUnmade = !outcome.ok && outcome.failure.kind === "budget_exceeded";
    if (outcome.ok || effect.repeat === "unsafe" || (!outcome.failure.retryable && !isUnmade)) {
      const result = await offload(scope.ports.artifacts, session.key, outcome);
      await append(scope, {
        ...completed(scope, id, result),
        ...(isBegun ? {} : { begunAt }),
        ...told(effect, outcome),
        ...(scope.options.keepJournals ? digests(effect) : {}),
      });
      if (outcome.ok) onCompleted();
      // What can't be kept anywhere has happened all the same: it is neither used nor done again.
      if (outcome.ok && "failure" in result) {
        return { ok: false, result: { kind: "failed", failure: result["failure"] as never } };
      }
    }
    // What it used is known, and is told with the failure: it holds nothing more.
    else if (holds !== undefined) {
      await append(scope, completed(scope, id, { failure: { ...neverDone } }));
    }
    return toHandlerResult(outcome);
  };
}

/** The work itself, or whoever stands before it. */
async function around<T extends Json>(
  { options: { aroundEffect }, signal }: ActivityScope,
  id: string,
  { name, input, repeat, concludes, isInner = concludes === true }: Effect<T>,
  work: () => Promise<Outcome<T>>,
): Promise<Outcome<T>> {
  if (aroundEffect === undefined) return work();
  return (await aroundEffect({ id, name, input, repeat, isInner }, work, signal)) as Outcome<T>;
}

/** What went into an effect, a digest a part: so that a replay can say which part differs. */
const digests = ({ input }: Pick<Effect<Json>, "input">): { input: Record<string, string> } => ({
  input: inputDigests(input),
});

/** A failure of a try that is not the first: what it says of itself is not all that there is to say. */
function inDoubtBefore<T>(outcome: Outcome<T>): Outcome<T> {
  if (outcome.ok || outcome.failure.kind === "in_doubt") return outcome;
  const { message, details = {} } = outcome.failure;
  return fail({
    ...outcome.failure,
    message: `${message}; an earlier try may have run`,
    details: { ...details, may_have_run: true },
  });
}

/** Whether an error tells of the step's own end in this worker, and not of what was done. */
const endsSession = (error: unknown): boolean =>
  error instanceof LeaseLost ||
  error instanceof Drained ||
  error instanceof DeadlinePassed ||
  error instanceof StoreError;

const messageOf = (error: unknown): string =>
  cutText(error instanceof Error ? error.message : String(error), 300);

/** Names an effect by what it does, and counts those that do the same. */
function numbered(occurrences: Map<string, number>, effect: Effect<Json>): string {
  const name = `${effect.name}#${digestOf(effect.input).slice(0, 16)}`;
  const occurrence = (occurrences.get(name) ?? 0) + 1;
  occurrences.set(name, occurrence);
  return `${name}#${occurrence}`;
}

const begun = (
  scope: ActivityScope,
  id: string,
  { repeat, holds }: Pick<Effect<Json>, "repeat" | "holds">,
  grant: Grant | undefined,
): JournalEntry => ({
  event: "begun",
  effect: id,
  at: scope.ports.clock.now(),
  ...(repeat === "unsafe" ? { unsafe: true } : {}),
  ...keptSpan(scope.session.span),
  ...(holds == null ? {} : { holds }),
  ...(grant === undefined ? {} : { grant: grant.digest }),
});

const completed = (scope: ActivityScope, effect: string, result: JsonObject) => ({
  event: "completed" as const,
  effect,
  at: scope.ports.clock.now(),
  result,
});

/** What a trace tells of an effect: its name, where its id has none, and what a model's answer used. */
function told({ name, key }: Effect<Json>, outcome: Outcome<Json>) {
  const usage = outcome.ok ? usageIn(outcome.value) : usageOfFailure(outcome.failure);
  if (usage === null) return key === undefined ? {} : { name };
  const { inputTokens, outputTokens, costMicros } = usage;
  const used = { inputTokens, outputTokens, ...(costMicros === undefined ? {} : { costMicros }) };
  return { ...(key === undefined ? {} : { name }), used };
}

/** Of a model's answer, as the loop keeps it. */
const usageIn = (value: Json): Usage | null =>
  ((isJsonObject(value) ? value["reply"] : null) as { usage?: Usage } | null | undefined)?.usage ??
  null;

/** Kept of an effect that was begun and not done, or has to be done again. */
const neverDone = retryable("policy_unavailable", "its permission ended before it was done");

async function append({ ports, session }: ActivityScope, entry: JournalEntry): Promise<void> {
  // What was begun must be known even after a power cut; a result that is lost only leaves its effect in doubt.
  const isDurable = entry.event === "begun";
  const written = await ports.store.append(session.lease, [entry], isDurable);
  if (written === "lease-lost")
    throw new LeaseLost("the journal refused a write: the fence has moved on");
  session.journal.add(entry);
}

/** A large result needs a place: that there is one is seen before the effect is paid for. */
async function checkArtifacts({ ports, trouble }: ActivityScope): Promise<void> {
  if (trouble.areArtifactsGood) return;
  const checked = await ports.artifacts.check();
  // A failure of the step's own kind can't come of a check: what can't be checked is found out by writing.
  if (checked.ok) trouble.artifactsChecked();
}

/** The grant that lets an effect in doubt run again, or the work that asks for it or gives it up. */
function settleDoubt(
  scope: ActivityScope,
  effect: Effect<Json>,
  id: string,
): Grant | HandlerResult {
  const { context, session, options } = scope;
  const message = `${effect.name} was begun and may have happened: its outcome was never recorded`;
  if (options.inDoubt === "fail") {
    return { kind: "failed", failure: terminal("in_doubt", message, { effect: id }) };
  }
  const input = { may_have_run: true, effect: effect.name, input: effect.input } as JsonObject;
  // Each doubt is a question of its own: the grant that answered the last one is spent.
  for (let doubt = 1; ; doubt += 1) {
    const { target = {} } = effect;
    const action: Action = {
      kind: "repeat",
      name: effect.name,
      ...target,
      ...(effect.key === undefined ? {} : { call: effect.key }),
      input: { ...input, doubt },
    };
    const wanted = actionDigest(session.key, action);
    if (session.journal.spentBy(wanted) !== undefined) continue;
    const refusal = context.refusals.find((given) => given.digest === wanted);
    if (refusal !== undefined) {
      const no = `${message}; ${refusal.reason}: it is not repeated`;
      const details = { effect: id, approval_id: refusal.approvalId, digest: wanted };
      return { kind: "failed", failure: terminal(refusal.kind, no, details) };
    }
    const grant = context.grants.find((given) => given.digest === wanted);
    const question = `${message}. A yes does it again. A no leaves it as it is: the step, or the agent, is told that it may have happened`;
    return grant ?? { kind: "asked", asks: [toAsk(session.key, action, question)] };
  }
}

function toHandlerResult<T extends Json>(
  outcome: Outcome<T>,
): { ok: true; value: T } | { ok: false; result: HandlerResult } {
  if (outcome.ok) return outcome;
  return { ok: false, result: { kind: "failed", failure: outcome.failure } };
}

/** What became of an effect, as the journal keeps it: a terminal failure is a result too. */
export type KeptOutcome = { value: Json } | { failure: Failure };

/**
 * A longer result goes to an artifact, and the journal names it by digest, where whoever takes the step over can read
 * it there. Bytes of JSON.
 */
const maxInlineBytes = 256 * 1024;

/** Makes a journal entry's result of an effect's outcome: a failure where a long one can't be kept at all. */
export async function offload(
  artifacts: ArtifactStore,
  step: StepKey,
  outcome: KeptOutcome,
): Promise<JsonObject> {
  const content = asJson(outcome);
  if (content === null) {
    const message = `the effect ended, but its result can't be kept: it is nested deeper than ${maxKeptDepth} levels, or is not JSON`;
    return { failure: { ...terminal("invalid_output", message) } };
  }
  if (!artifacts.isShared || Buffer.byteLength(content) <= maxInlineBytes) {
    return outcome as unknown as JsonObject;
  }
  const kept = await artifacts.put(step, { name: "effect.json", kind: "output", content });
  if (!kept.ok) {
    const message = `the effect ended, but its result of ${content.length} characters can't be kept: ${kept.failure.message}`;
    return { failure: { ...terminal(kept.failure.kind, message) } };
  }
  return { artifact: { id: kept.value.id, sha256: kept.value.sha256 } };
}

/** SQLite reads 1,000 levels; the journal's own stand around what it keeps. */
const maxKeptDepth = 900;

/** The outcome as JSON; null where it can't be written: what happened must not be forgotten because of that. */
function asJson(outcome: KeptOutcome): string | null {
  try {
    return jsonDepth(outcome, maxKeptDepth) > maxKeptDepth ? null : JSON.stringify(outcome);
  } catch {
    return null;
  }
}

/** Reads what {@link offload} made; an artifact that is gone or changed is a failure of the step, never a repeat. */
export async function restore(
  artifacts: ArtifactStore,
  step: StepKey,
  kept: Json,
): Promise<KeptOutcome> {
  const { artifact } = (kept ?? {}) as { artifact?: { id: string; sha256: string } };
  if (artifact === undefined) return kept as unknown as KeptOutcome;
  const found = await artifacts.get(step.runId, artifact.id);
  if (found.ok && found.value.ref.sha256 === artifact.sha256) {
    return JSON.parse(new TextDecoder().decode(found.value.content)) as KeptOutcome;
  }
  const why = found.ok ? "its content has changed" : found.failure.message;
  const message = `the result of a completed effect can't be read: artifact ${artifact.id}: ${why}`;
  return { failure: terminal("corrupt_record", message) };
}
