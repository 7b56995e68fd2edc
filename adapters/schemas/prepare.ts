import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import { patternSize } from "../../machines/contracts/domain/pattern-size.ts";

/** The two families of drafts that Ajv reads by different rules. */
export type Dialect = "draft-07" | "2019-09" | "2020-12";

/** Nodes of one schema: objects and arrays of all of its JSON. */
const maxNodes = 3_000;
const maxDepth = 64;
const maxPatternLength = 2_000;
/** All patterns of one schema, their repetitions written out, as {@link patternSize} counts: half a second of a processor. */
const maxPatternSize = 200_000;

/** The keyword that we lay into every subschema: what one look at it costs, in steps. */
export const costKeyword = "x-stateplane-cost";

export interface PreparedSchema {
  /** Null when it names no dialect that we know. */
  dialect: Dialect | null;
  schema: JsonObject;
  /** The subschemas that carry their cost; nothing else may be used as a schema. */
  subschemas: WeakSet<object>;
  /** How large its patterns are together, as {@link patternSize} counts. */
  sizeOfPatterns: number;
}

/** Keywords whose values are data or plain settings, whatever they look like. */
const dataKeywords = new Set(["const", "default", "enum", "examples", "required", "type"]);
/** Keywords whose values map names to schemas. */
const mapKeywords = new Set([
  "$defs",
  "definitions",
  "dependencies",
  "dependentSchemas",
  "patternProperties",
  "properties",
]);

/**
 * A copy of a foreign schema, bounded, in a dialect that Ajv reads (draft 4 is written in draft 7's words), with the
 * cost of each subschema laid into it.
 *
 * @returns what is wrong, a text, with a schema that can't be used
 */
export function prepareSchema(given: JsonObject): PreparedSchema | string {
  const { $schema: named, ...root } = given;
  const subschemas = new WeakSet<object>();
  const isDraft4 = typeof named === "string" && /draft-0?[34]\b/.test(named);
  let nodes = 0;
  let sizeOfPatterns = 0;
  let problem: string | null = null;

  function copy(value: Json, depth: number): Json {
    if (typeof value !== "object" || value === null || problem !== null) return value;
    nodes += 1;
    if (nodes > maxNodes) problem = `has more than ${maxNodes} objects and arrays`;
    if (depth > maxDepth) problem = `is nested deeper than ${maxDepth} levels`;
    return Array.isArray(value)
      ? value.map((item) => copy(item, depth + 1))
      : mapEntries(value, (_, item) => copy(item, depth + 1));
  }

  function subschema(value: Json, depth: number): Json {
    if (Array.isArray(value)) return value.map((item) => subschema(item, depth + 1));
    if (!isJsonObject(value) || problem !== null) return value;
    nodes += 1;
    if (nodes > maxNodes) problem = `has more than ${maxNodes} objects and arrays`;
    if (depth > maxDepth) problem = `is nested deeper than ${maxDepth} levels`;
    // A longer one is refused below.
    const patterns = patternsOf(value).filter(({ length }) => length <= maxPatternLength);
    for (const pattern of patterns) sizeOfPatterns += patternSize(pattern);
    if (sizeOfPatterns > maxPatternSize) {
      problem = `has patterns that are more than ${maxPatternSize} characters, repetitions written out`;
    }
    problem ??= refusedKeyword(value);
    const before = nodes;
    const own = copyData(value, depth);
    // What is compared as a whole (enum, const) costs all of it; subschemas bring their own cost.
    const cost = 1 + weight(value) + (nodes - before);
    const read = mapEntries(own, (keyword, item) => {
      if (dataKeywords.has(keyword)) return item;
      if (!mapKeywords.has(keyword) || !isJsonObject(item)) return subschema(item, depth + 1);
      return mapEntries(item, (_, part) => subschema(part, depth + 1));
    });
    const result = rewrite(read, isDraft4);
    if (Object.keys(result).length > 0) result[costKeyword] = cost;
    subschemas.add(result);
    return result;
  }

  function copyData(value: JsonObject, depth: number): JsonObject {
    return mapEntries(value, (keyword, item) =>
      dataKeywords.has(keyword) ? copy(item, depth + 1) : item,
    );
  }

  const schema = subschema(root, 0) as JsonObject;
  return problem ?? { dialect: dialectOf(named), schema, subschemas, sizeOfPatterns };
}

function dialectOf(named: Json | undefined): Dialect | null {
  if (typeof named !== "string") return null;
  if (/draft-0?[3-7]\b/.test(named)) return "draft-07";
  if (named.includes("2019-09")) return "2019-09";
  return named.includes("2020-12") ? "2020-12" : null;
}

function refusedKeyword(schema: JsonObject): string | null {
  const { $async: async, type } = schema;
  if (async !== undefined) return "uses $async, which is no keyword of JSON Schema";
  if (Array.isArray(type) && type.length > 7) return "lists more than the seven types";
  if (patternsOf(schema).some((text) => text.length > maxPatternLength)) {
    return `has a pattern of more than ${maxPatternLength} characters`;
  }
  return null;
}

function patternsOf({ pattern, patternProperties }: JsonObject): string[] {
  const named = isJsonObject(patternProperties) ? Object.keys(patternProperties) : [];
  return typeof pattern === "string" ? [pattern, ...named] : named;
}

/** Draft 4's spellings, which readers of later drafts refuse; and what only some readers know, left out. */
function rewrite(schema: JsonObject, isDraft4: boolean): JsonObject {
  if (isDraft4 && typeof schema["id"] === "string") schema["$id"] ??= schema["id"];
  // An OpenAPI word that Ajv takes beside `type` only.
  if (schema["type"] === undefined) delete schema["nullable"];
  delete schema["id"];
  for (const [bound, exclusive] of [
    ["minimum", "exclusiveMinimum"],
    ["maximum", "exclusiveMaximum"],
  ] as const) {
    if (typeof schema[exclusive] !== "boolean") continue;
    const limit = schema[bound];
    if (schema[exclusive] && limit !== undefined) {
      schema[exclusive] = limit;
      delete schema[bound];
    } else {
      delete schema[exclusive];
    }
  }
  return schema;
}

function weight(schema: JsonObject): number {
  let sum = 0;
  for (const item of Object.values(schema)) {
    if (Array.isArray(item)) sum += item.length;
    else if (isJsonObject(item)) sum += Object.keys(item).length;
    sum += 1;
  }
  return sum;
}

/** Defines instead of assigning: a key `__proto__` must stay a key. */
function mapEntries(object: JsonObject, change: (key: string, value: Json) => Json): JsonObject {
  return Object.fromEntries(
    Object.entries(object).map(([key, value]) => [key, change(key, value)]),
  );
}
