import { createRequire } from "node:module";
import { pipeline, Readable, type Transform } from "node:stream";
import {
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
} from "node:zlib";
import type { Agent, Dispatcher } from "undici";

/*
 * What a vendor's SDK sends, over undici's dispatcher instead of its `fetch`. A call waits most of its life, for a model
 * that thinks: a `fetch` that waits holds two streams of the web, lists of headers and three abort signals, 12 KiB a call,
 * and gives up after five minutes whatever the SDK was told. Here the call's own clock (see `CallState`) is the only one.
 *
 * As with `fetch`, no redirect is followed, a body is decoded, an abort is heard at once, and with NODE_USE_ENV_PROXY=1
 * the proxies of the environment are used.
 */

const require = createRequire(import.meta.url);
/** As undici as a whole has it: an answer whose body is read while it comes. */
const request = require("undici/lib/api/api-request.js") as (
  this: Dispatcher,
  options: Dispatcher.RequestOptions,
) => Promise<Dispatcher.ResponseData>;

let opened: Dispatcher | null = null;

/** One for all providers, opened with the first call. */
function dispatcher(): Dispatcher {
  if (opened !== null) return opened;
  const { NODE_USE_ENV_PROXY: isProxied, NODE_OPTIONS: nodeOptions = "" } = process.env;
  if (
    isProxied === "1" ||
    [...process.execArgv, nodeOptions].join(" ").includes("--use-env-proxy")
  ) {
    // All of undici: its agents of proxies do not stand without it.
    const { EnvHttpProxyAgent } = require("undici") as typeof import("undici");
    // By CONNECT whatever the scheme, so that what a proxy says of itself is not taken for the provider's word.
    // The time is a proxy's to open a tunnel; that of a provider is each call's own.
    opened = new EnvHttpProxyAgent({ allowH2: false, proxyTunnel: true, headersTimeout: 30_000 });
  } else {
    const Direct = require("undici/lib/dispatcher/agent.js") as typeof Agent;
    opened = new Direct({ allowH2: false });
  }
  return opened;
}

export interface VendorResponse {
  status: number;
  headers: Headers;
  /** Decoded. */
  body: Readable;
}

/**
 * Sends what an SDK gave to its `fetch`.
 *
 * @throws undici's error, or the system's, when no answer came; the signal's reason as soon as it is raised
 */
export async function vendorRequest(
  input: string | URL | Request,
  { method = "GET", headers, body, signal }: RequestInit = {},
): Promise<VendorResponse> {
  if (input instanceof Request || (body !== undefined && body !== null && typeof body !== "string"))
    throw new TypeError("a vendor's SDK sent what is no text");
  const { origin, pathname, search, username, password } = new URL(input);
  if (username !== "" || password !== "")
    throw new TypeError("an address with a user or a password in it is not asked");
  const asking = request.call(dispatcher(), {
    origin,
    path: pathname + search,
    method: method.toUpperCase() as Dispatcher.HttpMethod,
    headers: new Headers(headers),
    body: body ?? null,
    signal: signal ?? null,
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  const answer = await (signal ? untilAborted(asking, signal) : asking);
  // As `fetch` has it: it is the word of something that stands before the provider.
  if (answer.statusCode === 407) {
    answer.body.on("error", () => {}).destroy();
    throw Object.assign(new Error("a proxy asks for a password"), { code: "HTTP_407" });
  }
  const read = new Headers();
  for (const [name, value = ""] of Object.entries(answer.headers))
    for (const one of [value].flat()) read.append(name, one);
  return {
    status: answer.statusCode,
    headers: read,
    body: decoded(answer.body, read.get("content-encoding") ?? ""),
  };
}

/** Undici hears of an abort only once it has a connection, which may be never. */
function untilAborted(
  asking: Promise<Dispatcher.ResponseData>,
  signal: AbortSignal,
): Promise<Dispatcher.ResponseData> {
  const { promise, resolve, reject } = Promise.withResolvers<Dispatcher.ResponseData>();
  const onAbort = () => reject(signal.reason as Error);
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  asking
    .finally(() => signal.removeEventListener("abort", onAbort))
    .then((answer) => {
      resolve(answer);
      if (signal.aborted) answer.body.on("error", () => {}).destroy();
    }, reject);
  return promise;
}

// What broke off is read as far as it came, as by `fetch`: whoever reads it sees that its end is missing.
const zlib = { flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH };
const { BROTLI_OPERATION_FLUSH, ZSTD_e_flush } = constants;
const brotli = { flush: BROTLI_OPERATION_FLUSH, finishFlush: BROTLI_OPERATION_FLUSH };
const zstd = { flush: ZSTD_e_flush, finishFlush: ZSTD_e_flush };

const through = (make: () => Transform) => (from: Readable) => pipeline(from, make(), () => {});
const decoders: ReadonlyMap<string, (from: Readable) => Readable> = new Map([
  ["gzip", through(() => createGunzip(zlib))],
  ["x-gzip", through(() => createGunzip(zlib))],
  ["deflate", (from: Readable) => Readable.from(inflated(from))],
  ["br", through(() => createBrotliDecompress(brotli))],
  ["zstd", through(() => createZstdDecompress(zstd))],
]);
/** More are made to cost us, and not to save a byte. */
const mostEncodings = 5;

/** An encoding that nobody knows is left: whoever reads the body says that it is not JSON. */
function decoded(body: Readable, encoding: string): Readable {
  // What fails once it is left is nobody's trouble; a reader still hears of it.
  body.on("error", () => {});
  const names = encoding
    .split(",")
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== "" && name !== "identity");
  if (names.length > mostEncodings || !names.every((name) => decoders.has(name))) return body;
  const read = names.reduceRight((from, name) => decoders.get(name)?.(from) ?? from, body);
  return read.on("error", () => {});
}

/** Some servers leave the two bytes of zlib's header away: the first half of the first byte tells. */
async function* inflated(from: Readable): AsyncGenerator<Uint8Array> {
  const pieces = from[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  const { done, value } = await pieces.next();
  if (done === true) return;
  const isZlib = ((value[0] ?? 0) & 0x0f) === 0x08;
  async function* all() {
    yield value;
    yield* { [Symbol.asyncIterator]: () => pieces };
  }
  const inflate = isZlib ? createInflate(zlib) : createInflateRaw(zlib);
  yield* pipeline(all, inflate, () => {});
}
