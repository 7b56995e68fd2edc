import type {
  InspectedActor,
  InspectedMove,
} from "../../../machines/contracts/ports/inspection.ts";

/* What a feed keeps of each machine, and what it tells of changes. */

export interface Moment {
  /** Epoch milliseconds. */
  at: number;
  event: string;
  detail: unknown;
  value: string;
  /** Undefined where it was not recorded, or is no longer kept. */
  context: unknown;
}

export interface Entry {
  readonly id: number;
  actor: InspectedActor;
  value: string;
  status: InspectedMove["status"];
  /** How it ended, in one word; null while it goes on. */
  outcome: string | null;
  began: number;
  at: number;
  event: string;
  /** How often it has moved; the oldest moments may be gone. */
  moves: number;
  moments: Moment[];
}

export interface LogLine {
  n: number;
  at: number;
  entry: number;
  machine: string;
  name: string;
  runId: string | null;
  event: string;
  value: string;
}

/** What has changed since the last one. */
export interface Batch {
  changed: Iterable<Entry>;
  gone: readonly number[];
  log: readonly LogLine[];
  /** Lines that were not kept: there were too many. */
  skipped: number;
  /** Steps that ended and are in no entry: there were too many. */
  unseen: number;
}
