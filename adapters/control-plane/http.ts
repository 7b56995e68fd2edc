import { type Dispatcher, errors, Pool } from "undici";
import {
  type Failure,
  retryable,
  terminal,
  fail,
  ok,
  type Outcome,
  type FailureKind,
} from "../../machines/contracts/domain/failure.ts";
import { readRetryAfter } from "../../machines/contracts/wire/retry-after.ts";

export interface ApiRequest {
  method: "GET" | "POST" | "PUT";
  /** Path and query, from the control plane's root. */
  path: string;
  /** Sent as JSON. */
  body?: unknown;
  headers?: Record<string, string>;
}

/** HTTP to one control plane: keep-alive, Bearer, JSON, one deadline a call, errors as values. */
export interface ControlPlaneHttp {
  /** The control plane's address, without anything secret in it. */
  readonly url: string;
  /** A 2xx answer, or a failure. Never retries. */
  call(request: ApiRequest, signal: AbortSignal): Promise<Outcome<Answer>>;
  /** A body that goes on; given up when nothing came for `silenceMs`. Reading it may throw. */
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
const largestAnswer = 64 * 1024 * 1024;

/** @throws TypeError when the URL is not HTTP or the key could not be sent in a header */
export function createHttp(options: HttpOptions): ControlPlaneHttp {
  const base = readBase(options.url);
  const authorization = bearer(options.apiKey);
  const prefix = base.pathname.replace(/\/$/, "");
  const url = base.origin + prefix;
  const pool = new Pool(base.origin, { connections, maxResponseSize: largestAnswer });

  const send = (request: ApiRequest, signal: AbortSignal, bodyTimeout: number) =>
    pool.request({
      method: request.method,
      path: prefix + request.path,
      headers: {
        ...authorization,
        accept: "application/json",
        ...(request.body === undefined ? {} : { "content-type": "application/json" }),
        ...request.headers,
      },
      body: request.body === undefined ? null : JSON.stringify(request.body),
      signal,
      headersTimeout: options.timeoutMs,
      bodyTimeout,
    });

  const refusal = (answer: Answer, request: ApiRequest): Failure => {
    const failure = toFailure(answer, nameOf(request), Date.now());
    // A server that echoes our key in its message must not bring it into our logs.
    return options.apiKey === ""
      ? failure
      : { ...failure, message: failure.message.replaceAll(options.apiKey, "[key]") };
  };

  return {
    url,
    async call(request, signal) {
      const deadline = createDeadline(signal, options.timeoutMs);
      try {
        const response = await send(request, deadline.signal, options.timeoutMs);
        const answer = await readAnswer(response);
        return isGood(answer) ? ok(answer) : fail(refusal(answer, request));
      } catch (error) {
        return fail(transportFailure(error, `${nameOf(request)} at ${url}`, deadline, options));
      } finally {
        deadline.clear();
      }
    },
    async stream(path, silenceMs, signal) {
      const request: ApiRequest = { method: "GET", path, headers: { accept: "text/event-stream" } };
      const deadline = createDeadline(signal, options.timeoutMs);
      try {
        const response = await send(request, deadline.signal, silenceMs);
        if (response.statusCode === 200) {
          deadline.disarm();
          return ok(released(response.body, deadline));
        }
        const answer = await readAnswer(response);
        deadline.clear();
        return fail(refusal(answer, request));
      } catch (error) {
        deadline.clear();
        return fail(transportFailure(error, `${nameOf(request)} at ${url}`, deadline, options));
      }
    },
    close: () => pool.destroy(),
  };
}

function readBase(url: string): URL {
  const base = URL.canParse(url) ? new URL(url) : null;
  if (base === null || !/^https?:$/.test(base.protocol) || base.search !== "") {
    throw new TypeError("the control plane's URL: expected http(s)://host[:port][/path]");
  }
  return base;
}

function bearer(apiKey: string): Record<string, string> {
  if (apiKey === "") return {};
  if (!/^[\x21-\x7e]+$/.test(apiKey)) {
    throw new TypeError("the control plane's API key: expected visible ASCII without spaces");
  }
  return { authorization: `Bearer ${apiKey}` };
}

/** The path without its query, which may hold what a person typed. */
const nameOf = (request: ApiRequest) => `${request.method} ${request.path.split("?")[0]}`;

const isGood = (answer: Answer) => answer.status >= 200 && answer.status < 300;

async function readAnswer(response: Dispatcher.ResponseData): Promise<Answer> {
  const text = await response.body.text();
  return { status: response.statusCode, headers: response.headers, body: parse(text) };
}

/** Lets go of the caller's signal when the reader is done. */
async function* released(body: AsyncIterable<Uint8Array>, deadline: Deadline) {
  try {
    yield* body;
  } finally {
    deadline.clear();
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function transportFailure(
  error: unknown,
  call: string,
  deadline: Deadline,
  options: HttpOptions,
): Failure {
  if (deadline.timedOut()) {
    return retryable("unavailable", `${call}: no answer within ${options.timeoutMs} ms`);
  }
  if (deadline.signal.aborted) return terminal("cancelled", `${call}: cancelled`);
  if (error instanceof errors.ResponseExceededMaxSizeError) {
    return terminal("too_large", `${call}: the answer is over ${largestAnswer} bytes`);
  }
  if (error instanceof errors.InvalidArgumentError) throw error;
  return retryable("unavailable", `${call}: ${codeOf(error)}`);
}

/** Only the code: a vendor's message may quote what we sent. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown error";
  return "code" in error && typeof error.code === "string" ? error.code : error.name;
}

/** What the control plane answered; `body` is parsed JSON, or the text where it was none. */
export interface Answer {
  status: number;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  body: unknown;
}

/** Axum's words for a body over its limit, which FerrumDeck wraps in a 400. */
const overLimit = /length limit exceeded/i;

/**
 * Decides, here and nowhere else, what an error answer means to us. `details` carry the HTTP status and
 * the control plane's own code.
 *
 * @param call the request as a person would name it, `POST /v1/runs`
 * @param now epoch milliseconds
 */
export function toFailure(answer: Answer, call: string, now: number): Failure {
  const { code, message } = readError(answer.body);
  const text = [`${call}: ${answer.status}`, code, message].filter(Boolean).join(" ");
  const kind = kindOf(answer.status, message);
  const details = code === "" ? { status: answer.status } : { status: answer.status, code };
  if (kind !== "unavailable" && kind !== "rate_limited") return terminal(kind, text, details);
  const retryAfterMs =
    readRetryAfter(answer.headers["retry-after"], now) ??
    readRetryAfter(askedInBody(answer.body), now);
  const wait = retryAfterMs === undefined ? {} : { retryAfterMs };
  return { kind, message: text, retryable: true, ...wait, details };
}

function kindOf(status: number, message: string): FailureKind {
  if (status >= 500 || status === 408) return "unavailable";
  switch (status) {
    case 429:
      return "rate_limited";
    case 401:
    case 403:
      return "unauthorized";
    case 404:
      return "not_found";
    case 409:
      return "conflict";
    case 413:
      return "too_large";
    case 400:
      return overLimit.test(message) ? "too_large" : "refused";
    default:
      return "refused";
  }
}

/** `retry_after` of the body, in seconds as a header would have it: FerrumDeck's 429 carries it there. */
function askedInBody(body: unknown): string | undefined {
  if (typeof body !== "object" || body === null) return undefined;
  const inner = "error" in body ? askedInBody(body.error) : undefined;
  if (inner !== undefined) return inner;
  const value = "retry_after" in body ? body.retry_after : undefined;
  return typeof value === "number" ? String(Math.ceil(value)) : undefined;
}

/** Reads `{error: {code, message}}`, the flat form of the OpenAPI file, or plain text. */
function readError(body: unknown): { code: string; message: string } {
  if (typeof body === "string") return { code: "", message: clip(body) };
  if (typeof body !== "object" || body === null) return { code: "", message: "" };
  if ("error" in body && typeof body.error === "object") return readError(body.error);
  const code = "code" in body && typeof body.code === "string" ? body.code.slice(0, 64) : "";
  const message = "message" in body && typeof body.message === "string" ? clip(body.message) : "";
  return { code, message };
}

const clip = (text: string) => text.replaceAll(/\s+/g, " ").trim().slice(0, 500);

/** One signal out of two: the caller's, and a time limit that knows it was the cause. */
export interface Deadline {
  readonly signal: AbortSignal;
  timedOut(): boolean;
  /** Drops the time limit; the caller's signal still counts. */
  disarm(): void;
  /** Lets go of timer and caller alike. Not `AbortSignal.any`: that piles up on a long-lived signal. */
  clear(): void;
}

/** @param ms milliseconds from now */
export function createDeadline(caller: AbortSignal, ms: number): Deadline {
  const controller = new AbortController();
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
    timedOut: () => late,
    disarm: () => clearTimeout(timer),
    clear() {
      clearTimeout(timer);
      caller.removeEventListener("abort", abort);
    },
  };
}
