import type { Context } from "hono";
import { ApiError } from "../api-error.ts";
import type { Page } from "../store.ts";

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

function readWhole(c: Context, name: string, usual: number, least: number, most: number): number {
  const text = c.req.query(name);
  if (text === undefined) return usual;
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new ApiError(422, `${name}: expected a whole number from ${least} to ${most}`);
}
