import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import { namesIn, type VendorError, wordsIn } from "./vendor-trouble.ts";

/*
 * What a model refuses is known by table (parameters.ts) for the models that we know. Any other model, and tomorrow's,
 * says it by a 400 that names the parameter: the call is made once more without it, which the output says. Where that
 * goes well, the model is not sent it again by this process.
 */

/**
 * The fields of a request that may be left out, as the wire has them, parts of an object before the object; and what the
 * output calls them. Null for those that nobody asked for. Messages, tools and the like are never left out; the form of
 * an answer is, for the model is told of it in words too, and held to it by us.
 */
const droppable: readonly (readonly [path: string, name: string | null])[] = [
  ["text.verbosity", "verbosity"],
  ["text.format", "response_format"],
  ["output_config.effort", "reasoning_effort"],
  ["output_config.format", "response_format"],
  ["reasoning.effort", "reasoning_effort"],
  ["response_format", "response_format"],
  ["temperature", "temperature"],
  ["top_p", "top_p"],
  ["top_k", "top_k"],
  ["stop", "stop"],
  ["stop_sequences", "stop"],
  ["seed", "seed"],
  ["presence_penalty", "presence_penalty"],
  ["frequency_penalty", "frequency_penalty"],
  ["reasoning_effort", "reasoning_effort"],
  ["parallel_tool_calls", "parallel_tool_calls"],
  ["thinking", "thinking"],
  ["verbosity", "verbosity"],
  ["stream_options", null],
  ["include", null],
];

/** The two names of the limit: what a model refuses under one it takes under the other. */
const limits: Readonly<Record<string, string>> = {
  max_tokens: "max_completion_tokens",
  max_completion_tokens: "max_tokens",
};

/** Characters of a vendor's words. */
const mostLookedAt = 4_000;
/** Of the words around a name, characters that tell whether it is quoted. */
const neighbourhood = 200;

