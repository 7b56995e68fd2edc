import * as fc from "fast-check";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import {
  namesTool,
  ruleTool,
  type ToolPair,
  type ToolRule,
} from "../../machines/contracts/domain/tool-lists.ts";

/*
 * A policy function is code: what it says of a call is known of the arguments that it was tried with, and of no others.
 * So it is tried with many: values of the tool's own schema, those that the rules' `when` speak of, and those on both
 * sides of the literals that stand in the function's own text.
 */

/** The values that rules and policy function tell calls apart by. */
export interface Hints {
  /** By argument. */
  values: Map<string, Json[]>;
  texts: string[];
  numbers: number[];
}

export function hintsOf(
  tool: ToolPair,
  rules: readonly ToolRule[],
  policy: ((...given: never[]) => unknown) | undefined,
): Hints {
  const values = new Map<string, Json[]>();
  const note = (key: string, more: readonly Json[]) =>
    values.set(key, [...(values.get(key) ?? []), ...more]);
  for (const rule of rules) {
    if (typeof rule === "string" || !namesTool(ruleTool(rule), tool)) continue;
    for (const [key, pattern] of Object.entries(rule.when ?? {})) {
      const each = Array.isArray(pattern) ? pattern : [pattern];
      note(key, [...each.map(asValue), "something else"]);
    }
  }
  const source = policy === undefined ? "" : Function.prototype.toString.call(policy);
  for (const [, member, quoted] of source.matchAll(/\binput(?:\?\.|\.)(\w+)|\[["'](\w+)["']\]/gu)) {
    note(member ?? quoted ?? "", []);
  }
  const texts = [...source.matchAll(/(["'`])((?:(?!\1)[^\\\n]){0,100})\1/gu)].map(
    ([, , text]) => text ?? "",
  );
  const numbers = [...source.matchAll(/\b\d[\d_]*(?:\.\d+)?\b/gu)]
    .map(([digits]) => Number(digits.replaceAll("_", "")))
    .flatMap((number) => [number - 1, number, number + 1]);
  return { values, texts, numbers };
}

/** A text that a pattern with wildcards covers. */
const asValue = (pattern: string | number | boolean): Json =>
  typeof pattern === "string" ? pattern.replaceAll(/[*?]/gu, "x") : pattern;

const triedArguments = 1_000;

/** Arguments to try, the same for the same configuration each time. */
export function argumentsOf(schema: unknown, hints: Hints): JsonObject[] {
  const sampled = fc.sample(objectOf(schema, hints, 0), { numRuns: triedArguments, seed: 1 });
  const unlike = new Map([...sampled, {}].map((input) => [JSON.stringify(input), input]));
  return [...unlike.values()];
}

function objectOf(schema: unknown, hints: Hints, depth: number): fc.Arbitrary<JsonObject> {
  const { properties, required } = isJsonObject(schema as Json) ? (schema as JsonObject) : {};
  const known = isJsonObject(properties) ? properties : {};
  const keys = new Set([...Object.keys(known), ...(depth === 0 ? hints.values.keys() : [])]);
  const members = [...keys].map((key): [string, fc.Arbitrary<Json>] => {
    const own = depth === 0 ? (hints.values.get(key) ?? []) : [];
    const usual = valueOf(known[key], hints, depth + 1);
    return [key, own.length === 0 ? usual : fc.oneof(fc.constantFrom(...own), usual)];
  });
  const requiredKeys = Array.isArray(required)
    ? required.filter((key): key is string => typeof key === "string" && keys.has(key))
    : [];
  return fc.record(Object.fromEntries(members), { requiredKeys }) as fc.Arbitrary<JsonObject>;
}

function valueOf(schema: Json | undefined, hints: Hints, depth: number): fc.Arbitrary<Json> {
  const { type, enum: one, const: only, items } = isJsonObject(schema) ? schema : {};
  if (Array.isArray(one) && one.length > 0) return fc.constantFrom(...one);
  if (only !== undefined) return fc.constant(only);
  const numbers = fc.oneof(fc.constantFrom(0, 1, -1, 1_000_000, ...hints.numbers), fc.integer());
  const texts = fc.oneof(fc.constantFrom("", "main", ...hints.texts), fc.string({ maxLength: 12 }));
  switch (type) {
    case "integer":
      return numbers.map(Math.trunc);
    case "number":
      return numbers;
    case "boolean":
      return fc.boolean();
    case "string":
      return texts;
    case "array":
      return depth > 3
        ? fc.constant([])
        : fc.array(valueOf(items, hints, depth + 1), { maxLength: 3 });
    case "object":
      return depth > 3 ? fc.constant({}) : objectOf(schema, hints, depth);
    default:
      return fc.oneof(texts, numbers, fc.boolean(), fc.constant(null));
  }
}
