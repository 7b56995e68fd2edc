import { type Dispatcher, errors, Pool } from "undici";
import { type Failure, retryable, terminal } from "../../machines/contracts/failure.ts";
import { fail, ok, type Outcome } from "../../machines/contracts/outcome.ts";
import { createDeadline, type Deadline } from "./deadline.ts";
import { type Answer, toFailure } from "./to-failure.ts";

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
  if (deadline.signal.aborted) return terminal("cancelled", `${call}: called off`);
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
