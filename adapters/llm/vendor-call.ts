import { AsyncLocalStorage } from "node:async_hooks";
import { fail, type Failure, type Outcome } from "../../machines/contracts/domain/failure.ts";
import { isJsonObject, type JsonObject, parseJson } from "../../machines/contracts/domain/json.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { Usage } from "../../machines/contracts/domain/step-result.ts";
import type {
  ModelPart,
  ModelReply,
  OnModelPart,
} from "../../machines/contracts/ports/model-provider.ts";
import {
  quote,
  type Speaker,
  toFailure,
  vendorFailure,
  type VendorError,
} from "./vendor-trouble.ts";

/*
 * One call of a vendor's SDK, always as a stream. The SDKs' own retries, time-outs, logging, redirects and unbounded
 * buffers are off: `fetch` is ours, counts the bytes and watches the time.
 *
 *   opened      headers of a 200 came; from now on the call has used something, whatever becomes of it
 *   events      each is taken by a `Reader`, which makes parts of it; each part is told before the next event is read
 *   whole       the reader has seen the answer's end: from here on nothing that fails takes the answer away
 *
 * A server that answers in one piece, streams or not, is read in the same way: its body becomes a single event.
 *
 * Time: `idleMs` between two pieces of the body (and before the first), `totalMs` for the whole. Both stand still
 * while a part is being told. A call that ends before the answer is whole fails with what it used in the details.
 */

/** What both vendors' SDKs need around them. */
export interface Vendor extends Speaker {
  totalMs: number;
  idleMs: number;
  /** The vendor's error in what its SDK threw; null when it is something else. */
  readError: (error: unknown) => VendorError | null;
  /** A whole answer as the events of a stream, in the wire's format. */
  toEvents: (body: string) => string;
}

/** Reads the events of one answer. */
export interface Reader<Event> {
  /** Parts of the answer in this event; a vendor's error inside it is put into `error`. */
  take(event: Event): ModelPart[];
  readonly error: VendorError | null;
  /** Nothing that belongs to the answer is missing, but perhaps the count of its tokens. */
  readonly isWhole: boolean;
  /** What was used so far: counted by the vendor, else by what came. */
  usage(): Usage;
  reply(): Outcome<ModelReply>;
}

export interface Call<Event> {
  signal: AbortSignal;
  onPart: OnModelPart | undefined;
  open: (signal: AbortSignal) => PromiseLike<AsyncIterable<Event>>;
  reader: Reader<Event>;
}

/** Bytes of an answer. The longest that any model gives today is below two million. */
const mostBytes = 16 * 1024 * 1024;
/** What the count of tokens may take to come after the answer is whole. */
const tailMs = 5_000;

/** The time and the bytes of one call. */
class CallState {
  isOpened = false;
  bytes = 0;
  late: "idle" | "total" | null = null;
  readonly #stop = new AbortController();
  readonly #vendor: Vendor;
  #idleMs: number;
  #leftMs: number;
  #since = 0;
  #total: NodeJS.Timeout | undefined;

  constructor(vendor: Vendor) {
    this.#vendor = vendor;
    this.#idleMs = vendor.idleMs;
    this.#leftMs = vendor.totalMs;
    this.go();
  }

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

  /** The answer is whole: what still may come is not waited for long. */
  hurry(): void {
    this.#idleMs = Math.min(this.#idleMs, tailMs);
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
      kind: "too_large",
    });
  }

  close(): void {
    clearTimeout(this.#total);
    this.#stop.abort();
  }

  #end(late: "idle" | "total"): void {
    this.late ??= late;
    this.#stop.abort();
  }
}

/** Which call a `fetch` belongs to: the SDKs pass nothing on that could say it. */
const calls = new AsyncLocalStorage<CallState>();

/** An answer that can't be taken as it is, in our words. */
class UnusableAnswer extends Error {
  override readonly name = "UnusableAnswer";
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}

