import type { MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { ApiError } from "./api-error.ts";

const maxSize = 2 * 1024 * 1024;
/** Read and thrown away past the limit; whoever sends more is cut off. */
const mostDrained = 64 * 1024 * 1024;
const tooLarge = new ApiError(400, `Invalid JSON: length limit exceeded (${maxSize} bytes)`);

/** The reference's limit, two mebibytes, refused in its words (wire contract 1.2). */
export function limitBody(): MiddlewareHandler {
  return bodyLimit({
    maxSize,
    async onError(c) {
      await drain(c.req.raw.body);
      return c.json(tooLarge, 400);
    },
  });
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
