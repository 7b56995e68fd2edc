import { once } from "./once.ts";
import { type } from "arktype";
import {
  type Action,
  actionShape,
  type Ask,
  askShape,
  type Grant,
  grantShape,
  type Refusal,
  refusalShape,
  type Verdict,
  verdictShape,
} from "./action.ts";
import { type Job, stepTypes } from "./job.ts";
import { isJsonObject, type Json } from "./json.ts";
import { type JournalEntry, journalEntryShape, type StepKey } from "./record.ts";
import { type StepResult, stepResultShape } from "./step-result.ts";

/*
 * A step as it happened: its job, its journal, what policy and people said, and its result. It comes from the store
 * while the step has not ended, from the dead letters, or from the artifact that a worker keeps of an ended step where
 * its settings say so. It is all that a replay needs.
 */

export interface StepRecording extends StepKey {
  format: "stateplane-recording/1";
  job: Job;
  journal: JournalEntry[];
  /** The step's own action as policy judged it, a tool's name resolved; null or absent where that is not known. */
  action?: Action | null;
  /** What policy last said of the step's own action; null where it never said anything. */
  verdict: Verdict | null;
  /** What people have been asked and have not answered. */
  asks: Ask[];
  grants: Grant[];
  refusals: Refusal[];
  /** The top-level states passed. */
  stateHistory: string[];
  /** Null for a step that has not ended. */
  result: StepResult | null;
}

const id = once(() => type("0 < string <= 255"));
const job = once(() =>
  type({
    runId: id(),
    stepId: id(),
    stepType: type.enumerated(...stepTypes),
    input: type("object").narrow(isJsonObject),
    tenantId: "string | null",
    projectId: "string | null",
    agentId: "string | null",
    traceId: "string | null",
    spanId: "string | null",
    "isTraceRoot?": "true",
    createdAt: "number | null",
    "budget?": "object",
  }),
);

const shape = once(() =>
  type({
    format: "'stateplane-recording/1'",
    runId: id(),
    stepId: id(),
    job: job(),
    journal: journalEntryShape().array(),
    "action?": actionShape().or("null"),
    verdict: verdictShape().or("null"),
    asks: askShape().array(),
    grants: grantShape().array(),
    refusals: refusalShape().array(),
    stateHistory: "string[]",
    result: stepResultShape().or("null"),
  }),
);

/** What a store, a dead letter or a file has of a step, unparsed. */
export interface KeptStep extends StepKey {
  job: unknown;
  journal: unknown;
  /** As it was persisted, with its version around it or without. */
  snapshot: unknown;
  stateHistory: unknown;
  result: unknown;
  action?: Action | null;
}

/** A recording of what is kept of a step; a sentence where that can't be read. */
export function recordingOf({
  runId,
  stepId,
  snapshot,
  ...kept
}: KeptStep): StepRecording | string {
  const of = isJsonObject(snapshot) ? (snapshot["snapshot"] ?? snapshot) : null;
  const context = isJsonObject(of) && isJsonObject(of["context"]) ? of["context"] : {};
  const { verdict = null, asks = [], grants = [], refusals = [] } = context;
  const format = "stateplane-recording/1";
  const { job: own, journal, stateHistory, result = null, action = null } = kept;
  const given = {
    job: own,
    journal,
    stateHistory,
    result,
    action,
    verdict,
    asks,
    grants,
    refusals,
  };
  return readRecording({ format, runId, stepId, ...given });
}

/** Reads a recording as it was written; a sentence that says what is wrong where it can't be read. */
export function readRecording(given: unknown): StepRecording | string {
  const read = shape()(given);
  if (read instanceof type.errors) {
    const [first] = read;
    return first === undefined
      ? read.summary
      : `${first.path.stringify() || "it"}: ${first.message}`;
  }
  return read as unknown as StepRecording;
}

/** The id of the artifact in which a worker keeps the recording of a step: one a step, and found by its ids alone. */
export const recordingId = (stepId: string): string => `recording-${stepId}`;

/** One effect of a step, of all its entries in the journal. */
export interface RecordedEffect {
  /** By which the journal knows it. */
  id: string;
  /** `model`: a model's answer. `tool`: a call that a model asked for, or a tool step's own. */
  kind: "model" | "tool" | "inner" | "other";
  /** Which one it is, from 1, of those that touch the outside world. */
  number: number | null;
  /** Digests of what went in; null where they were not kept. */
  input: Record<string, string> | null;
  /** Null for one that was begun and whose end nobody knows. */
  outcome: Json;
  begunAt: number | null;
  completedAt: number | null;
}

/** The effects of a recording in the order in which they were first written down. */
export function effectsOf({ journal }: Pick<StepRecording, "journal">): RecordedEffect[] {
  const effects = new Map<string, RecordedEffect>();
  for (const entry of journal) {
    if (entry.event === "abandoned") continue;
    const known = effects.get(entry.effect) ?? {
      id: entry.effect,
      kind: kindOf(entry.effect),
      number: null,
      input: null,
      outcome: null,
      begunAt: null,
      completedAt: null,
    };
    effects.set(
      entry.effect,
      entry.event === "begun"
        ? { ...known, begunAt: known.begunAt ?? entry.at, outcome: null, completedAt: null }
        : {
            ...known,
            completedAt: entry.at,
            input: entry.input ?? known.input,
            outcome: entry.result as Json,
          },
    );
  }
  let number = 0;
  return [...effects.values()].map((effect) =>
    effect.kind === "inner" ? effect : { ...effect, number: (number += 1) },
  );
}

/** How many of its effects touched the outside world: the number of the last one. */
export const numberedEffects = (recording: Pick<StepRecording, "journal">): number =>
  effectsOf(recording).filter(({ number }) => number !== null).length;

export function kindOf(effect: string): RecordedEffect["kind"] {
  if (/^model#\d/u.test(effect)) return "model";
  if (/^tool#[\d.]+$/u.test(effect) || effect.startsWith("tool:")) return "tool";
  // What a handler of the user's did for a call is part of that call.
  return /^(?:tools|repair)#|^tool#[\d.]+\//u.test(effect) ? "inner" : "other";
}
