import { AsyncLocalStorage } from "node:async_hooks";
import type { Failure } from "../../machines/contracts/domain/failure.ts";
import { isJsonObject, parseJson } from "../../machines/contracts/domain/json.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { Readable } from "node:stream";
import { withoutEmptyError, withoutEmptyErrors } from "./empty-errors.ts";
import { vendorRequest } from "./vendor-request.ts";
import { pageName, quote, type Speaker, toFailure, type VendorError } from "./vendor-trouble.ts";

/** What both vendors' SDKs need around them. */
export interface Vendor extends Speaker {
  totalMs: number;
  idleMs: number;
  /** The vendor's error in what its SDK threw; null when it is something else. */
  readError: (error: unknown) => VendorError | null;
  /** A whole answer as the events of a stream, in the wire's format. */
  toEvents: (body: string) => string;
}

/** Bytes of an answer. The longest that any model gives today is below two million. */
const mostBytes = 16 * 1024 * 1024;
/** What the count of tokens may take to come after the answer is whole. */
const tailMs = 5_000;

/** The time and the bytes of one call. */
export class CallState {
  isOpened = false;
  /** Whether the answer came in one piece, and its event is our own. */
  isDocument = false;
  /** Whether it is one of a model, and not a page of whatever stands before it. */
  isJson = false;
  /** Whether the stream said `[DONE]`: OpenAI's end of a stream, which its SDK keeps to itself. */
  isDone = false;
  bytes = 0;
  /** What comes of the answer, and nobody may have read. */
  rest: Rest | null = null;
  late: "idle" | "total" | null = null;
  readonly #stop = new AbortController();
  readonly #vendor: Vendor;
  readonly #caller: AbortSignal;
  readonly #onAbort = () => this.#stop.abort(this.#caller.reason);
  #idleMs: number;
  #leftMs: number;
  #since = 0;
  #total: NodeJS.Timeout | undefined;
  /** What was left when the haste began; null where there is none. */
  #beforeHaste: number | null = null;