/** The connection failed. The SDKs wrap whatever our `fetch` throws: by this, faults of ours are told from it. */
class BrokenConnection extends Error {
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

/** Makes one call and turns all expected trouble into a failure. */
export async function callVendor<Event>(
  vendor: Vendor,
  { signal, onPart, open, reader }: Call<Event>,
): Promise<Outcome<ModelReply>> {
  const state = new CallState(vendor);
  const limited = AbortSignal.any([signal, state.signal]);
  let failure: Failure | null = null;
  try {
    const events = await calls.run(state, async () => open(limited));
    // A signal that was raised ends the SDKs' streams without an error.
    for await (const event of events) {
      const parts = reader.take(event);
      if (reader.error !== null) break;
      if (reader.isWhole) state.hurry();
      if (onPart === undefined || parts.length === 0) continue;
      state.hold();
      for (const part of parts) await onPart(part);
      state.go();
    }
  } catch (error) {
    failure = expected(vendor, error);
    if (failure === null && !limited.aborted) throw error;
  } finally {
    state.close();
  }
  if (reader.error !== null) failure = vendorFailure(vendor, reader.error);
  else if (reader.isWhole) return reader.reply();
  if (signal.aborted) failure = toFailure(vendor, "cancelled", "the model call was cancelled");
  else if (state.late !== null) failure = tooLate(vendor, state.late, state.isOpened);
  failure ??= toFailure(vendor, "network", `${vendor.name}'s answer broke off before its end`);
  return fail(state.isOpened ? spent(failure, reader.usage()) : failure);
}

/** A failure that says what was used in vain. */
function spent(failure: Failure, usage: Usage): Failure {
  if (usage.inputTokens + usage.outputTokens === 0) return failure;
  return { ...failure, details: { ...failure.details, usage: usage as JsonObject } };
}

function tooLate(vendor: Vendor, late: "idle" | "total", isOpened: boolean): Failure {
  const { name, idleMs, totalMs } = vendor;
  const message =
    late === "total"
      ? `${name} did not finish its answer within ${totalMs} ms`
      : isOpened
        ? `${name} sent nothing more for ${idleMs} ms`
        : `${name} did not answer within ${idleMs} ms`;
  return toFailure(vendor, "timeout", message);
}

function expected(vendor: Vendor, error: unknown): Failure | null {
  const unusable = causeOf(error, (cause) => cause instanceof UnusableAnswer);
  if (unusable !== null) return (unusable as UnusableAnswer).failure;
  const broken = causeOf(error, (cause) => cause instanceof BrokenConnection);
  if (broken !== null) {
    const code = causeOf(broken, (cause) => typeof codeOf(cause) === "string");
    const why = code === null ? "" : ` (${quote(vendor, String(codeOf(code)))})`;
    const what = (broken as BrokenConnection).isBody ? "'s answer broke off" : " can't be reached";
    return toFailure(vendor, "network", `${vendor.name}${what}${why}`);
  }
  const said = vendor.readError(error);
  if (said !== null && (said.said !== undefined || said.status !== undefined)) {
    return vendorFailure(vendor, said);
  }
  // An event that is not JSON.
  return error instanceof SyntaxError
    ? toFailure(vendor, "network", `${vendor.name}'s answer holds an event that is not JSON`)
    : null;
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}

/** The error or one of its causes: the SDKs wrap what `fetch` throws. */
function causeOf(error: unknown, isIt: (cause: unknown) => boolean): unknown {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 8; depth += 1) {
    if (isIt(cause)) return cause;
    cause = cause.cause;
  }
  return null;
}

/**
 * The `fetch` that the SDKs are given. It follows no redirect, which would hand the whole prompt to another host, and
 * hands on the body of a stream as it comes, within the call's bounds. Any other body is read whole, so that no number
 * in it is rounded unseen.
 */
export function vendorFetch(vendor: Vendor): typeof fetch {
  return async (input, init) => {
    const state = calls.getStore();
    if (state === undefined) throw new Error("a model was asked outside of callVendor");
    const response = await state.patiently(
      connecting(fetch(input, { ...init, redirect: "manual" }), false),
    );
    const { status, statusText } = response;
    const headers = new Headers(response.headers);
    // The body is decoded already.
    headers.delete("content-encoding");
    headers.delete("content-length");
    const pieces = readPieces(response, state);
    if (!response.ok) {
      const text = errorBody(await readWhole([], pieces));
      headers.set("content-type", "application/json");
      return new Response(text, { status, statusText, headers });
    }
    state.isOpened = true;
    headers.set("content-type", "text/event-stream");
    const { first, isStream } = await peek(pieces);
    if (isStream) return new Response(streamOf(first, pieces), { status, statusText, headers });
    const text = await readWhole(first, pieces);
    return new Response(wholeEvents(vendor, text), { status, statusText, headers });
  };
}

async function* readPieces(response: Response, state: CallState): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (reader === undefined) return;
  try {
    for (;;) {
      const { done, value } = await state.patiently(connecting(reader.read(), true));
      if (done) return;
      state.count(value.byteLength);
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
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

function streamOf(first: Uint8Array[], pieces: AsyncGenerator<Uint8Array>): ReadableStream {
  // Nothing is read ahead: that is what makes a slow listener slow the provider down.
  return new ReadableStream(
    {
      async pull(controller) {
        const next = first.shift() ?? (await pieces.next()).value;
        if (next === undefined) controller.close();
        else controller.enqueue(next);
      },
      async cancel() {
        await pieces.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
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
  if (!read.ok) return JSON.stringify({ error: { message: cutText(text, 2_000) } });
  const said = Array.isArray(read.value) ? (read.value[0] ?? null) : read.value;
  return JSON.stringify(isJsonObject(said) && "error" in said ? said : { error: said });
}

function wholeEvents(vendor: Vendor, text: string): string {
  const read = parseJson(text);
  if (read.ok) return vendor.toEvents(JSON.stringify(read.value));
  if (read.reason === "syntax") {
    const message = `${vendor.name}'s answer is not JSON, or broke off: ${cutText(quote(vendor, text), 200)}`;
    throw new UnusableAnswer({ ...toFailure(vendor, "network", message) });
  }
  const message = `${vendor.name}'s answer ${read.problem}`;
  throw new UnusableAnswer({ ...toFailure(vendor, "bad_answer", message), kind: "invalid_output" });
}
