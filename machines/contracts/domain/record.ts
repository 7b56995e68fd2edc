import type { Spent } from "./budget.ts";
import { once } from "./once.ts";
import { type } from "arktype";
import type { Job } from "./job.ts";
import type { JsonObject, Json } from "./json.ts";

/** Names a step in a store. */
export interface StepKey {
  runId: string;
  stepId: string;
}

/** A persisted step actor: XState's own snapshot, and the version of the chart that wrote it. */
export interface StepSnapshot {
  version: number;
  /** What `actor.getPersistedSnapshot()` returned: value, context, status. Checked on reading. */
  snapshot: JsonObject;
  /** Trace and span of the attempt that parked it, where that was traced. */
  span?: string;
}

/** What a store keeps of one step between two lives of its actor. */
export interface StepRecord extends StepKey {
  /** `open`: taken by a worker; `parked`: waiting as data; `recorded`: the result is in the outbox. */
  phase: "open" | "parked" | "recorded" | "reported";
  fence: number;
  /** The envelope that wakes it; null while nobody needs it. */
  job: Job | null;
  /** Unparsed: snapshots and journals are data from outside and are checked by the reader. */
  snapshot: unknown;
  result: unknown;
  journal: unknown[];
  /** The states passed so far, over all lives. */
  stateHistory: string[];
  /** Epoch milliseconds at which the timer set wakes it; null for never. */
  wakeAt: number | null;
}

/**
 * One line of a step's journal. An effect is identified by `effect`: its name, the digest of its input and
 * its occurrence, so that a second walk through the same handler finds the same effects.
 */
export const journalEntryShape = once(() =>
  type({
    event: "'begun'",
    effect: "string",
    /** Epoch milliseconds. */
    at: "number",
    /** Digest of the grant that this effect spends. */
    "grant?": "string",
    /** It must not be repeated unasked, whatever is said of it later. */
    "unsafe?": "boolean",
    /** Trace and span of the attempt that began it, where that was traced. */
    "span?": "string",
    /** What it may use at most, of what a budget counts. */
    "holds?": { inputTokens: "number", outputTokens: "number", costMicros: "number" },
  })
    .or({
      event: "'completed'",
      effect: "string",
      at: "number",
      result: "unknown",
      /** Digests of what went in, a part each; only where the worker keeps journals. */
      "input?": { "[string]": "string" },
      /** When it was begun, where no line says so. */
      "begunAt?": "number",
      /** What it does, where its id does not say so. */
      "name?": "string",
      /** What a model's answer used; of a price that is not known there is no cost. */
      "used?": { inputTokens: "number", outputTokens: "number", "costMicros?": "number" },
    })
    .or({
      event: "'abandoned'",
      at: "number",
      message: "string",
    }),
);

/** Tokens and money that one effect holds. */
export type Held = Pick<Spent, "inputTokens" | "outputTokens" | "costMicros">;

/** Tokens and money that one effect has used. */
export type EffectUse = Pick<Held, "inputTokens" | "outputTokens"> & { costMicros?: number };

export type JournalEntry =
  | {
      event: "begun";
      effect: string;
      at: number;
      grant?: string;
      unsafe?: boolean;
      span?: string;
      holds?: Held;
    }
  | {
      event: "completed";
      effect: string;
      at: number;
      result: Json;
      input?: Record<string, string>;
      begunAt?: number;
      name?: string;
      used?: EffectUse;
    }
  /** An attempt was given up, and why: what a dead letter names as its first cause. */
  | { event: "abandoned"; at: number; message: string };
