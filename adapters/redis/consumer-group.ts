import type { Redis } from "ioredis";
import { group } from "./keys.ts";

/** Creates the stream and its group, from the stream's beginning, where they are missing. */
export async function createGroup(redis: Redis, stream: string): Promise<void> {
  try {
    await redis.xgroup("CREATE", stream, group, "0", "MKSTREAM");
  } catch (error) {
    if (!says(error, "BUSYGROUP")) throw error;
  }
}

/**
 * True for what a server says when the group or the stream is gone, flushed say. `UNBLOCKED` is what Redis 7.0
 * tells a reader that was waiting at the time.
 */
export function isGroupGone(error: unknown): boolean {
  return says(error, "NOGROUP") || says(error, "UNBLOCKED");
}

function says(error: unknown, code: string): boolean {
  return error instanceof Error && error.message.includes(code);
}
