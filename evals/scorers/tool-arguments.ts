import { type } from "arktype";
import { isDeepStrictEqual } from "node:util";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import type { EvalTask, ObservedCall } from "../contracts.ts";
import type { ScorerType } from "./registry.ts";
import { isOfTool, metByOwnCalls } from "./trajectory.ts";

/*
 * Arguments against ground truth, as in the Berkeley Function Calling Leaderboard (BFCL, Patil et al. 2025, "AST
 * evaluation"): a call is right if it is of the right tool, has every argument that is not optional, none that is not
 * expected, and each has the right type and one of the possible values.
 *
 *   tool_calls:
 *     - tool: get_weather
 *       arguments:
 *         city: ["Berlin", "Berlin, DE"]     a list: one of these; "" in it: may be left out
 *         days: {min: 1, max: 3}             a range, both ends allowed
 *         unit: {type: string, optional: true}
 *         exact: {value: [1, 2]}             this very value, where it is itself a list or an object
 *
 * As there, texts are compared without case and without the characters ` ,./-_*^` between words, unless `exact_texts`
 * is set; a whole number is a number, and no text is a number.
 */

const valueTypes = ["string", "number", "integer", "boolean", "array", "object", "null"] as const;

const ruleShape = type({
  "+": "reject",
  "value?": "unknown",
  "any_of?": "unknown[]",
  "type?": type.enumerated(...valueTypes),
  "min?": "number",
  "max?": "number",
  "optional?": "boolean",
});
type Rule = typeof ruleShape.infer;

const wantedShape = type({
  tool: "string > 0",
  "arguments?": type("object").narrow(isJsonObject),
});

const shape = type({
  "calls?": wantedShape.array().atLeastLength(1),
  "order?": "'in_order' | 'any_order'",
  "extra_arguments?": "boolean",
  "exact_texts?": "boolean",
});
type Options = Pick<typeof shape.infer, "extra_arguments" | "exact_texts">;

interface WantedCall {
  tool: string;
  arguments?: JsonObject;
}

/** The calls that a task expects; a text where they are written badly; null where it expects none. */
function wantedOf({ expected }: EvalTask): WantedCall[] | string | null {
  const { tool_calls: given } = expected;
  if (given === undefined) return null;
  const read = wantedShape.array().atLeastLength(1)(given);
  return read instanceof type.errors
    ? `expected.tool_calls: ${read.summary.replaceAll("\n", "; ")}`
    : (read as WantedCall[]);
}

/** Why a call is not the one that is wanted; empty where it is. */
export function argumentProblems(
  wanted: WantedCall,
  call: ObservedCall,
  options: Options = {},
): string[] {
  const given = isJsonObject(call.arguments) ? call.arguments : {};
  if (wanted.arguments === undefined) return [];
  const rules = Object.entries(wanted.arguments).map(([key, rule]) => [key, ruleOf(rule)] as const);
  const problems = rules.flatMap(([key, rule]) => {
    const value = Object.hasOwn(given, key) ? given[key] : undefined;
    if (value === undefined) return rule.optional === true ? [] : [`${key} is missing`];
    const problem = problemOf(rule, value, options);
    return problem === null ? [] : [`${key} is ${JSON.stringify(value)}, expected ${problem}`];
  });
  if (options.extra_arguments === true) return problems;
  const known = new Set(rules.map(([key]) => key));
  const extra = Object.keys(given).filter((key) => !known.has(key));
  return [...problems, ...extra.map((key) => `${key} is not expected`)];
}

function ruleOf(given: Json): Rule {
  if (Array.isArray(given)) {
    return { any_of: given.filter((value) => value !== ""), optional: given.includes("") };
  }
  if (!isJsonObject(given)) return { value: given };
  const read = ruleShape(given);
  return read instanceof type.errors ? { value: given } : read;
}

function problemOf(rule: Rule, value: Json, options: Options): string | null {
  if (rule.type !== undefined && !isOfType(rule.type, value)) return `a ${rule.type}`;
  const { min, max } = rule;
  if (min !== undefined || max !== undefined) {
    const isIn =
      typeof value === "number" && value >= (min ?? -Infinity) && value <= (max ?? Infinity);
    if (!isIn) return `a number from ${min ?? "any"} to ${max ?? "any"}`;
  }
  const { value: only, any_of: some = only === undefined ? null : [only] } = rule;
  if (some === null || some.some((one) => isSame(one as Json, value, options))) return null;
  return some.length === 1
    ? JSON.stringify(some[0])
    : `one of ${some.map((one) => JSON.stringify(one)).join(", ")}`;
}

