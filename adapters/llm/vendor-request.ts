import { createRequire } from "node:module";
import { pipeline, type Readable, type Transform } from "node:stream";
import {
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createZstdDecompress,
} from "node:zlib";
import type { Agent, Dispatcher, EnvHttpProxyAgent } from "undici";

/*
 * What a vendor's SDK sends, over undici's dispatcher instead of its `fetch`. A call waits most of its life, for a model
 * that thinks: a `fetch` that waits holds two streams of the web, lists of headers and three abort signals, 12 KiB a call,
 * and gives up after five minutes whatever the SDK was told. Here the call's own clock (see `CallState`) is the only one.
 *
 * As with `fetch`, no redirect is followed, a body is decoded, and with NODE_USE_ENV_PROXY=1 the proxies of the environment
 * are used.
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
  const options = { headersTimeout: 0, bodyTimeout: 0, allowH2: false };
  const { NODE_USE_ENV_PROXY: isProxied, NODE_OPTIONS: nodeOptions = "" } = process.env;
  if (
    isProxied === "1" ||
    [...process.execArgv, nodeOptions].join(" ").includes("--use-env-proxy")
  ) {
    const Proxied =
      require("undici/lib/dispatcher/env-http-proxy-agent.js") as typeof EnvHttpProxyAgent;
    opened = new Proxied(options);
  } else {
    const Direct = require("undici/lib/dispatcher/agent.js") as typeof Agent;
    opened = new Direct(options);
  }
  return opened;
}

export interface VendorResponse {
  status: number;
  statusText: string;
  headers: Headers;
  /** Decoded. */
  body: Readable;
}

/**
 * Sends what an SDK gave to its `fetch`.
 *
 * @throws undici's error, or the system's, when no answer came; the signal's reason when it was raised
 */
export async function vendorRequest(
  input: string | URL | Request,
  { method = "GET", headers, body, signal }: RequestInit = {},
): Promise<VendorResponse> {
  if (input instanceof Request || (body !== undefined && body !== null && typeof body !== "string"))
    throw new TypeError("a vendor's SDK sent what is no text");
  const { origin, pathname, search } = new URL(input);
  const answer = await request.call(dispatcher(), {
    origin,
    path: pathname + search,
    method: method.toUpperCase() as Dispatcher.HttpMethod,
    headers: new Headers(headers),
    body: body ?? null,
    signal: signal ?? null,
  });
  const read = new Headers();
  for (const [name, value = ""] of Object.entries(answer.headers))
    for (const one of [value].flat()) read.append(name, one);
  return {
    status: answer.statusCode,
    statusText: answer.statusText,
    headers: read,
    body: decoded(answer.body, read.get("content-encoding") ?? ""),
  };
}

const decoders: ReadonlyMap<string, () => Transform> = new Map<string, () => Transform>([
  ["gzip", createGunzip],
  ["x-gzip", createGunzip],
  ["deflate", createInflate],
  ["br", createBrotliDecompress],
  ["zstd", createZstdDecompress],
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
  return names.reduceRight<Readable>((from, name) => {
    const decoder = decoders.get(name)?.();
    return decoder === undefined ? from : pipeline(from, decoder, () => {});
  }, body);
}
