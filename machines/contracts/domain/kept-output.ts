import { type } from "arktype";
import { once } from "./once.ts";
import { cutText } from "./text.ts";
import type { Json, JsonObject } from "./json.ts";

/*
 * What stands in the place of an output that is too long to travel: where it is kept, and how it begins. Whoever reads
 * outputs finds it by this shape; an agent that answers in the same shape names an artifact that is not there.
 */

const keptShape = once(() =>
  type({
    note: "string",
    artifact: { id: "string", sha256: /^[0-9a-f]{64}$/, size: "number.integer >= 0" },
    preview: "string",
  }).onUndeclaredKey("reject"),
);

const previewLength = 2_000;

export function keptOutput(
  { id, sha256, size }: { id: string; sha256: string; size: number },
  output: Json,
  maxBytes: number,
): JsonObject {
  return {
    note: `the result was longer than ${maxBytes} bytes and is kept as an artifact`,
    artifact: { id, sha256, size },
    preview: cutText(JSON.stringify(output), previewLength),
  };
}

/** The artifact that holds an output; null for an output that stands there itself. */
export function keptIn(output: Json): { id: string; sha256: string } | null {
  const read = keptShape()(output);
  return read instanceof type.errors ? null : read.artifact;
}
