import { parse as parseWithNumbers, isSafeNumber } from "lossless-json";
import { type Dispatcher, errors, Pool } from "undici";
import {
  type Failure,
  retryable,
  terminal,
  fail,
  ok,
  type Outcome,
} from "../../machines/contracts/domain/failure.ts";
import { parseJson } from "../../machines/contracts/domain/json.ts";
import { wellFormed } from "../../machines/contracts/domain/text.ts";
import { type Answer, toFailure, unreadable } from "./answer.ts";

export interface ApiRequest {
  method: "GET" | "POST" | "PUT";
  /** Path and query, from the control plane's root. */
  path: string;
  /** Sent as JSON, well-formed whatever its texts hold. */
  body?: unknown;
  headers?: Record<string, string>;
}

/** HTTP to one control plane: keep-alive, Bearer, JSON, one deadline a call, errors as values. */
export interface ControlPlaneHttp {
  /** The control plane's address, without anything secret in it. */
  readonly url: string;
  /** Milliseconds after which every call has ended, its own clean-up included. */
  readonly timeoutMs: number;
  /** A 2xx answer, or a failure. Never retries, never follows a redirect, never outlives its deadline. */
  call(request: ApiRequest, signal: AbortSignal): Promise<Outcome<Answer>>;
  /** A `text/event-stream` that goes on; given up when nothing came for `silenceMs`. Reading it may throw. */
  stream(
    path: string,
    silenceMs: number,
    signal: AbortSignal,
  ): Promise<Outcome<AsyncIterable<Uint8Array>>>;
  close(): Promise<void>;
}

export interface HttpOptions {
  /** `http://` or `https://`; a path is a prefix of every call. */
  url: string;
  apiKey: string;
  /** Milliseconds for one whole call, from connecting to the last byte. */
  timeoutMs: number;
}

/** As many calls at a time; more wait for a connection, within their deadline. */
const connections = 128;
export const largestAnswer = 64 * 1024 * 1024;
/** A call still open so long after its abort has lost its connection for good. */
const hungMs = 1_000;

/** @throws UnusableTarget when the URL is not HTTP or the key could not be sent in a header */
export function createHttp(options: HttpOptions): ControlPlaneHttp {
  const base = readBase(options.url);
  const authorization = bearer(options.apiKey);
  const prefix = base.pathname.replace(/\/$/, "");
  const url = base.origin + prefix;
  const calls = createPool(base.origin, options.timeoutMs);
  // Apart from the calls: streams that stay open must not use up their connections.
  const streams = createPool(base.origin, options.timeoutMs);

  /** Sends, and hands the response to `read`. Rejects no later than the deadline does. */
  const exchange = <T>(
    pool: ReplaceablePool,
    request: ApiRequest,
    deadline: Deadline,
    bodyTimeout: number,
    read: (response: Dispatcher.ResponseData) => Promise<T>,
  ): Promise<T> => {
    const headers = {
      ...authorization,
      accept: "application/json",
      // What was true a moment ago may by now be a no.
      ...(request.method === "GET" ? { "cache-control": "no-cache" } : {}),
      ...(request.body === undefined ? {} : { "content-type": "application/json" }),
      ...request.headers,
    };
    const path = prefix + request.path;
    const odd = unsendable(path, headers);
    if (odd !== null) throw new Unsendable(odd);
    const dispatch = {
      method: request.method,
      path,
      headers,
      body: toText(request.body),
      signal: deadline.signal,
      headersTimeout: options.timeoutMs,
      bodyTimeout,
    };
    return pool.use(deadline, (open) => open.request(dispatch).then(read));
  };

  // A server that echoes our key in its message must not bring it into our logs.
  const hideKey = (failure: Failure): Failure =>
    options.apiKey === ""
      ? failure
      : { ...failure, message: failure.message.replaceAll(options.apiKey, "[key]") };

  return {
    url,
    timeoutMs: options.timeoutMs + hungMs,
    async call(request, signal) {
      const name = nameOf(request);
      const deadline = createDeadline(signal, options.timeoutMs);
      try {
        const answer = await exchange(calls, request, deadline, options.timeoutMs, (response) =>
          readAnswer(name, response),
        );
        return isGood(answer) ? ok(answer) : fail(hideKey(toFailure(answer, Date.now())));
      } catch (error) {
        return fail(callFailure(error, `${name} at ${url}`, deadline, options));
      } finally {
        deadline.clear();
      }
    },
    async stream(path, silenceMs, signal) {
      const request: ApiRequest = { method: "GET", path, headers: { accept: "text/event-stream" } };
      const name = nameOf(request);
      const deadline = createDeadline(signal, options.timeoutMs);
      try {
        const opened = await exchange(streams, request, deadline, silenceMs, async (response) =>
          isEventStream(response) ? response.body : readAnswer(name, response),
        );
        if (!("status" in opened)) {
          deadline.disarm();
          return ok(released(opened, deadline));
        }
        deadline.clear();
        const expected = "expected a text/event-stream";
        return fail(
          hideKey(isGood(opened) ? unreadable(opened, expected) : toFailure(opened, Date.now())),
        );
      } catch (error) {
        deadline.clear();
        return fail(callFailure(error, `${name} at ${url}`, deadline, options));
      }
    },
    async close() {
      await Promise.all([calls.close(), streams.close()]);
    },
  };
}

