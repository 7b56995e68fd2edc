import type { StepKey } from "../../machines/contracts/record.ts";
import { recordId } from "../../machines/contracts/record-text.ts";

/** The gateway's group for the stream `steps` (wire contract 1.1). */
export const group = "steps-workers";

/** Who owns an entry that was handed back: nobody; it waits to be claimed, with an ancient delivery time. */
export const handedBack = "handed-back";

/**
 * The names of everything kept under one prefix. The stream's is the gateway's, and `stream:dlq` is the name
 * it declares for dead letters and never uses; the rest is ours.
 */
export function keysOf(prefix: string) {
  return {
    stream: `${prefix}stream:steps`,
    letters: `${prefix}stream:dlq`,
    /** Sorted set: a step's id, scored by the time at which it wakes. */
    timers: `${prefix}timers`,
    /** What stands before the id in a step's record (a hash). */
    records: `${prefix}step:`,
    record: (key: StepKey) => `${prefix}step:${recordId(key)}`,
    /** List, only ever appended to. */
    journal: (key: StepKey) => `${prefix}journal:${recordId(key)}`,
  };
}

export type Keys = ReturnType<typeof keysOf>;
