import type { Clock } from "../../machines/contracts/ports/clock.ts";

/** A clock that stands still until it is moved. */
export interface VirtualClock extends Clock {
  /** Moves on by `ms`, calling back every timer that falls due on the way, in order. */
  advance(ms: number): void;
  /** Milliseconds until the next timer; null when there is none. */
  untilNext(): number | null;
}

/** @param random what `random()` answers, always: half unless told otherwise */
export function virtualClock(random = 0.5): VirtualClock {
  const origin = Date.parse("2026-01-26T10:00:00Z");
  const timers = new Set<{ at: number; callback: () => void }>();
  let passed = 0;
  const first = () => [...timers].toSorted((one, other) => one.at - other.at)[0];
  return {
    now: () => origin + passed,
    monotonic: () => passed,
    random: () => random,
    timer(ms, callback) {
      const timer = { at: passed + Math.max(ms, 0), callback };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    advance(ms) {
      const until = passed + ms;
      for (let next = first(); next !== undefined && next.at <= until; next = first()) {
        timers.delete(next);
        passed = Math.max(passed, next.at);
        next.callback();
      }
      passed = until;
    },
    untilNext() {
      const next = first();
      return next === undefined ? null : Math.max(next.at - passed, 0);
    },
  };
}
