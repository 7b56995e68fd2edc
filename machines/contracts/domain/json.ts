import { isDeeperThan, lostNumbers, quoteLostNumbers } from "./json-text.ts";
import { wellFormed } from "./text.ts";

/** A value that survives `JSON.parse(JSON.stringify(value))` unchanged. */
export type Json = null | boolean | number | string | Json[] | JsonObject;
export type JsonObject = { [key: string]: Json };

/** True for a plain JSON object: not null, not an array. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * For arktype's `narrow`: its shape of an object takes a list too, wherever all keys are optional. A list of conditions
 * would be none, a list of limits no limit.
 */
export const notList = (value: object, ctx: { mustBe(expected: string): false }): boolean =>
  !Array.isArray(value) || ctx.mustBe("an object");

/**
 * How deep JSON from outside may be nested. FerrumDeck's gateway reads 127 levels (serde_json) and SQLite 1,000; what
 * we pass on stands some levels deeper in a body of ours, so that what was read can always be sent and kept.
 */
export const maxJsonDepth = 100;

/** `syntax`: not JSON at all; `number` and `depth`: JSON that can't be read without changing or breaking something. */
export type JsonRead =
  | { ok: true; value: Json }
  | { ok: false; reason: "number" | "depth"; problem: string }
  | { ok: false; reason: "syntax"; problem: string; place: string };

/**
 * Reads JSON that somebody else wrote. A number that a double cannot hold is refused by its place and its digits,
 * never rounded: 9007199254740993 is somebody's id, and …992 is somebody else's. So is what is nested too deep for
 * those who read it after us: it is the first thing looked at, and nothing that reads it calls itself. Texts come out
 * well-formed. The cost grows with the length of the text, whatever it holds.
 *
 * A fraction may be rounded to the nearest double, as everywhere: 0.1 always was.
 *
 * @param options.lost `as-text` keeps a number that can't be held as the text of its digits instead
 */
export function parseJson(
  text: string,
  {
    maxDepth = maxJsonDepth,
    lost = "refused",
  }: { maxDepth?: number; lost?: "refused" | "as-text" } = {},
): JsonRead {
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch (error) {
    const place = /line \d+ column \d+/.exec(String(error))?.[0] ?? "it ends too early, or is none";
    return { ok: false, reason: "syntax", problem: "is not JSON", place };
  }
  if (isDeeperThan(text, maxDepth)) {
    const problem = `is nested deeper than ${maxDepth} levels`;
    return { ok: false, reason: "depth", problem };
  }
  if (lost === "as-text") {
    const quoted = quoteLostNumbers(text);
    if (quoted !== text) value = JSON.parse(quoted) as Json;
  } else {
    for (const { path, digits } of lostNumbers(text)) {
      const problem = `holds a number at ${path} that can't be kept exactly: ${digits}`;
      return { ok: false, reason: "number", problem };
    }
  }
  const asIs = text.isWellFormed() && !suspiciousEscape.test(text);
  return { ok: true, value: asIs ? value : wellFormed(value) };
}

/** How many arrays and objects stand inside each other: 0 for a plain value; stops counting above `limit`. */
export function jsonDepth(value: unknown, limit = Number.POSITIVE_INFINITY): number {
  let level = [value].filter(isContainer);
  let depth = 0;
  while (level.length > 0) {
    depth += 1;
    if (depth > limit) break;
    const next: object[] = [];
    for (const item of level) {
      const parts: unknown[] = Array.isArray(item) ? item : Object.values(item);
      for (const part of parts) if (isContainer(part)) next.push(part);
    }
    level = next;
  }
  return depth;
}

/**
 * Whether a value is written in about so many characters, without writing it: a part that stands in it a thousand times
 * counts a thousand times. The cost is bounded by `most`.
 */
export const isWrittenWithin = (value: Json, most: number): boolean =>
  writtenLength(value, most) <= most;

/** In about how many characters a value is written; once there are more than `most`, only that there are. */
export function writtenLength(value: Json, most = Number.POSITIVE_INFINITY): number {
  let length = 0;
  const open: Json[] = [value];
  for (let part = open.pop(); part !== undefined; part = open.pop()) {
    length += typeof part === "string" ? part.length + 2 : 4;
    if (length > most) return length;
    if (Array.isArray(part)) {
      if (length + part.length > most) return length + part.length;
      for (const each of part) open.push(each);
    } else if (isContainer(part)) {
      for (const [name, each] of Object.entries(part)) {
        length += name.length + 4;
        if (each !== undefined) open.push(each);
      }
    }
  }
  return length;
}

function isContainer(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** Escapes of U+0000 and of surrogates, paired or not. */
const suspiciousEscape = /\\u(?:0000|[dD][89a-fA-F])/;

/** An object of entries that may have got the same name; they get numbers, so that none takes the place of another. */
export function withOwnNames(entries: readonly [string, Json][]): JsonObject {
  const own: JsonObject = {};
  const counts = new Map<string, number>();
  for (const [key, value] of entries) {
    let name = key;
    for (let n = counts.get(key) ?? 2; Object.hasOwn(own, name); n += 1) {
      name = `${key} (${n})`;
      counts.set(key, n + 1);
    }
    Object.defineProperty(own, name, {
      value,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return own;
}
