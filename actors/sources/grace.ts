import { type EventObject, fromCallback } from "xstate";
import type { Clock } from "../../machines/contracts/ports/clock.ts";

/** Says when the time to finish is up. */
export function grace(clock: Clock) {
  return fromCallback<EventObject, { graceMs: number }>(({ input, sendBack }) =>
    clock.timer(input.graceMs, () => sendBack({ type: "grace.over" })),
  );
}
