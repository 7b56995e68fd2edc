import type { Job } from "../domain/job.ts";
import type { JournalEntry, StepKey, StepRecord, StepSnapshot } from "../domain/record.ts";
import type { ToolPins } from "./tool-pins.ts";
import type { StepResult } from "../domain/step-result.ts";

/** One delivery of a job. */
export interface Delivery {
  /** The stream's id of the entry. */
  entryId: string;
  fields: Record<string, string>;
  /** How often the entry has been delivered, this time included. A release is not counted. */
  deliveries: number;
}

/** What is known of a job at the moment when it becomes a dead letter. */
export interface NewDeadLetter {
  fields: Record<string, string>;
  /** What made it a dead letter now. */
  reason: string;
  /** The states passed, and the last snapshot where there was one. */
  stateHistory: string[];
  snapshot: unknown;
  deliveries: number;
  /** Epoch milliseconds. */
  at: number;
}

/**
 * A job that no retry will mend. It keeps what protects against doing its work twice: the step's journal, and its
 * result where there was one.
 */
export interface DeadLetter extends NewDeadLetter {
  /** Stable name for `stateplane dlq show|retry|drop`. */
  id: string;
  /** The first cause: why the first attempt was abandoned, where one was; else what made it a dead letter. */
  reason: string;
  /** What made it a dead letter in the end, where that is not the first cause. */
  lastTrouble: string | null;
  /** As the step's record had them; unparsed, and null or empty where there was none. */
  journal: unknown[];
  result: unknown;
}

/**
 * The stream of jobs and its consumer group. An entry read is owned by this consumer until it is settled,
 * released, dead-lettered, or taken over by another because its lease ran out.
 * Every method rejects only with a `StoreError`, which says whose trouble it is.
 */
export interface StepQueue {
  /** Unique to this process's life. */
  readonly consumer: string;
  publish(fields: Record<string, string>): Promise<string>;
  /** Up to `count` new entries; waits at most `blockMs` for the first. Heals a missing group. */
  read(count: number, blockMs: number, signal: AbortSignal): Promise<Delivery[]>;
  /**
   * Takes over up to `count` entries whose lease ran out; each take-over counts as a delivery. An entry of a consumer
   * that is not one of ours, which may send no heartbeat, is left to it for longer.
   */
  claimStale(leaseMs: number, count: number): Promise<Delivery[]>;
  /** Renews every lease this consumer still owns; returns the entry ids it no longer owns. */
  renew(entryIds: string[]): Promise<string[]>;
  /** Gives entries back to whoever claims next, at once, without counting it as a delivery. */
  release(entryIds: string[]): Promise<void>;
  /**
   * Keeps the letter with the step's journal and result, acknowledges and deletes the entry: one atomic move. False
   * if the lease is lost. Works also for a job that can't be named, and for a record that can't be read.
   */
  deadLetter(entryId: string, letter: NewDeadLetter): Promise<boolean>;
  deadLetters(limit: number): Promise<DeadLetter[]>;
  findDeadLetter(id: string): Promise<DeadLetter | null>;
  /**
   * Puts the job back on the stream and removes the letter: one atomic move. The step's journal is there again, so
   * that an effect that was begun is in doubt; with a completed result it is that result's report that is sent again.
   */
  retryDeadLetter(id: string): Promise<boolean>;
  dropDeadLetter(id: string): Promise<boolean>;
  stats(): Promise<QueueStats>;
  close(): Promise<void>;
}

export interface QueueStats {
  /** Entries on the stream, and how many of them are some consumer's. */
  length: number;
  pending: number;
  deadLetters: number;
  /** Dead letters that were dropped, the oldest first, because there were too many. */
  droppedLetters: number;
  /** Steps put away as data, that wait for a person or a time. */
  parked: number;
  /** How long the job has waited that is to be taken next, in milliseconds; null where none waits. */
  waitingMs: number | null;
  /** Who reads the stream, and how many jobs each has taken. */
  consumers: readonly { name: string; taken: number }[];
}

/** The right to write one step: a job's entry, and the fence under which its record was opened. */
export interface Lease extends StepKey {
  entryId: string;
  fence: number;
}

export type Opening =
  /**
   * Ours: the fence was raised. `record` is null for a step never seen before. `now` is the store's own time, epoch
   * milliseconds, by which its timers go: workers' clocks differ, and what one keeps another reads.
   */
  | { kind: "opened"; lease: Lease; record: StepRecord | null; now: number }
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
  /** Epoch milliseconds, by the store's time, at which the timer set wakes the step; null for never. */
  wakeAt: number | null;
}

export interface Ending {
  stateHistory: string[];
  /** Set when the job also becomes a dead letter. */
  deadLetter:
    | (Pick<NewDeadLetter, "fields" | "reason" | "snapshot" | "at"> & {
        /** The step's result, where the record does not keep it; see {@link DeadLetter}. */
        result?: StepResult;
      })
    | null;
}

/**
 * Records, journals and timers of steps. Every write checks, in one atomic move, that the lease still holds
 * (the entry is pending for this consumer and the record's fence is the lease's). Every method rejects only with a
 * `StoreError`, and every write may then be made again: what was written already is recognised.
 */
export interface StepStore {
  /**
   * Renews the lease, raises the fence and returns what was kept; see {@link Opening}. `fields` are the entry's: the
   * record keeps them, and stands in the timer set, so that an entry that vanishes from the stream is published again.
   */
  open(
    entryId: string,
    key: StepKey,
    leaseMs: number,
    fields: Record<string, string>,
  ): Promise<Opening>;
  /**
   * Appends to the journal. The same entry object given again, after a rejection, is written once. With `durable` it
   * is on the disk before this resolves, where the server can say so.
   */
  append(lease: Lease, entries: readonly JournalEntry[], durable?: boolean): Promise<Write>;
  /** The outbox: keeps the result before it is sent. */
  record(lease: Lease, result: StepResult, path: string[]): Promise<Write>;
  /**
   * Puts the step away as data, sets its timer, acknowledges and deletes the entry. If news arrived for the
   * step meanwhile (a duplicate entry), it is put back on the stream in the same move.
   */
  park(lease: Lease, parking: Parking): Promise<Write>;
  /** Marks the step reported, drops its journal and timer, acknowledges and deletes the entry. */
  settle(lease: Lease, ending: Ending): Promise<Write>;
  /**
   * Puts up to `limit` parked steps whose time has come, by the store's own clock, back on the stream, and with them
   * the jobs whose entry has vanished; returns how many.
   */
  wakeDue(limit: number): Promise<number>;
  /** What is kept of a step; null if nothing is. */
  find(key: StepKey): Promise<StepRecord | null>;
}

/** Where steps live: a queue and a store over the same data, so that one move can touch both; and what was accepted of
 * the tool servers that they call. */
export interface StepBackend {
  queue: StepQueue;
  store: StepStore;
  pins: ToolPins;
  /** For a person, at start; never a secret: `Redis at redis://127.0.0.1:6379`. */
  describe: string;
  /** What about this store endangers what we promise, for a person, at start: a whole sentence each. */
  warnings: string[];
  /**
   * Rejects what waits for an answer, now and from now on: for a program that ends while the store is away. Absent
   * where the store is in this process and always answers.
   */
  abandon?(): void;
  close(): Promise<void>;
}