  /** @param caller whoever may stop the call: its signal */
  constructor(vendor: Vendor, caller: AbortSignal) {
    this.#vendor = vendor;
    this.#caller = caller;
    this.#idleMs = vendor.idleMs;
    this.#leftMs = vendor.totalMs;
    if (caller.aborted) this.#onAbort();
    else caller.addEventListener("abort", this.#onAbort, { once: true });
    this.go();
  }

  /** Raised when the caller stops the call, and when its time is over. Not `AbortSignal.any`: that weighs a kilobyte. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** The clock stands still until `go`. */
  hold(): void {
    clearTimeout(this.#total);
    this.#leftMs -= performance.now() - this.#since;
  }

  go(): void {
    this.#since = performance.now();
    this.#total = setTimeout(() => this.#end("total"), Math.max(0, this.#leftMs));
  }

  /** The answer is whole: what still may come is not waited for long, though signs of life go on. */
  hurry(): void {
    if (this.#beforeHaste !== null) return;
    this.hold();
    this.#beforeHaste = this.#leftMs;
    this.#leftMs = Math.min(this.#leftMs, tailMs);
    this.go();
  }

  /** It was not whole: there is as much time as before, less what has passed. */
  calm(): void {
    if (this.#beforeHaste === null) return;
    this.hold();
    const passed = Math.min(this.#beforeHaste, tailMs) - this.#leftMs;
    this.#leftMs = this.#beforeHaste - passed;
    this.#beforeHaste = null;
    this.go();
  }

  async patiently<T>(work: Promise<T>): Promise<T> {
    const timer = setTimeout(() => this.#end("idle"), this.#idleMs);
    try {
      return await work;
    } finally {
      clearTimeout(timer);
    }
  }

  count(bytes: number): void {
    this.bytes += bytes;
    if (this.bytes <= mostBytes) return;
    const message = `${this.#vendor.name}'s answer is longer than ${mostBytes} bytes`;
    throw new UnusableAnswer({
      ...toFailure(this.#vendor, "bad_answer", message),
      // Not that of a conversation that is too long, which would be made shorter and asked again.
      kind: "invalid_output",
    });
  }

  /** @param isOver whether the answer was read to its end: then there is nothing to stop, and no error to make for it */
  close(isOver: boolean): void {
    clearTimeout(this.#total);
    this.#caller.removeEventListener("abort", this.#onAbort);
    if (!isOver) this.#stop.abort();
    else if (this.rest !== null) void readOn(this.rest);
  }

  #end(late: "idle" | "total"): void {
    this.late ??= late;
    this.#stop.abort();
  }
}

interface Rest {
  pieces: AsyncGenerator<Uint8Array>;
  body: Readable;
}

/** What a server may take to end an answer that is over. */
const endMs = 1_000;

/** Lets the connection be used again once the answer ends; one that stays open is closed. */
async function readOn({ pieces, body }: Rest): Promise<void> {
  if (body.readableEnded || body.destroyed) return;
  const timer = setTimeout(() => body.destroy(), endMs).unref();
  try {
    while ((await pieces.next()).done !== true);
  } catch {
    // The answer was whole before.
  } finally {
    clearTimeout(timer);
  }
}

/** Which call a `fetch` belongs to: the SDKs pass nothing on that could say it. */
export const calls = new AsyncLocalStorage<CallState>();

/** An answer that can't be taken as it is, in our words. */
export class UnusableAnswer extends Error {
  override readonly name = "UnusableAnswer";
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}

/** The connection failed. The SDKs wrap whatever our `fetch` throws: by this, faults of ours are told from it. */
export class BrokenConnection extends Error {
  override readonly name = "BrokenConnection";
  /** Whether the answer had begun. */
  readonly isBody: boolean;

  constructor(isBody: boolean, cause: unknown) {
    super("the connection failed", { cause });
    this.isBody = isBody;
  }
}

const connecting = <T>(work: Promise<T>, isBody: boolean): Promise<T> =>
  work.catch((error: unknown) => {
    throw new BrokenConnection(isBody, error);
  });

/**
 * The `fetch` that the SDKs are given. It follows no redirect, which would hand the whole prompt to another host, and
 * hands on the body of a stream as it comes, within the call's bounds. Any other body is read whole, so that no number
 * in it is rounded unseen.
 */
export function vendorFetch(vendor: Vendor): typeof fetch {
  return async (input, init) => {
    const state = calls.getStore();
    if (state === undefined) throw new Error("a model was asked outside of callVendor");
    const { status, headers, body } = await state.patiently(
      connecting(vendorRequest(input, init), false),
    );
    // The body is decoded already.
    headers.delete("content-encoding");
    headers.delete("content-length");
    const pieces = readPieces(body, state);
    state.rest = { pieces, body };
    if (status < 200 || status > 299) {
      const text = errorBody(await readWhole([], pieces));
      headers.set("content-type", "application/json");
      // Above these there is no Response; what is said there is its server's trouble.
      return new Response(text, { status: Math.min(status, 599), headers });
    }
    state.isOpened = true;
    headers.set("content-type", "text/event-stream");
    const { first, isStream } = await peek(pieces);
    if (isStream) {
      return new Response(streamOf(first, pieces, state), { headers });
    }
    state.isDocument = true;
    state.isJson = new TextDecoder().decode(first.at(-1)).trimStart().startsWith("{");
    const text = await readWhole(first, pieces);
    return new Response(wholeEvents(vendor, text), { headers });
  };
}

async function* readPieces(body: Readable, state: CallState): AsyncGenerator<Uint8Array> {
  const pieces = body[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  try {
    for (;;) {
      const { done, value } = await state.patiently(connecting(pieces.next(), true));
      if (done === true) return;
      state.count(value.byteLength);
      yield value;
    }
  } finally {
    body.destroy();
  }
}

/** Whether a stream of events comes or a document, by its first character: servers name the wrong type often enough. */
async function peek(
  pieces: AsyncGenerator<Uint8Array>,
): Promise<{ first: Uint8Array[]; isStream: boolean }> {
  const first: Uint8Array[] = [];
  for (;;) {
    const { done, value } = await pieces.next();
    if (done === true) return { first, isStream: false };
    first.push(value);
    const start = new TextDecoder().decode(value).trimStart();
    if (start !== "") return { first, isStream: !/^[{["<]/u.test(start) };
  }
}

function streamOf(
  first: Uint8Array[],
  rest: AsyncGenerator<Uint8Array>,
  state: CallState,
): ReadableStream {
  const pieces = withoutEmptyErrors(joined(first, rest));
  // Nothing is read ahead: that is what makes a slow listener slow the provider down.
  return new ReadableStream(
    {
      async pull(controller) {
        const next: Uint8Array | undefined = (await pieces.next()).value;
        if (next === undefined) return controller.close();
        // Pieces end where lines do.
        const lines = Buffer.from(next.buffer, next.byteOffset, next.byteLength);
        state.isDone ||= lines.includes("[DONE]") && /^data:\s*\[DONE\]/mu.test(lines.toString());
        controller.enqueue(next);
      },
      async cancel() {
        await pieces.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
}

async function* joined(
  first: readonly Uint8Array[],
  rest: AsyncGenerator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield* first;
  yield* rest;
}

async function readWhole(first: Uint8Array[], pieces: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for (const piece of first) text += decoder.decode(piece, { stream: true });
  for await (const piece of pieces) text += decoder.decode(piece, { stream: true });
  return text + decoder.decode();
}

/**
 * The body of an error with the error where the SDKs look for it. Some servers put an array around it, others leave out
 * the object `error`, and what stands before a server may answer in plain text.
 */
function errorBody(text: string): string | null {
  if (text.trim() === "") return null;
  const read = parseJson(text);
  if (!read.ok) {
    // No provider answers with a page: a proxy, a firewall or a login stands in its place for a while.
    const page = text.trimStart().startsWith("<") ? { type: pageName } : {};
    return JSON.stringify({ error: { message: cutText(text, 2_000), ...page } });
  }
  const said = Array.isArray(read.value) ? (read.value[0] ?? null) : read.value;
  return JSON.stringify(isJsonObject(said) && "error" in said ? said : { error: said });
}

function wholeEvents(vendor: Vendor, text: string): string {
  const read = parseJson(text);
  if (read.ok) return vendor.toEvents(JSON.stringify(withoutEmptyError(read.value)));
  if (read.reason === "syntax") {
    const message = `${vendor.name}'s answer is not JSON, or broke off: ${cutText(quote(vendor, text), 200)}`;
    throw new UnusableAnswer({ ...toFailure(vendor, "network", message) });
  }
  const message = `${vendor.name}'s answer ${read.problem}`;
  throw new UnusableAnswer({ ...toFailure(vendor, "bad_answer", message), kind: "invalid_output" });
}
