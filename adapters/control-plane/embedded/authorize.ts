import { createHash, timingSafeEqual } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import { ApiError } from "./api-error.ts";

const digest = (text: string) => createHash("sha256").update(text).digest();

/** Lets in who brings the key, as `Bearer` or `ApiKey` (wire contract 1.2), compared in constant time. */
export function authorize(apiKey: string): MiddlewareHandler {
  const expected = digest(apiKey);
  return async (c, next) => {
    const [, given = ""] =
      /^(?:bearer|apikey) +(\S+)$/i.exec(c.req.header("authorization") ?? "") ?? [];
    if (!timingSafeEqual(digest(given), expected)) {
      throw new ApiError(401, "expected a valid key: Authorization: Bearer <key>");
    }
    await next();
  };
}
