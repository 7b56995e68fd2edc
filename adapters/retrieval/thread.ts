import { extname } from "node:path";
import { parentPort, Worker } from "node:worker_threads";
import {
  fail,
  type Outcome,
  retryable,
  terminal,
} from "../../machines/contracts/domain/failure.ts";

/*
 * Work that would hold the event loop (a model's arithmetic, a search through many vectors) is done in a thread. It is
 * started when it is first asked, and ended after a while in which nobody asked: what it holds in memory is given back.
 * A thread that dies fails what it was asked, and the next question starts another.
 */

interface Asked {
  id: number;
  question: unknown;
}
interface Answered {
  id: number;
  outcome: Outcome<unknown>;
}

/** How long a thread is kept that nobody asks. */
const idleMs = 5 * 60_000;

export class Thread<Question, Answer> {
  readonly #name: string;
  readonly #what: string;
  readonly #waiting = new Map<number, { of: Worker; resolve(outcome: Outcome<Answer>): void }>();
  #worker: Worker | null = null;
  #idle: NodeJS.Timeout | undefined;
  #last = 0;

  /**
   * @param name of the file beside this one, without its ending, which is another in the built package
   * @param what is done there, for the message of a failure: `the search`
   */
  constructor(name: string, what: string) {
    this.#name = name;
    this.#what = what;
  }

  async ask(question: Question, signal: AbortSignal): Promise<Outcome<Answer>> {
    if (signal.aborted) return cancelled(this.#what);
    clearTimeout(this.#idle);
    const worker = (this.#worker ??= this.#start());
    worker.ref();
    this.#last += 1;
    const id = this.#last;
    const { promise, resolve } = Promise.withResolvers<Outcome<Answer>>();
    this.#waiting.set(id, { of: worker, resolve });
    // What was begun there goes on, and its answer is dropped: it is bounded.
    const giveUp = () => this.#settle(id, cancelled(this.#what));
    signal.addEventListener("abort", giveUp, { once: true });
    worker.postMessage({ id, question } satisfies Asked, []);
    try {
      return await promise;
    } finally {
      signal.removeEventListener("abort", giveUp);
    }
  }

  async close(): Promise<void> {
    clearTimeout(this.#idle);
    const worker = this.#worker;
    // What is asked while it ends is asked of another.
    this.#worker = null;
    await worker?.terminate();
  }

  #start(): Worker {
    // It needs no secret of the environment, and its words are none of the program's answer.
    const file = new URL(`./${this.#name}${extname(import.meta.filename)}`, import.meta.url);
    const worker = new Worker(file, { env: {}, execArgv: [], stdout: true, stderr: true });
    worker.stdout.resume();
    worker.stderr.resume();
    worker.on("message", ({ id, outcome }: Answered) => {
      this.#settle(id, outcome as Outcome<Answer>);
    });
    let cause = "its thread ended";
    worker.on("error", (error: unknown) => {
      cause = error instanceof Error ? error.message : String(error);
    });
    worker.on("exit", () => {
      if (this.#worker === worker) this.#worker = null;
      const failure = retryable("unavailable", `${this.#what} broke off: ${cause}`);
      for (const [id, { of }] of this.#waiting) if (of === worker) this.#settle(id, fail(failure));
    });
    return worker;
  }

  #settle(id: number, outcome: Outcome<Answer>): void {
    this.#waiting.get(id)?.resolve(outcome);
    this.#waiting.delete(id);
    if (this.#waiting.size > 0) return;
    this.#worker?.unref();
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => void this.close(), idleMs).unref();
  }
}

const cancelled = (what: string) => fail(terminal("cancelled", `${what} was cancelled`));

/** In the thread: answers each question, one after the other. */
export function serveThread<Question, Answer>(
  answer: (question: Question) => Promise<Outcome<Answer>>,
): void {
  let before: Promise<unknown> = Promise.resolve();
  parentPort?.on("message", ({ id, question }: Asked) => {
    before = before.then(async () => {
      const outcome = await answer(question as Question);
      parentPort?.postMessage({ id, outcome } satisfies Answered, []);
    });
  });
}
