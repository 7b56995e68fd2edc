import { createRequire } from "node:module";
import type { Dispatcher, errors as undiciErrors, Pool } from "undici";
import type { Answer } from "./answer.ts";

// The pool alone, by the files in which undici has it: all of undici, with its fetch, caches and sockets of the web, is a
// hundred modules and twelve megabytes more.
const require = createRequire(import.meta.url);
const PoolOfCalls = require("undici/lib/dispatcher/pool.js") as typeof Pool;
export const errors = require("undici/lib/core/errors.js") as typeof undiciErrors;
/** What undici as a whole gives each of its pools: an answer whose body is read while it comes. */
const request = require("undici/lib/api/api-request.js") as (
  this: Pool,
  options: Dispatcher.RequestOptions,
) => Promise<Dispatcher.ResponseData>;
export const requestOver = (
  pool: Pool,
  options: Dispatcher.RequestOptions,
): Promise<Dispatcher.ResponseData> => request.call(pool, options);

/** As many calls at a time; more wait for a connection, within their deadline. */
const connections = 128;
export const largestAnswer = 8 * 1024 * 1024;
/** A call still open so long after its abort has lost its connection for good. */
export const hungMs = 1_000;

export interface ReplaceablePool {
  /** The pool of this moment, for work that says itself when undici misbehaved. */
  readonly current: Pool;
  /** Puts a new pool in the place of `bad`, if that is still the one in use. */
  replace(bad: Pool): void;
  /** Works with the pool; rejects when the deadline aborts, whether or not the work ends then. */
  use<T>(deadline: Deadline, work: (pool: Pool) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/**
 * Undici loses a connection of its pool for ever when it refuses an argument, and 128 of those leave every later call
 * waiting. We refuse what we know before it does; a pool that refused all the same, or that keeps a call after its end,
 * is replaced, and what still runs over the old one may finish.
 */
export function createPool(origin: string, timeoutMs: number): ReplaceablePool {
  const open = () => new PoolOfCalls(origin, { connections, maxResponseSize: largestAnswer });
  let pool = open();
  const replace = (bad: Pool) => {
    if (pool !== bad) return;
    pool = open();
    setTimeout(() => void bad.destroy(), timeoutMs).unref();
  };
  return {
    get current() {
      return pool;
    },
    replace,
    async use(deadline, work) {
      const used = pool;
      let isSettled = false;
      const working = work(used).finally(() => (isSettled = true));
      working.catch((error: unknown) => {
        if (error instanceof errors.InvalidArgumentError) replace(used);
      });
      return Promise.race([
        working,
        deadline.aborted.then(() => {
          setTimeout(() => isSettled || replace(used), hungMs).unref();
          throw new errors.RequestAbortedError();
        }),
      ]);
    },
    close: () => pool.destroy(),
  };
}

interface WholeResponse {
  status: number;
  headers: Answer["headers"];
  text: string;
}

/** What ended a call before its answer: its time limit, or whoever made it. */
export type EndedBy = "deadline" | "caller" | null;

/**
 * One call whose answer is read whole, dispatched without what a streamed answer would need: no stream, no signal of
 * its own, one promise. It settles once: with the answer, with undici's error, or at its deadline or the caller's
 * abort, whether or not undici lets go of it then. What undici still holds a second later has lost its connection.
 */
export class Exchange implements Dispatcher.DispatchHandler {
  endedBy: EndedBy = null;
  readonly #pools: ReplaceablePool;
  readonly #pool: Pool;
  readonly #signal: AbortSignal;
  readonly #timeoutMs: number;
  readonly #answer = Promise.withResolvers<WholeResponse>();
  #timer: NodeJS.Timeout | null = null;
  #controller: Dispatcher.DispatchController | null = null;
  /** Whether undici has told how the call ended; nothing of it is under way then. */
  #isLetGo = false;
  #status = 0;
  #headers: Answer["headers"] = {};
  #chunks: Buffer[] = [];

  constructor(pools: ReplaceablePool, signal: AbortSignal, timeoutMs: number) {
    this.#pools = pools;
    this.#pool = pools.current;
    this.#signal = signal;
    this.#timeoutMs = timeoutMs;
  }

  /** Rejects no later than the deadline does. */
  send(options: Dispatcher.DispatchOptions): Promise<WholeResponse> {
    if (this.#signal.aborted) {
      this.endedBy = "caller";
      return Promise.reject(new errors.RequestAbortedError());
    }
    this.#timer = setTimeout(() => this.#giveUp("deadline"), this.#timeoutMs);
    this.#signal.addEventListener("abort", this.#onAbort, { once: true });
    this.#pool.dispatch(options, this);
    return this.#answer.promise;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.endedBy !== null) controller.abort(new errors.RequestAbortedError());
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    status: number,
    headers: Answer["headers"],
  ): void {
    // Informational answers come before the one that counts.
    if (status < 200) return;
    this.#status = status;
    this.#headers = headers;
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    this.#settle();
    const text = toUtf8(this.#chunks);
    this.#answer.resolve({ status: this.#status, headers: this.#headers, text });
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.#settle();
    if (error instanceof errors.InvalidArgumentError) this.#pools.replace(this.#pool);
    this.#answer.reject(error);
  }

  #onAbort = () => this.#giveUp("caller");

  #giveUp(endedBy: EndedBy): void {
    if (this.#isLetGo || this.endedBy !== null) return;
    this.endedBy = endedBy;
    this.#chunks = [];
    const aborted = new errors.RequestAbortedError();
    this.#answer.reject(aborted);
    this.#controller?.abort(aborted);
    setTimeout(() => this.#isLetGo || this.#pools.replace(this.#pool), hungMs).unref();
    this.#clear();
  }

  #settle(): void {
    this.#isLetGo = true;
    this.#clear();
  }

  #clear(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#signal.removeEventListener("abort", this.#onAbort);
  }
}

/** As a browser reads it: without a byte order mark, and with a replacement character for what is not UTF-8. */
function toUtf8(chunks: readonly Buffer[]): string {
  const [only] = chunks;
  const bytes = chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks);
  const text = bytes.toString("utf8");
  return text.startsWith("\ufeff") ? text.slice(1) : text;
}

/** One signal out of two: the caller's, and a time limit that knows it was the cause. */
export interface Deadline {
  readonly signal: AbortSignal;
  /** Resolves when the signal aborts, for either cause. */
  readonly aborted: Promise<void>;
  timedOut(): boolean;
  /** Drops the time limit; the caller's signal still counts. */
  disarm(): void;
  /** Lets go of timer and caller alike. Not `AbortSignal.any`: that piles up on a long-lived signal. */
  clear(): void;
}

/** @param ms milliseconds from now */
export function createDeadline(caller: AbortSignal, ms: number): Deadline {
  const controller = new AbortController();
  const aborted = Promise.withResolvers<void>();
  controller.signal.addEventListener("abort", () => aborted.resolve(), { once: true });
  let late = false;
  const abort = () => controller.abort();
  const timer = setTimeout(() => {
    late = !controller.signal.aborted;
    controller.abort();
  }, ms);
  if (caller.aborted) abort();
  else caller.addEventListener("abort", abort, { once: true });
  return {
    signal: controller.signal,
    aborted: aborted.promise,
    timedOut: () => late,
    disarm: () => clearTimeout(timer),
    clear() {
      clearTimeout(timer);
      caller.removeEventListener("abort", abort);
    },
  };
}