interface ReplaceablePool {
  /** Works with the pool; rejects when the deadline aborts, whether or not the work ends then. */
  use<T>(deadline: Deadline, work: (pool: Pool) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/**
 * Undici loses a connection of its pool for ever when it refuses an argument, and 128 of those leave every later call
 * waiting. We refuse what we know before it does; a pool that refused all the same, or that keeps a call after its end,
 * is replaced, and what still runs over the old one may finish.
 */
function createPool(origin: string, timeoutMs: number): ReplaceablePool {
  const open = () => new Pool(origin, { connections, maxResponseSize: largestAnswer });
  let pool = open();
  const replace = (bad: Pool) => {
    if (pool !== bad) return;
    pool = open();
    setTimeout(() => void bad.destroy(), timeoutMs).unref();
  };
  return {
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

/** Something that HTTP can't carry; nothing was sent. */
class Unsendable extends Error {}

/** What of a request HTTP can't carry, without its value; null when all can be sent. */
function unsendable(path: string, headers: Record<string, string>): string | null {
  if (!/^\/[\x21-\x7e]*$/.test(path)) return "its path holds other than visible ASCII characters";
  const odd = Object.entries(headers).find(([, value]) => !/^[\x20-\x7e]*$/.test(value));
  return odd === undefined
    ? null
    : `its header ${odd[0]} holds other than visible ASCII characters`;
}

function toText(body: unknown): string | null {
  if (body === undefined) return null;
  try {
    return JSON.stringify(wellFormed(body));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new Unsendable("its body is nested too deep, or too long, to be written as JSON");
  }
}

/** An address or a key that nothing could be sent with. Never carries the value: it may be a secret. */
export class UnusableTarget extends TypeError {
  override readonly name = "UnusableTarget";
  readonly part: "url" | "apiKey";
  readonly expected: string;

  constructor(part: "url" | "apiKey", expected: string) {
    super(`the control plane's ${part === "url" ? "URL" : "API key"}: expected ${expected}`);
    this.part = part;
    this.expected = expected;
  }
}

function readBase(url: string): URL {
  const base = URL.canParse(url) ? new URL(url) : null;
  if (base === null || !/^https?:$/.test(base.protocol) || base.search !== "") {
    throw new UnusableTarget("url", "http(s)://host[:port][/path]");
  }
  return base;
}

function bearer(apiKey: string): Record<string, string> {
  if (apiKey === "") return {};
  if (!/^[\x21-\x7e]+$/.test(apiKey)) {
    throw new UnusableTarget("apiKey", "visible ASCII without spaces");
  }
  return { authorization: `Bearer ${apiKey}` };
}

/** The path without its query, which may hold what a person typed. */
const nameOf = (request: ApiRequest) => `${request.method} ${request.path.split("?")[0]}`;

const isGood = (answer: Answer) => answer.status >= 200 && answer.status < 300;

function isEventStream({ statusCode, headers }: Dispatcher.ResponseData): boolean {
  const type = headers["content-type"];
  return statusCode === 200 && typeof type === "string" && type.startsWith("text/event-stream");
}

async function readAnswer(call: string, response: Dispatcher.ResponseData): Promise<Answer> {
  const body = parse(await response.body.text());
  return { call, status: response.statusCode, headers: response.headers, body };
}

/** Lets go of the caller's signal when the reader is done. */
async function* released(body: AsyncIterable<Uint8Array>, deadline: Deadline) {
  try {
    yield* body;
  } finally {
    deadline.clear();
  }
}

/** JSON, or the text where it is none. A number that no double holds is kept as the text of its digits. */
function parse(text: string): unknown {
  const read = parseJson(text, { maxDepth: Number.POSITIVE_INFINITY });
  if (read.ok) return read.value;
  if (read.reason === "syntax") return text;
  try {
    const toNumber = (digits: string) => (isSafeNumber(digits) ? Number(digits) : digits);
    return wellFormed(parseWithNumbers(text, null, toNumber));
  } catch {
    return text;
  }
}

function callFailure(
  error: unknown,
  call: string,
  deadline: Deadline,
  options: HttpOptions,
): Failure {
  if (error instanceof Unsendable)
    return terminal("refused", `${call}: not sent: ${error.message}`);
  if (deadline.timedOut()) {
    return retryable("unavailable", `${call}: no answer within ${options.timeoutMs} ms`);
  }
  if (deadline.signal.aborted) return terminal("cancelled", `${call}: cancelled`);
  if (error instanceof errors.ResponseExceededMaxSizeError) {
    return retryable("unavailable", `${call}: the answer is over ${largestAnswer} bytes`);
  }
  if (error instanceof errors.InvalidArgumentError) {
    return terminal("refused", `${call}: not sent: the HTTP client refuses it`);
  }
  return retryable("unavailable", `${call}: ${codeOf(error)}`);
}

/** Only the code: a vendor's message may quote what we sent. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown error";
  return "code" in error && typeof error.code === "string" ? error.code : error.name;
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
