import { isJsonObject, type Json, maxJsonDepth } from "./json.ts";
import { cutText, wellFormed } from "./text.ts";

/*
 * What comes out of code that a user wrote: a handler's result, a tool's output, a thrown error. It may be anything. It
 * is read here into JSON, or into the words that say what is wrong with it and where.
 */

export type JsonMade = { ok: true; value: Json } | { ok: false; problem: string };

/** Values in one output, containers included: one object that stands in many places can be written out for ever. */
const mostValues = 1_000_000;

/**
 * A copy of a value as JSON. Members that are undefined are left out, as `JSON.stringify` leaves them out, and what has a
 * `toJSON`, such as a Date, is asked for it. What JSON would lose or change in silence is refused: a BigInt, NaN, a
 * function, a Map, a cycle.
 *
 * @returns of a refusal a sentence's end: `holds a BigInt at total.cents`
 */
export function toJson(given: unknown): JsonMade {
  let count = 0;
  const above = new Set<object>();
  const read = (value: unknown, path: string): Json => {
    count += 1;
    if (count > mostValues) throw new NotJson(`holds more than ${mostValues} values`);
    if (value === null || typeof value === "boolean") return value;
    if (typeof value === "string") return wellFormed(value);
    if (typeof value === "number" && Number.isFinite(value)) return value === 0 ? 0 : value;
    if (typeof value !== "object") throw new NotJson(`holds ${nameOf(value)}${at(path)}`);
    if (above.has(value)) throw new NotJson(`holds itself${at(path)}`);
    if (above.size >= maxJsonDepth)
      throw new NotJson(`is nested deeper than ${maxJsonDepth} levels`);
    above.add(value);
    const made = readObject(value, path);
    above.delete(value);
    return made;
  };
  const readObject = (value: object, path: string): Json => {
    if ("toJSON" in value && typeof value.toJSON === "function") {
      return read(value.toJSON() as unknown, path);
    }
    if (Array.isArray(value)) {
      // Not `map`, which passes over what is missing.
      return Array.from(value, (item: unknown, index) => read(item, `${path}[${index}]`));
    }
    if (boxes.some((type) => value instanceof type)) return read(value.valueOf(), path);
    if (unreadable.some((type) => value instanceof type) || ArrayBuffer.isView(value)) {
      throw new NotJson(`holds ${nameOf(value)}${at(path)}`);
    }
    const members = Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .map(([key, item]) => [wellFormed(key), read(item, path === "" ? key : `${path}.${key}`)]);
    return Object.fromEntries(members) as Json;
  };
  try {
    return { ok: true, value: read(given, "") };
  } catch (error) {
    if (error instanceof NotJson) return { ok: false, problem: error.message };
    return { ok: false, problem: `can't be read: ${messageOf(error)}` };
  }
}

class NotJson extends Error {}

const boxes = [Number, String, Boolean, BigInt];
/** What `JSON.stringify` makes an empty object of. */
const unreadable = [Map, Set, WeakMap, WeakSet, Promise, RegExp, Error, ArrayBuffer];

const at = (path: string): string => (path === "" ? "" : ` at ${cutText(path, 200)}`);

/** A value's kind for a message, never the value itself. */
export function nameOf(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  if (typeof value === "number") return Number.isFinite(value) ? "a number" : String(value);
  if (typeof value === "bigint") return "a BigInt";
  if (Array.isArray(value)) return "a list";
  if (typeof value !== "object") return `a ${typeof value}`;
  if (isJsonObject(value) && [Object.prototype, null].includes(Object.getPrototypeOf(value)))
    return "an object";
  const { constructor } = value;
  const name = typeof constructor === "function" ? constructor.name : "object";
  return `${/^[aeiou]/iu.test(name) ? "an" : "a"} ${name}`;
}

/**
 * What a user's function threw, as a failure's message: whose it was, where, and its own words.
 *
 * @param what the function, as the beginning of a sentence: `the handler "tool:charge_card"`
 * @param folder files below it are named from there
 */
export function thrownBy(what: string, error: unknown, folder: string): string {
  const place = placeOf(error, folder);
  return cutText(`${what} threw${place === null ? "" : ` at ${place}`}: ${messageOf(error)}`, 500);
}

/** The words of whatever was thrown. */
export function messageOf(error: unknown): string {
  try {
    const said: unknown = error instanceof Error ? error.message : error;
    return cutText(String(said).replaceAll(/\s+/gu, " ").trim(), 300) || "it gave no reason";
  } catch {
    return "what it threw can't be read";
  }
}

/** The stack of whatever was thrown, or its words where it has none. */
export function stackOf(error: unknown): string {
  try {
    const stack: unknown = error instanceof Error ? error.stack : null;
    return typeof stack === "string" ? stack : messageOf(error);
  } catch {
    return messageOf(error);
  }
}

/** The path of a `file:` URL; a percent sign that stands for nothing is left as it is. */
function pathOf(url: string): string {
  const path = url.replace(/^file:\/\//u, "");
  try {
    return path === url ? url : decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** The folder of this program's own code, beside which a user's stands. */
const ours = pathOf(new URL("../../../", import.meta.url).href);
const ourFolders = /^(?:dist\/)?(?:actors|adapters|cli|machines|tests\/kit)\//u;

/**
 * Where the file begins in a line of a stack: `at FILE:1:2`, `at async FILE:1:2` or `at what it is called (FILE:1:2)`. A
 * path may hold spaces and brackets, and a function's name too, so a file is known by how a path or a URL begins.
 */
const fileBegins = /(?<=^ *at |^ *at async |\()(?:\/|file:|node:|[A-Za-z]:\\)/u;

/** `file:line` where an error was thrown, in the first file of its stack that is a user's; null when none is known. */
export function placeOf(error: unknown, folder: string): string | null {
  try {
    const stack: unknown = error instanceof Error ? error.stack : null;
    if (typeof stack !== "string") return null;
    return placeIn(stack, String((error as Error).message), folder);
  } catch {
    // An error of the user's own kind may throw when it is looked at.
    return null;
  }
}

/** The same in a stack's own text. */
export function placeIn(stack: string, message: string, folder: string): string | null {
  // The message comes first, and may hold lines that look like places.
  const begins = message === "" ? -1 : stack.indexOf(message);
  const frames = begins === -1 ? stack : stack.slice(begins + message.length);
  for (const text of frames.split("\n")) {
    const begin = text.search(fileBegins);
    const [, place = "", line = ""] = /^(.*):(\d+):\d+\)?$/u.exec(text.slice(begin)) ?? [];
    if (begin === -1 || place === "") continue;
    if (/^node:|\/node_modules\/|<anonymous>$/u.test(place)) continue;
    const path = pathOf(place);
    if (path.startsWith(ours) && ourFolders.test(path.slice(ours.length))) continue;
    const from = folder.endsWith("/") ? folder : `${folder}/`;
    return `${path.startsWith(from) ? path.slice(from.length) : path}:${line}`;
  }
  return null;
}
