import { cutText, wellFormed } from "./text.ts";

/** A value that survives `JSON.parse(JSON.stringify(value))` unchanged. */
export type Json = null | boolean | number | string | Json[] | JsonObject;
export type JsonObject = { [key: string]: Json };

/** True for a plain JSON object: not null, not an array. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

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
 * those who read it after us. Texts come out well-formed.
 *
 * A fraction may be rounded to the nearest double, as everywhere: 0.1 always was.
 */
export function parseJson(text: string, { maxDepth = maxJsonDepth } = {}): JsonRead {
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch (error) {
    const place = /line \d+ column \d+/.exec(String(error))?.[0] ?? "it ends too early, or is none";
    return { ok: false, reason: "syntax", problem: "is not JSON", place };
  }
  if (Number.isFinite(maxDepth) && jsonDepth(value, maxDepth) > maxDepth) {
    const problem = `is nested deeper than ${maxDepth} levels`;
    return { ok: false, reason: "depth", problem };
  }
  const lost = suspiciousNumber.test(text) ? findLostNumber(text) : null;
  if (lost !== null) {
    const problem = `holds a number at ${lost.path} that can't be kept exactly: ${lost.digits}`;
    return { ok: false, reason: "number", problem };
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
      for (const part of Object.values(item)) if (isContainer(part)) next.push(part);
    }
    level = next;
  }
  return depth;
}

function isContainer(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/**
 * Only a number of 16 digits or more, of an exponent of three, or of a fraction and an exponent can be one that a
 * double cannot hold: most texts have none of these, and are read at full speed.
 */
const suspiciousNumber = /\d{16}|\d[eE][+-]?\d{3}|\.\d+[eE]/;

/** Escapes of U+0000 and of surrogates, paired or not. */
const suspiciousEscape = /\\u(?:0000|[dD][89a-fA-F])/;

function findLostNumber(text: string): { path: string; digits: string } | null {
  let lost: { holder: unknown; key: string; digits: string } | null = null;
  // The reviver's third argument has the number as it was written (Node 21 and later).
  const parse = JSON.parse as (
    text: string,
    reviver: (this: unknown, key: string, value: unknown, context: { source?: string }) => unknown,
  ) => unknown;
  const root = parse(text, function look(key, value, { source }) {
    if (typeof value === "number" && source !== undefined && !isKept(source, value)) {
      lost ??= { holder: this, key, digits: cutText(source, 40) };
    }
    return value;
  });
  if (lost === null) return null;
  const { holder, key, digits } = lost as { holder: unknown; key: string; digits: string };
  return { path: pathTo(root, holder, key), digits };
}

/** Whether the double still says what was written: whole numbers to the last digit, and nothing became 0 or infinite. */
function isKept(source: string, value: number): boolean {
  const written = decimal(source);
  if (written.digits === "") return true;
  if (!Number.isFinite(value) || value === 0) return false;
  if (written.exponent < 0 && Math.abs(value) <= Number.MAX_SAFE_INTEGER) return true;
  const kept = decimal(String(value));
  return kept.digits === written.digits && kept.exponent === written.exponent;
}

/** A number as digits without zeros at either end, times a power of ten; no digits for zero. */
function decimal(text: string): { digits: string; exponent: number } {
  const [mantissa = "", power = "0"] = text.toLowerCase().split("e");
  const [whole = "", fraction = ""] = mantissa.replace("-", "").split(".");
  const digits = (whole + fraction).replace(/^0+/, "");
  let end = digits.length;
  while (end > 0 && digits[end - 1] === "0") end -= 1;
  return {
    digits: digits.slice(0, end),
    exponent: Number(power) - fraction.length + (digits.length - end),
  };
}

/** `input.ids[3]`, bounded; `the top` where the number stands alone. */
function pathTo(root: unknown, holder: unknown, key: string): string {
  const waiting: { item: unknown; path: string }[] = [{ item: root, path: "" }];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { item, path } = next;
    if (!isContainer(item)) continue;
    const step = (name: string) =>
      Array.isArray(item) ? `${path}[${name}]` : `${path}${path === "" ? "" : "."}${name}`;
    if (item === holder) return cutText(step(key), 200);
    // A path is written only so far as it is shown.
    for (const [name, part] of Object.entries(item)) {
      if (isContainer(part))
        waiting.push({ item: part, path: path.length > 200 ? path : step(name) });
    }
  }
  return "the top";
}
