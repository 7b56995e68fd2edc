import type { Job } from "../domain/job.ts";
import type { JournalEntry, StepKey, StepRecord, StepSnapshot } from "../domain/record.ts";
import type { StepResult } from "../domain/step-result.ts";

/** One delivery of a job. */
export interface Delivery {
  /** The stream's id of the entry. */
  entryId: string;
  fields: Record<string, string>;
  /** How often the entry has been delivered, this time included. A hand-back is not counted. */
  deliveries: number;
}

/** A job that no retry will mend. */
export interface DeadLetter {
  /** Stable name for `stateplane dlq show|retry|drop`. */
  id: string;
  fields: Record<string, string>;
  reason: string;
  /** The states passed, and the last snapshot where there was one. */
  stateHistory: string[];
  snapshot: unknown;
  deliveries: number;
  /** Epoch milliseconds. */
  at: number;
}

/**
 * The stream of jobs and its consumer group. An entry read is owned by this consumer until it is settled,
 * handed back, dead-lettered, or taken over by another because its lease ran out.
 * Every method rejects only when the store can't be reached.
 */
export interface StepQueue {
  /** Unique to this process's life. */
  readonly consumer: string;
  publish(fields: Record<string, string>): Promise<string>;
  /** Up to `count` new entries; waits at most `blockMs` for the first. Heals a missing group. */
  read(count: number, blockMs: number, signal: AbortSignal): Promise<Delivery[]>;
  /** Takes over up to `count` entries whose lease ran out; each take-over counts as a delivery. */
  claimStale(leaseMs: number, count: number): Promise<Delivery[]>;
  /** Renews every lease this consumer still owns; returns the entry ids it no longer owns. */
  renew(entryIds: string[]): Promise<string[]>;
  /** Gives entries back to whoever claims next, at once, without counting it as a delivery. */
  release(entryIds: string[]): Promise<void>;
  /** Keeps the letter, acknowledges and deletes the entry: one atomic move. False if the lease is lost. */
  deadLetter(entryId: string, letter: Omit<DeadLetter, "id">): Promise<boolean>;
  deadLetters(limit: number): Promise<DeadLetter[]>;
  findDeadLetter(id: string): Promise<DeadLetter | null>;
  /** Puts the job back on the stream and removes the letter: one atomic move. */
  retryDeadLetter(id: string): Promise<boolean>;
  dropDeadLetter(id: string): Promise<boolean>;
  stats(): Promise<{ length: number; pending: number; deadLetters: number }>;
  close(): Promise<void>;
}

/** The right to write one step: a job's entry, and the fence under which its record was opened. */
export interface Lease extends StepKey {
  entryId: string;
  fence: number;
}

export type Opening =
  /** Ours: the fence was raised. `record` is null for a step never seen before. */
  | { kind: "opened"; lease: Lease; record: StepRecord | null }
  /** The step has ended at the control plane; only the acknowledgement is missing. */
  | { kind: "reported"; lease: Lease }
  /** Another entry of the same step is being worked on; this one was dropped, its news kept for that worker. */
  | { kind: "duplicate" }
  /** The entry is no longer ours. */
  | { kind: "lease-lost" };

/** `lost`: the fence has moved on or the entry is not ours; nothing was written. */
export type Write = "written" | "lease-lost";

export interface Parking {
  job: Job;
  snapshot: StepSnapshot;
  stateHistory: string[];
  /** Epoch milliseconds at which the timer set wakes the step; null for never. */
  wakeAt: number | null;
}

export interface Ending {
  stateHistory: string[];
  /** Set when the job also becomes a dead letter. */
  deadLetter: {
    fields: Record<string, string>;
    reason: string;
    snapshot: unknown;
    at: number;
  } | null;
}

/**
 * Records, journals and timers of steps. Every write checks, in one atomic move, that the lease still holds
 * (the entry is pending for this consumer and the record's fence is the lease's). Rejects only when the
 * store can't be reached.
 */
export interface StepStore {
  /** Renews the lease, raises the fence and returns what was kept; see {@link Opening}. */
  open(entryId: string, key: StepKey, leaseMs: number): Promise<Opening>;
  append(lease: Lease, entries: JournalEntry[]): Promise<Write>;
  /** The outbox: keeps the result before it is sent. */
  record(lease: Lease, result: StepResult, path: string[]): Promise<Write>;
  /**
   * Puts the step away as data, sets its timer, acknowledges and deletes the entry. If news arrived for the
   * step meanwhile (a duplicate entry), it is put back on the stream in the same move.
   */
  park(lease: Lease, parking: Parking): Promise<Write>;
  /** Marks the step reported, drops its journal and timer, acknowledges and deletes the entry. */
  settle(lease: Lease, ending: Ending): Promise<Write>;
  /** Puts up to `limit` parked steps whose time has come back on the stream; returns how many. */
  wakeDue(now: number, limit: number): Promise<number>;
  /** What is kept of a step; null if nothing is. */
  find(key: StepKey): Promise<StepRecord | null>;
}

/** Where steps live: a queue and a store over the same data, so that one move can touch both. */
export interface StepBackend {
  queue: StepQueue;
  store: StepStore;
  /** For a person, at start; never a secret: `Redis at redis://127.0.0.1:6379`. */
  describe: string;
  close(): Promise<void>;
}
