import { cutText } from "./text.ts";

/*
 * What JSON.parse does not tell of a text: how deep it is nested, and which of its numbers a double cannot hold. A
 * reviver would tell the digits of a number, but it calls itself for every level and builds the value a second time: a
 * text nested deep enough ends in a RangeError, and a long one costs seconds. Here the text is read from left to right,
 * and the way to a number is put together only where one is lost. All of it takes valid JSON: whoever asks has parsed it.
 */

export interface LostNumber {
  /** Where its digits stand in the text. */
  from: number;
  to: number;
  /** `input.ids[3]`, bounded; `the top` where the number stands alone. */
  path: string;
  /** As they were written, bounded. */
  digits: string;
}

const [quote, backslash, comma, minus, zero, nine] = [34, 92, 44, 45, 48, 57];
const [openList, closeList, openObject, closeObject] = [91, 93, 123, 125];

/**
 * Only a number of 16 digits or more, of an exponent of three, or of a fraction and an exponent can be one that a
 * double cannot hold: most texts have none of these, and are read at full speed.
 */
const suspicious = /\d{16}|\d[eE][+-]?\d{3}|\.\d+[eE]/;
const isNumberPart = (code: number) =>
  // Digits, `-` and `.`, `+`, `e` and `E`.
  (code >= zero && code <= nine) ||
  code === minus ||
  code === 46 ||
  code === 43 ||
  (code | 32) === 101;

/** How far the path to a number is shown. */
const longestPath = 200;

/** Whether more than `limit` arrays and objects stand inside each other. */
export function isDeeperThan(text: string, limit: number): boolean {
  // Each level takes two characters, one of them an opening bracket: most texts have too few to be looked at closely.
  if (text.length <= 2 * limit) return false;
  const brackets = countUpTo(text, "{", limit);
  if (brackets + countUpTo(text, "[", limit) <= limit) return false;
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === quote) at = endOfText(text, at);
    else if (code === openList || code === openObject) {
      depth += 1;
      if (depth > limit) return true;
    } else if (code === closeList || code === closeObject) depth -= 1;
  }
  return false;
}

/** How often `part` stands in the text; counts no further than one past `limit`. */
function countUpTo(text: string, part: string, limit: number): number {
  let count = 0;
  let at = text.indexOf(part);
  while (at !== -1 && count <= limit) {
    count += 1;
    at = text.indexOf(part, at + 1);
  }
  return count;
}

export function* lostNumbers(text: string): Generator<LostNumber> {
  if (!suspicious.test(text)) return;
  // Of each container that is open: the place of the item in a list, or minus one and where its last text begins.
  const places: number[] = [];
  const keys: number[] = [];
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    const top = places.length - 1;
    if (code === quote) {
      // In an object a key is the last text before a value that is none.
      if (places[top] === -1) keys[top] = at;
      at = endOfText(text, at);
    } else if (code === openObject || code === openList) {
      places.push(code === openList ? 0 : -1);
      keys.push(-1);
    } else if (code === closeObject || code === closeList) {
      places.pop();
      keys.pop();
    } else if (code === comma) {
      const place = places[top] ?? -1;
      if (place >= 0) places[top] = place + 1;
    } else if (code === minus || (code >= zero && code <= nine)) {
      const from = at;
      while (isNumberPart(text.charCodeAt(at + 1))) at += 1;
      const source = text.slice(from, at + 1);
      if (suspicious.test(source) && !isKept(source)) {
        const path = pathTo(text, places, keys);
        yield { from, to: at + 1, path, digits: cutText(source, 40) };
      }
    }
  }
}

/** The text with every number that is lost in quotes: its digits are kept, as a text. */
export function quoteLostNumbers(text: string): string {
  const parts: string[] = [];
  let done = 0;
  for (const { from, to } of lostNumbers(text)) {
    parts.push(text.slice(done, from), `"${text.slice(from, to)}"`);
    done = to;
  }
  return parts.length === 0 ? text : parts.join("") + text.slice(done);
}

/** Where the quote stands that ends the text which begins at `from`. */
function endOfText(text: string, from: number): number {
  for (let at = from + 1; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === quote) return at;
    if (code === backslash) at += 1;
  }
  return text.length;
}

function pathTo(text: string, places: readonly number[], keys: readonly number[]): string {
  let path = "";
  for (const [level, place] of places.entries()) {
    if (path.length > longestPath) break;
    const key = keys[level] ?? -1;
    if (place >= 0) path += `[${place}]`;
    else path += `${path === "" ? "" : "."}${keyAt(text, key)}`;
  }
  return path === "" ? "the top" : cutText(path, longestPath);
}

/** The key whose quote stands at `from`, read no further than a path is shown: there may be a lost number in every value below it. */
function keyAt(text: string, from: number): string {
  let end = from + 1;
  while (end < from + longestPath && text.charCodeAt(end) !== quote) {
    const isEscape = text.charCodeAt(end) === backslash;
    end += isEscape ? (text[end + 1] === "u" ? 6 : 2) : 1;
  }
  return JSON.parse(`${text.slice(from, end)}"`) as string;
}

/** Whether the double still says what was written: whole numbers to the last digit, and nothing became 0 or infinite. */
function isKept(source: string): boolean {
  const value = Number(source);
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