const codes = new Set(["unsupported_parameter", "unsupported_value", "unknown_parameter"]);
const refusal =
  /unsupported|unknown|unrecogni[sz]ed|unexpected|deprecated|extra[ _](?:inputs|fields|forbidden)|(?:not|n't)(?: be)? (?:supported|support|allowed|permitted|accepted|accept|available|used|set|specified|recogni[sz]ed|compatible)|cannot (?:both )?be|only (?:the default|supported)|only \S{1,20} is (?:allowed|supported)/iu;

/** A field that a model refused: any value of it, or the one that was sent. */
export interface Rejected {
  path: string;
  value?: Json;
}

/** The field of a request that a vendor's error refuses; null where it says anything else. */
export function rejectedIn(
  { status, said }: VendorError,
  body: JsonObject,
  { hasOneLimit = false }: { hasOneLimit?: boolean } = {},
): Rejected | null {
  if (status !== 400 && status !== 422) return null;
  // Vendors quote what the step said, images too: only so much of it is searched.
  const words = cutText(wordsIn(said), mostLookedAt);
  const names = namesIn(said);
  if (!names.some((name) => codes.has(name)) && !refusal.test(words)) return null;
  const ofLimit = hasOneLimit ? [] : Object.keys(limits);
  const sent = [...droppable.map(([path]) => path), ...ofLimit].filter(
    (path) => valueAt(body, path) !== undefined,
  );
  const param = paramIn(said);
  const path =
    param === null
      ? firstIn(words, sent, body)
      : (sent.find((each) => param === each) ?? sent.find((each) => param.startsWith(`${each}.`)));
  if (path === undefined) return null;
  const value = valueAt(body, path);
  const isOfValue = names.includes("unsupported_value") && value !== undefined;
  // Under its other name an amount that is too large would be as large.
  if (Object.hasOwn(limits, path)) return isOfValue || saysAmount(words, path) ? null : { path };
  return isOfValue ? { path, value } : { path };
}

/** Where the vendor has a field for it: OpenAI's `param`, and the `loc` of servers that check with pydantic. */
function paramIn(said: unknown): string | null {
  if (!isJsonObject(said)) return null;
  const { param } = said;
  // Proxies write Python's None, or nothing, where they know of none.
  if (typeof param === "string" && !/^(?:none|null|)$/iu.test(param.trim())) return param;
  const { detail } = said;
  if (!Array.isArray(detail)) return null;
  const loc = isJsonObject(detail[0]) ? detail[0]["loc"] : null;
  return Array.isArray(loc) ? loc.filter((part) => part !== "body").join(".") : "";
}

/**
 * Of the paths the one that a text names first; of a path and its part, the part. Vendors quote what the step itself
 * said, too: a name that stands in a longer word (an address), or with the same words around it as in the request, is
 * not the vendor's.
 */
function firstIn(words: string, paths: readonly string[], body: JsonObject): string | undefined {
  const marks = paths.flatMap((path) => {
    const escaped = path.replaceAll(".", "\\.");
    // What is a word of English too counts only where it is marked as a name.
    const before = /[_.]/u.test(path)
      ? "(?<=^|[\\s\"'\\x60(\\[])"
      : "(?<=^|[\"'\\x60\\[]|(?:parameters?|arguments?|fields?|inputs?|names?|propert(?:y|ies)|options?|keys?|supplied|supports?|invalid)[:\\s]{0,4})";
    const after = "(?=[\\s\"'=\\x60)\\]:,;!?]|\\.(?:\\s|$)|$)";
    // As xAI writes it, in camel case, too.
    const camel = escaped.replaceAll(/_([a-z])/gu, (_, letter: string) => letter.toUpperCase());
    const spelled = camel === escaped ? escaped : `(?:${escaped}|${camel})`;
    const found = [...words.matchAll(new RegExp(`${before}${spelled}${after}`, "giu"))];
    return found.map(({ index, 0: name }) => ({ path, at: index, length: name.length }));
  });
  if (marks.length === 0) return undefined;
  const content = textsIn(body);
  return marks
    .toSorted((a, b) => a.at - b.at)
    .find(({ at, length }) => !isEcho(words, at, length, content))?.path;
}

/** Whether a name in a vendor's words is quoted from the request: as a text of its own there, or with its neighbour. */
function isEcho(words: string, at: number, length: number, content: readonly string[]): boolean {
  const start = words.slice(Math.max(0, at - neighbourhood), at);
  const before = /\S*\s+\S*$/u.exec(start)?.[0] ?? start;
  const end = words.slice(at + length, at + length + neighbourhood);
  const after = /^\S*(?:\s+\S+)?/u.exec(end)?.[0] ?? "";
  const name = words.slice(at, at + length);
  const withNeighbour = [`${before}${name}`, `${name}${after}`].filter((text) => text !== name);
  return content.some(
    (text) => text.trim() === name || withNeighbour.some((each) => text.includes(each)),
  );
}

/** What the step itself put into a request: its messages and its instructions. */
function textsIn(body: JsonObject): string[] {
  const texts: string[] = [];
  const collect = (value: Json | undefined): void => {
    if (typeof value === "string") texts.push(value);
    else if (Array.isArray(value)) for (const each of value) collect(each);
    else if (value !== null && typeof value === "object") {
      for (const [key, each] of Object.entries(value)) {
        texts.push(key);
        collect(each);
      }
    }
  };
  for (const key of ["messages", "input", "system", "instructions"]) collect(body[key]);
  return texts;
}

/** Whether a limit's name is followed by an amount, as in "max_tokens: 50000 is not supported". */
function saysAmount(words: string, path: string): boolean {
  return new RegExp(`${path}["'\\x60)]?\\s*(?:[:=(]|of|is)?\\s*\\d`, "iu").test(words);
}

/** The body without what its model has refused, and the names of what was left out for that. */
export function withoutRejected(
  body: JsonObject,
  rejected: readonly Rejected[],
): { body: JsonObject; dropped: string[] } {
  let left = body;
  const dropped: string[] = [];
  for (const { path, value } of rejected) {
    const present = valueAt(left, path);
    if (present === undefined) continue;
    if (value !== undefined && JSON.stringify(present) !== JSON.stringify(value)) continue;
    const other = limits[path];
    if (other !== undefined) {
      const { [path]: limit = null, ...rest } = left;
      const isTaken = !rejected.some((each) => each.path === other);
      left = isTaken ? { ...rest, [other]: limit } : left;
      continue;
    }
    left = without(left, path.split("."));
    const name = droppable.find(([each]) => each === path)?.[1];
    if (name !== null && name !== undefined) dropped.push(name);
  }
  return { body: left, dropped };
}

function valueAt(body: JsonObject, path: string): Json | undefined {
  let value: Json | undefined = body;
  for (const key of path.split(".")) value = isJsonObject(value) ? value[key] : undefined;
  return value;
}

/** An object that has nothing left goes, too. */
function without(body: JsonObject, [key = "", ...inner]: readonly string[]): JsonObject {
  const { [key]: value, ...rest } = body;
  if (inner.length === 0 || !isJsonObject(value)) return rest;
  const left = without(value, inner);
  return Object.keys(left).length === 0 ? rest : { ...rest, [key]: left };
}
