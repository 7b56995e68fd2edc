import { fail, ok, type Outcome, terminal } from "../../machines/contracts/domain/failure.ts";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import { kindOf, type RecordedEffect } from "../../machines/contracts/domain/recording.ts";
import type { EffectSeen } from "../options.ts";
import { inputDigests } from "../step/approvals.ts";
import { isKept, valueOf, type ReadEffects, type RecordedCall } from "./recorded-calls.ts";
import type { ReplayPlan, Served } from "./plan.ts";

/*
 * What becomes of each effect of a replay.
 *
 *   before the fork      served from the recording, by its id in the journal; what went in is compared, part by part
 *   the fork             the effect that the plan names; else, where the plan changes anything, the first one that
 *                        differs from the recording or is not in it
 *   from the fork on     a model is really asked. A call of a tool that was recorded with the same arguments brings what
 *                        it brought then, each time the next of several, and a tool that is safe to repeat the last one
 *                        for ever. Any other call is refused, or made where the plan allows it
 *   no changes, and not  the recording ends here, and so does the replay: nothing is made up
 *   recorded
 */
export class EffectServer {
  /** The number of the first effect that was not served; null until then. */
  forkedAt: number | null = null;
  /** Parts of what went into effects that are not as recorded. */
  differences = 0;
  readonly #plan: ReplayPlan;
  readonly #read: ReadEffects;
  readonly #onEnd: (why: string) => void;
  readonly #used = new Map<RecordedCall, number>();
  #seen = 0;

  constructor(plan: ReplayPlan, read: ReadEffects, onEnd: (why: string) => void) {
    this.#plan = plan;
    this.#read = read;
    this.#onEnd = onEnd;
  }

  get isForked(): boolean {
    return this.forkedAt !== null;
  }

  /** Stands before the work of every effect. */
  async around(
    effect: EffectSeen,
    work: () => Promise<Outcome<Json>>,
    signal: AbortSignal,
  ): Promise<Outcome<Json>> {
    const recorded = this.#read.byId.get(effect.id);
    const isThere = recorded !== undefined && isKept(recorded.outcome);
    // These only note what was seen or said.
    if (kindOf(effect.id) === "inner") {
      return this.isForked || !isThere ? work() : toOutcome(recorded.outcome);
    }
    const number = (this.#seen += 1);
    if (effect.isInner) return this.#note(effect, isThere ? recorded : null, work, number);
    if (!this.isForked) {
      const differs = recorded === undefined ? [] : differing(recorded, effect.input);
      if (isThere && this.#isBefore(recorded, differs)) {
        this.differences += differs.length;
        this.#tell(effect, "served", recorded.outcome, differs, number);
        return toOutcome(recorded.outcome);
      }
      if (!this.#plan.isChanged) return this.#end(effect, recorded, signal);
      this.#fork(
        effect,
        number,
        differs.map((part) => `${part} differs`),
      );
    }
    return this.#afterFork(effect, work, number);
  }

  /** A call that is not made now: what is told of it was told then, too, or the walk has left the recording. */
  async #note(
    effect: EffectSeen,
    recorded: RecordedEffect | null,
    work: () => Promise<Outcome<Json>>,
    number: number,
  ): Promise<Outcome<Json>> {
    const told = recorded === null ? null : valueOf(recorded.outcome);
    if (!this.isForked && isJsonObject(told) && told["ran"] === false) {
      this.#tell(effect, "served", { value: told }, [], number);
      return ok(told);
    }
    if (!this.isForked) this.#fork(effect, number, ["the call is not made"]);
    const outcome = await work();
    if (outcome.ok) this.#tell(effect, "not made", { value: outcome.value }, [], number);
    return outcome;
  }

