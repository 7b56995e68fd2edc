import { isJsonObject, type Json, parseJson } from "../../machines/contracts/domain/json.ts";

/*
 * Some servers have a field `error` in every answer, with nothing in it where all is well. OpenAI's SDK throws whatever
 * is there and is not false: an empty object has cost many a paid answer. So an `error` that says nothing is taken out
 * before the SDK sees it.
 */

/** Whether there is anything in an error: a text, a number, a true; in an object, in any of its fields. */
export function saysError(error: unknown): boolean {
  const open = [error];
  while (open.length > 0) {
    const part = open.pop();
    if (typeof part === "string" ? part.trim() !== "" : typeof part !== "object" && Boolean(part)) {
      return true;
    }
    if (typeof part !== "object" || part === null) continue;
    for (const inner of Object.values(part)) open.push(inner);
  }
  return false;
}

/** The same document without an `error` that says nothing. */
export function withoutEmptyError(document: Json): Json {
  if (!isJsonObject(document) || !("error" in document) || saysError(document["error"])) {
    return document;
  }
  const { error: _, ...rest } = document;
  return rest;
}

const lineEnds = [0x0a, 0x0d];

/** The same stream of events; a line's bytes are handed on once the line is whole. */
export async function* withoutEmptyErrors(
  pieces: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let held: Uint8Array[] = [];
  for await (const piece of pieces) {
    const end = Math.max(...lineEnds.map((sign) => piece.lastIndexOf(sign))) + 1;
    if (end === 0) {
      held.push(piece);
      continue;
    }
    const whole = Buffer.concat([...held, piece.subarray(0, end)]);
    held = end < piece.length ? [piece.subarray(end)] : [];
    yield whole.includes('"error"') ? Buffer.from(mendLines(whole.toString())) : whole;
  }
  const rest = Buffer.concat(held);
  if (rest.length > 0) yield Buffer.from(mendLines(rest.toString()));
}

function mendLines(lines: string): string {
  return lines.replaceAll(/(?<![^\r\n])data:[^\r\n]*"error"[^\r\n]*/gu, (line) => {
    const read = parseJson(line.slice("data:".length));
    // One line of several, or none that is JSON: the SDK finds that out.
    if (!read.ok) return line;
    const left = withoutEmptyError(read.value);
    return left === read.value ? line : `data: ${JSON.stringify(left)}`;
  });
}