function isOfType(wanted: NonNullable<Rule["type"]>, value: Json): boolean {
  if (wanted === "integer") return Number.isInteger(value);
  if (wanted === "null") return value === null;
  if (wanted === "array") return Array.isArray(value);
  return wanted === "object" ? isJsonObject(value) : typeof value === wanted;
}

/** Equal as BFCL compares: texts without case and punctuation, also inside of lists and objects. */
function isSame(one: Json, other: Json, options: Options): boolean {
  if (typeof one === "string" && typeof other === "string") {
    return options.exact_texts === true ? one === other : standard(one) === standard(other);
  }
  if (Array.isArray(one) && Array.isArray(other)) {
    return (
      one.length === other.length &&
      one.every((item, at) => isSame(item, other[at] ?? null, options))
    );
  }
  if (isJsonObject(one) && isJsonObject(other)) {
    const keys = new Set([...Object.keys(one), ...Object.keys(other)]);
    return [...keys].every(
      (key) =>
        Object.hasOwn(one, key) &&
        Object.hasOwn(other, key) &&
        isSame(one[key] ?? null, other[key] ?? null, options),
    );
  }
  return isDeepStrictEqual(one, other);
}

/** BFCL's `standardize_string`. */
const standard = (text: string): string =>
  text
    .replaceAll(/[ ,./\-_*^]/gu, "")
    .toLowerCase()
    .replaceAll("'", '"');

const toolArguments: ScorerType<typeof shape.infer> = {
  shape,
  make: ({ calls: given, order = "any_order", ...options }) => ({
    name: "tool_arguments",
    reads: given === undefined ? ["tool_calls"] : [],
    needs: ["calls"],
    applies: (task) => given !== undefined || wantedOf(task) !== null,
    score(task, seen) {
      const wanted = (given as WantedCall[] | undefined) ?? wantedOf(task) ?? [];
      if (typeof wanted === "string") throw new Error(wanted);
      const calls = (seen.calls ?? []).filter(({ outcome }) => outcome !== "refused");
      const missed =
        order === "in_order" ? inOrder(wanted, calls, options) : anyOrder(wanted, calls, options);
      const right = wanted.length - missed.length;
      return {
        score: right / wanted.length,
        passed: missed.length === 0,
        message:
          missed.length === 0
            ? `All ${wanted.length} expected calls were made with the right arguments.`
            : `${missed.slice(0, 5).join("; ")}.`,
        details: { expected: wanted.length, right },
      };
    },
  }),
};

const isRight = (wanted: WantedCall, call: ObservedCall, options: Options): boolean =>
  isOfTool(wanted.tool, call) && argumentProblems(wanted, call, options).length === 0;

/** Each expected call by a call of its own, the largest matching there is; what was missed, a sentence part each. */
function anyOrder(
  wanted: readonly WantedCall[],
  calls: readonly ObservedCall[],
  options: Options,
): string[] {
  const met = metByOwnCalls(wanted.length, calls, (which, call) => {
    const one = wanted[which];
    return one !== undefined && isRight(one, call, options);
  });
  return wanted.flatMap((one, which) =>
    met[which] === true ? [] : [missedBy(one, calls, options)],
  );
}

function inOrder(
  wanted: readonly WantedCall[],
  calls: readonly ObservedCall[],
  options: Options,
): string[] {
  let from = 0;
  return wanted.flatMap((one) => {
    const at = calls.findIndex((call, index) => index >= from && isRight(one, call, options));
    if (at >= 0) from = at + 1;
    return at >= 0 ? [] : [missedBy(one, calls.slice(from), options)];
  });
}

/** What came nearest to an expected call. */
function missedBy(wanted: WantedCall, calls: readonly ObservedCall[], options: Options): string {
  const near = calls
    .filter((call) => isOfTool(wanted.tool, call))
    .map((call) => argumentProblems(wanted, call, options))
    .toSorted((one, other) => one.length - other.length)[0];
  if (near === undefined) return `${wanted.tool} was not called`;
  return near.length === 0
    ? `${wanted.tool} was not called once more, or not in this order`
    : `${wanted.tool}: ${near.join(", ")}`;
}

export const argumentScorers = { tool_arguments: toolArguments };
