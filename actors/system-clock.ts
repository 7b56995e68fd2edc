import type { Clock } from "../machines/contracts/ports/clock.ts";

/** The machine's own time. `monotonic` is CLOCK_MONOTONIC: it goes on while the process is stopped. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  random: () => Math.random(),
  timer(ms, callback) {
    // Node fires a longer timer at once; nothing here waits that long (24.8 days) in memory.
    const timer = setTimeout(callback, Math.min(Math.max(ms, 0), 2 ** 31 - 1));
    return () => clearTimeout(timer);
  },
};
