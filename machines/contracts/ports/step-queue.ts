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
  path: string[];
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
  handBack(entryIds: string[]): Promise<void>;
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
