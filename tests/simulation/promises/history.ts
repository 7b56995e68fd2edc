import type { StepRecord } from "../../../machines/contracts/domain/record.ts";
import type { DeadLetter } from "../../../machines/contracts/ports/step-backend.ts";
import type { JsonObject } from "../../../machines/contracts/domain/json.ts";
import type { PlaneAction } from "../plane-records.ts";
import type { EffectCall } from "../witness.ts";
import type { Stage } from "../worker.ts";

export interface Ending {
  cameToRest: boolean;
  didStop: boolean;
  /** Workers that were told to drain and have not. */
  late: string[];
}

/** A finished history, as promises look at it. */
export interface History extends Stage, Ending {
  records: ReadonlyMap<string, StepRecord | null>;
  stats: { length: number; pending: number };
  letters: readonly DeadLetter[];
  /** Those whose job names a step. */
  letterOf: ReadonlyMap<string, DeadLetter>;
}

/** Each promise with the ways in which a history broke it; none when it was kept. */
export type Promises = Readonly<Record<string, (of: History) => string[]>>;

/** Whether what was asked is about this call of its step, or about whether it may be repeated. */
export function isAbout({ kind, input }: PlaneAction, call: string | null): boolean {
  if (call === null) return true;
  const { input: inner } = (input ?? {}) as { input?: { input?: JsonObject } };
  return (kind === "repeat" ? inner?.input : input)?.["call"] === call;
}

/** Reads and local searches: free to repeat, and so by anyone. */
export const isFree = ({ name }: EffectCall) => name.endsWith("look") || name === "retrieve";

export const isTool = ({ name }: EffectCall) =>
  name === "pay" || name === "put" || name.endsWith("look");

export const when = ({ at, by }: { at: number; by: string }) =>
  `${by} at ${(at / 1_000).toFixed(3)} s`;

/** When the worker that made this call had last opened the step. */
export function openedBefore(
  { witness }: Stage,
  { stepId, askedAt }: Pick<EffectCall, "stepId" | "askedAt">,
): number {
  const opened = witness.openings.get(stepId)?.findLast((opening) => opening.at <= askedAt);
  return opened?.at ?? 0;
}
