import type { Dispatcher } from "undici";
import {
  type Failure,
  retryable,
  terminal,
  fail,
  ok,
  type Outcome,
} from "../../machines/contracts/domain/failure.ts";
import { type JsonObject, parseJson } from "../../machines/contracts/domain/json.ts";
import { wellFormed } from "../../machines/contracts/domain/text.ts";
import { type Answer, toFailure, unreadable } from "./answer.ts";
import {
  createDeadline,
  createPool,
  type Deadline,
  errors,
  type EndedBy,
  Exchange,
  hungMs,
  largestAnswer,
  requestOver,
} from "./exchange.ts";

export interface ApiRequest {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
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
  /**
   * A body that goes on, read as it comes; given up when nothing came for `silenceMs`. Reading it may throw.
   *
   * @param type of its content; events unless another is said
   */
  stream(
    path: string,
    silenceMs: number,
    signal: AbortSignal,
    type?: string,
    headers?: Record<string, string>,
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

/** @throws UnusableTarget when the URL is not HTTP or the key could not be sent in a header */
export function createHttp(options: HttpOptions): ControlPlaneHttp {
  const base = readBase(options.url);
  const authorization = bearer(options.apiKey);
  const prefix = base.pathname.replace(/\/$/, "");
  const url = base.origin + prefix;
  const calls = createPool(base.origin, options.timeoutMs);
  // Apart from the calls: streams that stay open must not use up their connections.
  const streams = createPool(base.origin, options.timeoutMs);

  const common = { ...authorization, accept: "application/json" };
  // Made once: most calls have no headers of their own.
  const usual = {
    // What was true a moment ago may by now be a no.
    get: { ...common, "cache-control": "no-cache" },
    bare: common,
    withBody: { ...common, "content-type": "application/json" },
  };

  /** What is handed to undici; throws Unsendable for what HTTP can't carry. */
  const toDispatch = (request: ApiRequest, bodyTimeout: number) => {
    const kind =
      request.method === "GET" ? "get" : request.body === undefined ? "bare" : "withBody";
    const { method, headers: own } = request;
    const path = prefix + request.path;
    const refused = oddPath(path) ?? (own === undefined ? null : oddHeader(own));
    if (refused !== null) throw new Unsendable(refused);
    const headers = own === undefined ? usual[kind] : { ...usual[kind], ...own };
    const body = toText(request.body);
    return { method, path, headers, body, headersTimeout: options.timeoutMs, bodyTimeout };
  };

  // A server that echoes our key in its message must not bring it into our logs.
  const withoutKey = <T>(text: T): T | string =>
    typeof text === "string" && options.apiKey !== ""
      ? text.replaceAll(options.apiKey, "[key]")
      : text;
  const hideKey = (failure: Failure): Failure => {
    const { details, message } = failure;
    const hidden = { ...failure, message: withoutKey(message) };
    if (details === undefined) return hidden;
    const entries = Object.entries(details).map(([name, value]) => [name, withoutKey(value)]);
    return { ...hidden, details: Object.fromEntries(entries) as JsonObject };
  };

  return {
    url,
    timeoutMs: options.timeoutMs + hungMs,
    async call(request, signal) {
      const name = nameOf(request);
      const exchange = new Exchange(calls, signal, options.timeoutMs);
      try {
        const dispatch = toDispatch(request, options.timeoutMs);
        const { status, headers, text } = await exchange.send(dispatch);
        const answer = { call: name, status, headers, body: parse(text) };
        return isGood(answer) ? ok(answer) : fail(hideKey(toFailure(answer, Date.now())));
      } catch (error) {
        return fail(callFailure(error, `${name} at ${url}`, exchange, options));
      }
    },
    async stream(path, silenceMs, signal, type = "text/event-stream", own = {}) {
      const request: ApiRequest = { method: "GET", path, headers: { ...own, accept: type } };
      const name = nameOf(request);
      const deadline = createDeadline(signal, options.timeoutMs);
      try {
        const dispatch = { ...toDispatch(request, silenceMs), signal: deadline.signal };
        const opened = await streams.use(deadline, async (pool) => {
          const response = await requestOver(pool, dispatch);
          return isOfType(response, type) ? response.body : readAnswer(name, response);
        });
        if (!("status" in opened)) {
          deadline.disarm();
          return ok(released(opened, deadline));
        }
        deadline.clear();
        const expected = `expected a ${type}`;
        return fail(
          hideKey(isGood(opened) ? unreadable(opened, expected) : toFailure(opened, Date.now())),
        );
      } catch (error) {
        deadline.clear();
        const ended = { endedBy: endOf(deadline) };
        return fail(callFailure(error, `${name} at ${url}`, ended, options));
      }
    },
    async close() {
      await Promise.all([calls.close(), streams.close()]);
    },
  };
}

/** Something that HTTP can't carry; nothing was sent. */
class Unsendable extends Error {}

/** Why a path can't be sent; null when it can. */
const oddPath = (path: string): string | null =>
  /^\/[\x21-\x7e]*$/.test(path) ? null : "its path holds other than visible ASCII characters";

/** Which header can't be sent, without its value; null when all can. */
function oddHeader(headers: Record<string, string>): string | null {
  const odd = Object.entries(headers).find(([, value]) => !/^[\x20-\x7e]*$/.test(value));
  return odd === undefined
    ? null
    : `its header ${odd[0]} holds other than visible ASCII characters`;
}

/** How U+0000 and half a surrogate pair are written in JSON: most bodies hold neither, and need no walk. */
const suspicious = /\\u(?:0000|d[89a-f])/;

function toText(body: unknown): string | null {
  if (body === undefined) return null;
  try {
    const text = JSON.stringify(body);
    return suspicious.test(text) ? JSON.stringify(wellFormed(body)) : text;
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

function isOfType({ statusCode, headers }: Dispatcher.ResponseData, type: string): boolean {
  const given = headers["content-type"];
  return statusCode === 200 && typeof given === "string" && given.startsWith(type);
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
  const read = parseJson(text, { maxDepth: deepestAnswer, lost: "as-text" });
  return read.ok ? read.value : text;
}

/** Others may keep deeper steps than we make, and a list of steps is to be read all the same. */
const deepestAnswer = 1_000;

function callFailure(
  error: unknown,
  call: string,
  { endedBy }: { endedBy: EndedBy },
  options: HttpOptions,
): Failure {
  if (error instanceof Unsendable)
    return terminal("refused", `${call}: not sent: ${error.message}`);
  if (endedBy === "deadline") {
    return retryable("unavailable", `${call}: no answer within ${options.timeoutMs} ms`);
  }
  if (endedBy === "caller") return terminal("cancelled", `${call}: cancelled`);
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

function endOf(deadline: Deadline): EndedBy {
  if (deadline.timedOut()) return "deadline";
  return deadline.signal.aborted ? "caller" : null;
}
