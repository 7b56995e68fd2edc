import type { Log } from "../../machines/contracts/ports/log.ts";

/** How long one neighbour may take to close before we go on without it, milliseconds. */
const patienceMs = 5_000;

/**
 * What was opened, to be closed in the reverse order. A neighbour that fails to close, or takes too long, is
 * named in the log and does not keep the others open.
 */
export class Closing implements AsyncDisposable {
  readonly #opened: { what: string; close: () => Promise<unknown>; withinMs: number }[] = [];
  readonly #log: Log;
  #closed: Promise<void> | null = null;

  constructor(log: Log) {
    this.#log = log;
  }

  /** @param withinMs how long this one may take, where the usual 5 s are not enough */
  add(what: string, close: () => Promise<unknown>, withinMs = patienceMs): void {
    this.#opened.push({ what, close, withinMs });
  }

  /** Closes everything, once; never rejects. */
  close(): Promise<void> {
    this.#closed ??= this.#closeAll();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #closeAll(): Promise<void> {
    for (const { what, close, withinMs } of this.#opened.toReversed()) {
      const { promise: expired, resolve } = Promise.withResolvers<"late">();
      const timer = setTimeout(() => resolve("late"), withinMs);
      try {
        const how = await Promise.race([close(), expired]);
        if (how === "late") this.#log.warn({ what, withinMs }, "did not close in time");
      } catch (error) {
        this.#log.warn({ err: error, what }, "did not close well");
      } finally {
        clearTimeout(timer);
      }
    }
  }
}
