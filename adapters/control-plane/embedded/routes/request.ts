import { type } from "arktype";
import type { Context, MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { type Json, notList, parseJson } from "../../../../machines/contracts/domain/json.ts";
import { cutText } from "../../../../machines/contracts/domain/text.ts";
import type { Page } from "../rows.ts";

const codes = {
  400: "BAD_REQUEST",
  401: "UNAUTHORIZED",
  403: "FORBIDDEN",
  404: "NOT_FOUND",
  409: "CONFLICT",
  422: "VALIDATION_ERROR",
  429: "RATE_LIMIT_EXCEEDED",
  500: "INTERNAL_ERROR",
  503: "UNAVAILABLE",
} as const satisfies Partial<Record<ContentfulStatusCode, string>>;

/** Thrown by a route or a change: the request is refused, and what the change had written is undone. */
export class ApiError extends Error {
  readonly status: keyof typeof codes;
  readonly code: string;

  /** @param code the wire's word; by default the one that goes with the status */
  constructor(status: keyof typeof codes, message: string, code: string = codes[status]) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
  }

  toJSON(): { error: { code: string; message: string } } {
    return { error: { code: this.code, message: this.message } };
  }
}

/** An object of JSON. */
export const objectShape = type("object").narrow(notList);

/**
 * The request's JSON body in the given shape.
 *
 * @throws ApiError 400 when it is not JSON, 422 when it is out of shape, nested deeper than we can keep, or holds a
 * number that we could not keep exactly
 */
export async function readBody<T>(
  c: Context,
  shape: (body: unknown) => T | type.errors,
): Promise<T> {
  const body = parse(await c.req.text());
  if (Array.isArray(body)) throw new ApiError(422, "the body must be an object (was a list)");
  const read = shape(body);
  if (read instanceof type.errors) throw new ApiError(422, cutText(read.summary, 1000));
  return read;
}

function parse(text: string): unknown {
  const read = parseJson(text);
  if (read.ok) return read.value;
  if (read.reason === "syntax") {
    throw new ApiError(400, "Invalid JSON: the body could not be parsed");
  }
  throw new ApiError(422, `the body ${read.problem}`);
}

/** What a shape calls `unknown` in a parsed body is JSON; absent is null. */
export const asJson = (value: unknown): Json => (value === undefined ? null : (value as Json));

/**
 * `limit` and `offset` of a list.
 *
 * @throws ApiError 422 when out of range
 */
export function readPage(c: Context, usual: number, most = 100): Page {
  return {
    limit: readWhole(c, "limit", usual, 1, most),
    offset: readWhole(c, "offset", 0, 0, Number.MAX_SAFE_INTEGER),
  };
}

/** A whole number of the query, in its bounds. @throws ApiError 422 */
export function readWhole(
  c: Context,
  name: string,
  usual: number,
  least: number,
  most: number,
): number {
  const text = c.req.query(name);
  if (text === undefined) return usual;
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new ApiError(422, `${name}: expected a whole number from ${least} to ${most}`);
}

/** Epoch milliseconds as the wire has times. */
export function rfc3339<T extends number | null>(ms: T): T extends null ? string | null : string;
export function rfc3339(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}

/** FerrumDeck's limit, two mebibytes. */
export const maxBody = 2 * 1024 * 1024;
/** Of what needs no key: a link's token, and a note. */
export const maxAnswer = 64 * 1024;

/** Read and thrown away past the limit; whoever sends more is cut off. */
const mostDrained = 64 * 1024 * 1024;

/** What is longer is refused in FerrumDeck's words. */
export function limitBody(maxSize: number): MiddlewareHandler {
  const tooLarge = new ApiError(400, `Invalid JSON: length limit exceeded (${maxSize} bytes)`);
  const limit = bodyLimit({
    maxSize,
    async onError(c) {
      await drain(c.req.raw.body);
      return c.json(tooLarge, 400);
    },
  });
  // To look at a body, the whole request is made anew: not where there is none, or its length is known to be small.
  return (c, next) => {
    const isBare = c.req.method === "GET" || c.req.method === "HEAD";
    const given = c.req.header("content-length") ?? "";
    const isSmall = /^\d{1,15}$/.test(given) && Number(given) <= maxSize;
    if (isBare || (isSmall && c.req.header("transfer-encoding") === undefined)) return next();
    return limit(c, next);
  };
}

/** An answer to a client that is still sending is often lost with the connection: first hear it out. */
async function drain(body: ReadableStream<Uint8Array> | null): Promise<void> {
  if (body === null || body.locked) return;
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > mostDrained) return;
  }
}

/** The caller's name for this request; null for none. @throws ApiError 400 */
export function readKey(c: Context): string | null {
  const key = c.req.header("idempotency-key");
  if (key === undefined) return null;
  if (key !== "" && key.length <= 255) return key;
  throw new ApiError(400, "Idempotency-Key: expected 1 to 255 characters");
}
