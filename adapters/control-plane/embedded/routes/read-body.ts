import { type } from "arktype";
import type { Context } from "hono";
import type { Json } from "../../../../machines/contracts/json.ts";
import { ApiError } from "../api-error.ts";

/**
 * The request's JSON body in the given shape.
 *
 * @throws ApiError 400 when it is not JSON, 422 when it is out of shape
 */
export async function readBody<T>(
  c: Context,
  shape: (body: unknown) => T | type.errors,
): Promise<T> {
  const read = shape(parse(await c.req.text()));
  if (read instanceof type.errors) throw new ApiError(422, read.summary.slice(0, 1000));
  return read;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiError(400, "Invalid JSON: the body could not be parsed");
  }
}

/** What a shape calls `unknown` in a parsed body is JSON; absent is null. */
export const asJson = (value: unknown): Json => (value === undefined ? null : (value as Json));
