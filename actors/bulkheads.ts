import type { StepType } from "../machines/contracts/step-type.ts";

/** Keeps one step type from taking every hand: at most so many of it execute at once, the rest wait in order. */
export class Bulkheads {
  readonly #limits: Partial<Record<StepType, number>>;
  readonly #inside = new Map<StepType, number>();
  readonly #queues = new Map<StepType, Set<() => void>>();

  constructor(limits: Partial<Record<StepType, number>>) {
    this.#limits = limits;
  }

  /**
   * Waits for a place.
   *
   * @returns the function that gives it back
   * @throws the signal's reason when aborted while waiting
   */
  async enter(stepType: StepType, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const limit = this.#limits[stepType];
    if (limit === undefined) return () => {};
    const inside = this.#inside.get(stepType) ?? 0;
    if (inside < limit) this.#inside.set(stepType, inside + 1);
    else await this.#wait(stepType, signal);
    return () => this.#leave(stepType);
  }

  #wait(stepType: StepType, signal: AbortSignal): Promise<void> {
    const queue = this.#queues.get(stepType) ?? new Set();
    this.#queues.set(stepType, queue);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = () => {
      queue.delete(admit);
      reject(signal.reason);
    };
    const admit = () => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    };
    queue.add(admit);
    signal.addEventListener("abort", onAbort, { once: true });
    return promise;
  }

  /** A place given back goes to whoever waited longest. */
  #leave(stepType: StepType): void {
    const queue = this.#queues.get(stepType);
    const next = queue?.values().next().value;
    if (next === undefined) {
      this.#inside.set(stepType, (this.#inside.get(stepType) ?? 1) - 1);
      return;
    }
    queue?.delete(next);
    next();
  }
}
