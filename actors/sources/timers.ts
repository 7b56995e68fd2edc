import type { Household } from "../raise-step.ts";
import { repeating } from "./repeating.ts";

const everyMs = 1_000;
const batch = 100;

/** Wakes parked steps whose time has come. Every worker sweeps; the store lets each timer fire once. */
export function timers({ ports, track }: Household) {
  return repeating("timers", everyMs, ports, track, async (signal) => {
    for (;;) {
      const woken = await ports.store.wakeDue(ports.clock.now(), batch);
      if (woken < batch || signal.aborted) return;
    }
  });
}
