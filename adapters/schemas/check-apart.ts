import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import {
  isWrittenWithin,
  type JsonObject,
  writtenLength,
} from "../../machines/contracts/domain/json.ts";
import type {
  SchemaChecker,
  SchemasApart,
  SchemaVerdict,
} from "../../machines/contracts/ports/schema-checker.ts";
import { createSchemaChecker } from "./checker.ts";
import { prepareSchema } from "./prepare.ts";

/*
 * A schema within its bounds may take half a second of a processor to compile, in which an event loop does nothing else.
 * Whoever serves many has that done in a thread:
 *
 *   plain        a schema and a value as nearly all are, a few milliseconds at most, are checked where they stand
 *   the others   go to the thread, of each owner one at a time, so that nobody waits for more than one of each other's
 *
 * The thread is started when it is first needed and ended after a while in which it was not. One that dies leaves what it
 * was at without a verdict; the next question starts another.
 */

/** Characters of JSON, of a schema and of a value that are checked at once. */
const plainSchema = 8_192;
const plainValue = 65_536;
/** How large a plain schema's patterns are: some six milliseconds. */
const plainPatterns = 2_000;
const idleMs = 60_000;

/** What the thread is asked, and what it answers. */
export interface Asked {
  id: number;
  schema: JsonObject;
  value: JsonObject;
}
export interface Answered {
  id: number;
  verdict: SchemaVerdict;
}

export function createSchemasApart(): SchemasApart {
  const here = createSchemaChecker();
  const thread = new CheckThread();
  const last = new Map<string, Promise<unknown>>();
  return {
    async check(owner, schema, value) {
      if (isPlain(schema, value)) return verdictOf(here, schema, value);
      const before = last.get(owner);
      const ask = () => thread.ask(schema, value);
      const asked = before === undefined ? ask() : before.then(ask);
      last.set(owner, asked);
      const verdict = await asked;
      if (last.get(owner) === asked) last.delete(owner);
      return verdict;
    },
    close: () => thread.close(),
  };
}

function isPlain(schema: JsonObject, value: JsonObject): boolean {
  if (writtenLength(schema, plainSchema) > plainSchema) return false;
  if (!isWrittenWithin(value, plainValue)) return false;
  const prepared = prepareSchema(schema);
  return typeof prepared === "string" || prepared.sizeOfPatterns <= plainPatterns;
}

/** A schema that can't be used says nothing of any value. */
export function verdictOf(
  schemas: SchemaChecker,
  schema: JsonObject,
  value: JsonObject,
): SchemaVerdict {
  const compiled = schemas.compile(schema);
  return typeof compiled === "string"
    ? { kind: "unusable", problem: compiled }
    : compiled.check(value);
}

class CheckThread {
  readonly #waiting = new Map<number, { of: Worker; resolve(verdict: SchemaVerdict): void }>();
  #worker: Worker | null = null;
  #idle: NodeJS.Timeout | undefined;
  #last = 0;

  ask(schema: JsonObject, value: JsonObject): Promise<SchemaVerdict> {
    clearTimeout(this.#idle);
    const worker = (this.#worker ??= this.#start());
    worker.ref();
    this.#last += 1;
    const { promise, resolve } = Promise.withResolvers<SchemaVerdict>();
    this.#waiting.set(this.#last, { of: worker, resolve });
    worker.postMessage({ id: this.#last, schema, value } satisfies Asked, []);
    return promise;
  }

  async close(): Promise<void> {
    clearTimeout(this.#idle);
    const worker = this.#worker;
    // What is asked while it ends is asked of another.
    this.#worker = null;
    await worker?.terminate();
  }

  #start(): Worker {
    const file = new URL(`./check-thread${extname(import.meta.filename)}`, import.meta.url);
    // It needs no secret of the environment, and its words are none of the program's answer.
    const worker = new Worker(file, { env: {}, execArgv: [], stdout: true, stderr: true });
    worker.stdout.resume();
    worker.stderr.resume();
    worker.on("message", ({ id, verdict }: Answered) => this.#settle(id, verdict));
    // Told by what follows it.
    worker.on("error", () => {});
    worker.on("exit", () => {
      if (this.#worker === worker) this.#worker = null;
      const verdict = {
        kind: "unusable",
        problem: "could not be checked: its thread ended",
      } as const;
      for (const [id, { of }] of this.#waiting) if (of === worker) this.#settle(id, verdict);
    });
    return worker;
  }

  #settle(id: number, verdict: SchemaVerdict): void {
    this.#waiting.get(id)?.resolve(verdict);
    this.#waiting.delete(id);
    if (this.#waiting.size > 0) return;
    this.#worker?.unref();
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => void this.close(), idleMs).unref();
  }
}
