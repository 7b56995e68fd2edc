import type { Readable } from "node:stream";
import { limits } from "./limits.ts";

export interface CapturedOutput {
  text(): string;
  /** True once more came than is kept. */
  truncated(): boolean;
}

/** Keeps the head of a stream and reads the rest away, so that the writer is never held up nor our memory filled. */
export function captureOutput(stream: Readable): CapturedOutput {
  const kept: Buffer[] = [];
  let room: number = limits.outputBytes;
  let over = false;
  stream.on("data", (chunk: Buffer) => {
    over ||= chunk.length > room;
    if (room > 0) kept.push(chunk.subarray(0, room));
    room -= Math.min(room, chunk.length);
  });
  stream.on("error", () => {});
  return {
    // `stream: true` leaves out a character cut in half by the limit.
    text: () => new TextDecoder().decode(Buffer.concat(kept), { stream: over }),
    truncated: () => over,
  };
}
