import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import { namesIn, type VendorError, wordsIn } from "./vendor-trouble.ts";

/*
 * What a model refuses is known by table (parameters.ts) for the models that we know. Any other model, and tomorrow's,
 * says it by a 400 that names the parameter: the call is made once more without it, which the output says, and the model
 * is not sent it again by this process.
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

const codes = new Set(["unsupported_parameter", "unsupported_value", "unknown_parameter"]);
const refusal =
  /unsupported|unknown|unrecogni[sz]ed|unexpected|deprecated|extra[ _](?:inputs|fields|forbidden)|(?:not|n't)(?: be)? (?:supported|support|allowed|permitted|accepted|accept|available|used|set|specified|recogni[sz]ed|compatible)|cannot (?:both )?be|only (?:the default|supported)/iu;

/** A field that a model refused: any value of it, or the one that was sent. */
export interface Rejected {
  path: string;
  value?: Json;
}

/** The field of a request that a vendor's error refuses; null where it says anything else. */
export function rejectedIn({ status, said }: VendorError, body: JsonObject): Rejected | null {
  if (status !== 400 && status !== 422) return null;
  const words = wordsIn(said);
  const names = namesIn(said);
  if (!names.some((name) => codes.has(name)) && !refusal.test(words)) return null;
  const sent = [...droppable.map(([path]) => path), ...Object.keys(limits)].filter(
    (path) => valueAt(body, path) !== undefined,
  );
  const param = isJsonObject(said) && typeof said["param"] === "string" ? said["param"] : null;
  const path =
    param === null
      ? firstIn(words, sent)
      : (sent.find((each) => param === each) ?? sent.find((each) => param.startsWith(`${each}.`)));
  if (path === undefined) return null;
  const value = valueAt(body, path);
  return names.includes("unsupported_value") && value !== undefined ? { path, value } : { path };
}

/** Of the paths the one that a text names first; of a path and its part, the part. */
function firstIn(words: string, paths: readonly string[]): string | undefined {
  const found = paths.flatMap((path) => {
    const named = new RegExp(`(?<![\\w.])${path.replaceAll(".", "\\.")}(?!\\w)`, "u").exec(words);
    return named === null ? [] : [{ path, at: named.index }];
  });
  return found.toSorted((a, b) => a.at - b.at)[0]?.path;
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
