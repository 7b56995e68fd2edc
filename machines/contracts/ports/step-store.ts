import type { Job } from "../job.ts";
import type { JournalEntry } from "../journal.ts";
import type { StepKey, StepRecord, StepSnapshot } from "../record.ts";
import type { StepResult } from "../step-result.ts";

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
  | { kind: "lost" };

/** `lost`: the fence has moved on or the entry is not ours; nothing was written. */
export type Write = "written" | "lost";

export interface Parking {
  job: Job;
  snapshot: StepSnapshot;
  path: string[];
  /** Epoch milliseconds at which the timer set wakes the step; null for never. */
  wakeAt: number | null;
}

export interface Ending {
  path: string[];
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
