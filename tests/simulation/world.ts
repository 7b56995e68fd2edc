import type { Clock } from "../../machines/contracts/ports/clock.ts";

/** Any moment will do; this one is 2026-01-01T00:00:00Z. */
const epoch = 1_767_225_600_000;

interface Happening {
  at: number;
  order: number;
  run: () => void;
}

/**
 * Virtual time: a queue of what happens next. Nothing in a history waits for real time; between two happenings
 * every promise that can go on has gone on.
 */
export class World {
  /** Milliseconds of the history. */
  elapsed = 0;
  /** How far wall clocks have jumped ahead of it. */
  jumped = 0;
  readonly history: string[] = [];
  #queue: Happening[] = [];
  #orders = 0;

  now(): number {
    return epoch + Math.floor(this.elapsed) + this.jumped;
  }

  /** Calls once after `ms`; the returned function calls it off. */
  schedule(ms: number, run: () => void): () => void {
    this.#orders += 1;
    const at = this.elapsed + Math.max(0, ms);
    const happening = { at, order: this.#orders, run };
    const queue = this.#queue;
    let low = 0;
    let high = queue.length;
    // Sorted latest first, so that the next is popped; of the same moment, the first asked goes first.
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((queue[middle]?.at ?? 0) > at) low = middle + 1;
      else high = middle;
    }
    queue.splice(low, 0, happening);
    return () => {
      const found = this.#queue.indexOf(happening);
      if (found !== -1) this.#queue.splice(found, 1);
    };
  }

  /** Lets the next thing happen, and everything that follows from it; false when nothing is left. */
  async step(): Promise<boolean> {
    // What was begun outside may still schedule something.
    if (this.#queue.length === 0) await settled();
    const next = this.#queue.pop();
    if (next === undefined) return false;
    this.elapsed = next.at;
    next.run();
    await settled();
    return true;
  }

  note(who: string, what: string): void {
    const seconds = (this.elapsed / 1_000).toFixed(3).padStart(7);
    this.history.push(`${seconds}  ${who.padEnd(8)} ${what}`);
  }

  /** A clock outside every worker. */
  clock(): Clock {
    return {
      now: () => this.now(),
      monotonic: () => this.elapsed,
      random: () => 0.5,
      timer: (ms, callback) => this.schedule(ms, callback),
    };
  }
}

/** A turn of the real event loop: every microtask has run when it comes. */
export function settled(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  setImmediate(resolve);
  return promise;
}