  #fork({ id }: EffectSeen, number: number, differs: readonly string[]): void {
    this.forkedAt = number;
    this.#plan.onEvent({ type: "forked", number, effect: id, differs });
  }

  #isBefore({ number }: RecordedEffect, differs: readonly string[]): boolean {
    const { forkAt, isChanged } = this.#plan;
    if (forkAt !== null) return (number ?? 0) < forkAt;
    return !isChanged || differs.length === 0;
  }

  async #afterFork(
    effect: EffectSeen,
    work: () => Promise<Outcome<Json>>,
    number: number,
  ): Promise<Outcome<Json>> {
    const kind = kindOf(effect.id);
    const known = kind === "tool" ? this.#sameCall(effect) : this.#sameInput(effect, kind);
    if (known !== null) {
      this.#tell(effect, "served", known, [], number);
      return toOutcome(known);
    }
    const isMade = kind === "model" || kind === "tool" || this.#mayMake(effect.repeat !== "unsafe");
    const outcome = isMade ? await work() : fail(terminal("refused", neverRecorded(effect.name)));
    const isRefused = !isMade || (kind === "tool" && !this.#mayMake(effect.repeat !== "unsafe"));
    const came = outcome.ok ? { value: outcome.value } : { failure: { ...outcome.failure } };
    const how = isRefused ? "refused" : kind === "model" && !outcome.ok ? "failed" : "made";
    this.#tell(effect, how, came as Json, [], number);
    return outcome;
  }

  #mayMake(isSafe: boolean): boolean {
    const { newCalls } = this.#plan;
    return newCalls === "all" || (newCalls === "safe" && isSafe);
  }

  /** Of the recorded calls with this tool and these arguments that were made, the next. */
  #sameCall({ input, repeat }: EffectSeen): Json | null {
    if (this.#plan.remakesCalls === true && this.#mayMake(repeat !== "unsafe")) return null;
    const wanted = inputDigests(input);
    const same = this.#read.calls.filter(
      (call) =>
        call.result?.ran !== false && isKept(call.effect.outcome) && isSameCall(call, wanted),
    );
    const next = same.find((call) => !this.#used.has(call)) ?? null;
    const again = repeat === "unsafe" ? null : (same.at(-1) ?? null);
    const call = next ?? again;
    if (call === null) return null;
    this.#used.set(call, (this.#used.get(call) ?? 0) + 1);
    return call.effect.outcome;
  }

  /** An effect that the journal knows by what went in: the same id is the same effect. */
  #sameInput({ id, input }: EffectSeen, kind: RecordedEffect["kind"]): Json | null {
    const recorded = this.#read.byId.get(id);
    if (recorded === undefined || !isKept(recorded.outcome)) return null;
    if (kind !== "model") return recorded.outcome;
    // Where the plan names the fork, models are asked again; else only where they would be asked something else.
    const isSame = recorded.input !== null && differing(recorded, input).length === 0;
    return this.#plan.forkAt === null && isSame ? recorded.outcome : null;
  }

  #end(
    { id }: EffectSeen,
    recorded: RecordedEffect | undefined,
    signal: AbortSignal,
  ): Promise<Outcome<Json>> {
    this.#onEnd(
      recorded === undefined
        ? `the recording has nothing of the effect ${id}`
        : `the effect ${id} was begun, and nothing was recorded of its end`,
    );
    // The walk stands still until the replay is over.
    return new Promise((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    });
  }

  #tell(
    { id, name, input }: EffectSeen,
    how: Served,
    outcome: Json,
    differs: readonly string[],
    number: number,
  ): void {
    const kind = kindOf(id);
    this.#plan.onEvent({
      type: "effect",
      number,
      effect: id,
      kind,
      name,
      how,
      input,
      outcome,
      differs,
    });
  }
}

/** What a refused call is told. */
export const neverRecorded = (what: string): string =>
  `${what} was never recorded with this input, and this replay makes no such call`;

/** The parts of what goes in that are not as recorded; none where nobody kept them. */
function differing({ input: kept }: RecordedEffect, input: Json): string[] {
  if (kept === null) return [];
  const now = inputDigests(input);
  const parts = new Set([...Object.keys(kept), ...Object.keys(now)]);
  return [...parts].filter((part) => kept[part] !== now[part]).toSorted();
}

function isSameCall(call: RecordedCall, wanted: Record<string, string>): boolean {
  if (call.effect.input !== null) {
    const kept = call.effect.input;
    const parts = new Set([...Object.keys(kept), ...Object.keys(wanted)]);
    return [...parts].every((part) => kept[part] === wanted[part]);
  }
  if (call.arguments === null) return false;
  const { tool, server, arguments: given } = call;
  const asked = inputDigests(call.result === null ? given : { tool, server, input: given });
  return Object.entries(asked).every(([part, digest]) => wanted[part] === digest);
}

function toOutcome(kept: Json): Outcome<Json> {
  const { value = null, failure } = (kept ?? {}) as { value?: Json; failure?: JsonObject };
  return failure === undefined ? ok(value) : fail(failure as never);
}
