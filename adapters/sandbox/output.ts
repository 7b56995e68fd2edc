import type { Readable } from "node:stream";
import { limits } from "./program.ts";

export interface CapturedOutput {
  /** Head and tail, and between them how much was left out. */
  text(): string;
  leftOutBytes(): number;
}

/** Keeps the head and the tail of a stream and reads the rest away, so that neither writer nor memory suffers. */
export function captureOutput(stream: Readable): CapturedOutput {
  const head: Buffer[] = [];
  let room: number = limits.headBytes;
  let tail: Buffer[] = [];
  let tailBytes = 0;
  let passed = 0;
  stream.on("data", (chunk: Buffer) => {
    if (room > 0) head.push(chunk.subarray(0, room));
    const rest = chunk.subarray(Math.min(room, chunk.length));
    room -= Math.min(room, chunk.length);
    if (rest.length === 0) return;
    tail.push(rest);
    tailBytes += rest.length;
    passed += rest.length;
    // Joined and cut now and then, not for each chunk.
    if (tailBytes > 8 * limits.tailBytes) {
      tail = [Buffer.from(Buffer.concat(tail).subarray(-limits.tailBytes))];
      tailBytes = limits.tailBytes;
    }
  });
  stream.on("error", () => {});
  const leftOutBytes = () => Math.max(0, passed - limits.tailBytes);
  return {
    leftOutBytes,
    text() {
      if (leftOutBytes() === 0) return new TextDecoder().decode(Buffer.concat([...head, ...tail]));
      // `stream: true` leaves out a character cut in half by the limit.
      const begin = new TextDecoder().decode(Buffer.concat(head), { stream: true });
      const end = new TextDecoder().decode(
        fromCharacter(Buffer.concat(tail).subarray(-limits.tailBytes)),
      );
      return `${begin}\n[${leftOutBytes()} bytes left out]\n${end}`;
    },
  };
}

/** Without the rest of a character whose beginning was left out: at most three bytes of the form 10xxxxxx. */
function fromCharacter(bytes: Buffer): Buffer {
  let at = 0;
  while (at < 3 && ((bytes[at] ?? 0) & 0xc0) === 0x80) at += 1;
  return bytes.subarray(at);
}
