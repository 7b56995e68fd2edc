import { FunctionExpressionType, jsonpath, JSONPathEnvironment, JSONPathError } from "json-p3";
import { RE2JS } from "re2js";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import { patternSize } from "../../machines/contracts/domain/pattern-size.ts";
import { countLooks } from "./looks.ts";
import { spend } from "./work.ts";

/** A path that was read, or where it is none and why. */
export type PathRead = { ok: true; path: Path } | { ok: false; offset: number; problem: string };

export interface Path {
  /** The names that it and the paths in its filters begin with. */
  names: readonly { name: string; offset: number }[];
  /** What it selects; undefined for nothing. A path that can select more than one value always gives a list. */
  select(scope: JsonObject): Json | undefined;
}

const longest = 2_000;
const cached = 500;

/** JSONPath as RFC 9535 has it, patterns by a linear engine: they may come from a step's result. */
class Environment extends JSONPathEnvironment {
  protected override setupFilterFunctions(): void {
    super.setupFilterFunctions();
    const { ValueType, LogicalType } = FunctionExpressionType;
    const matcher = (isWhole: boolean) => ({
      argTypes: [ValueType, ValueType],
      returnType: LogicalType,
      call: (text: unknown, pattern: unknown) => isMatch(text, pattern, isWhole),
    });
    const length = this.functionRegister.get("length");
    if (length === undefined) throw new Error("the JSONPath library has no length()");
    this.functionRegister.set("length", {
      argTypes: length.argTypes,
      returnType: length.returnType,
      call(value: unknown) {
        if (isJsonObject(value as Json)) spend(Object.keys(value as object).length);
        return length.call(value);
      },
    });
    this.functionRegister.set("match", matcher(true));
    this.functionRegister.set("search", matcher(false));
  }
}

/** Results may nest 100 levels, and stand some levels deeper in those of loops. */
const environment = new Environment({ maxRecursionDepth: 1_000 });
const read = new Map<string, PathRead>();

/** What it costs to begin with a path, beside its looks. */
const costOfPath = 20;

/**
 * Reads a path. No `..` in a filter, at most one outside, and in a filter only paths from `$` that select one value: what
 * would walk a part of a result for each part of another is refused before it runs, and what costs too much all the same
 * (see `work.ts`) fails its step.
 */
export function readPath(text: string): PathRead {
  const known = read.get(text);
  if (known !== undefined) return known;
  const made =
    text.length > longest ? refuse(0, `is longer than ${longest} characters`) : compile(text);
  if (read.size >= cached) read.clear();
  read.set(text, made);
  return made;
}

function compile(text: string): PathRead {
  let query: jsonpath.JSONPathQuery;
  try {
    query = environment.compile(text);
  } catch (error) {
    if (!(error instanceof JSONPathError)) throw error;
    const why = error.message.replace(/ \('.*'\s*:\d+\)$/su, "");
    return refuse(
      Math.min(error.token.index, text.length),
      `expected a JSONPath (RFC 9535): ${why}`,
    );
  }
  const found: Found = { names: [], problem: null };
  inspect(query, 0, false, found);
  if (found.problem !== null) return found.problem;
  countLooks(query);
  const isOne = query.singularQuery();
  return {
    ok: true,
    path: {
      names: found.names,
      select(scope) {
        spend(costOfPath + text.length / 8);
        const values = query.query(scope as never).values() as Json[];
        return isOne ? values[0] : values;
      },
    },
  };
}

interface Found {
  names: { name: string; offset: number }[];
  problem: (PathRead & { ok: false }) | null;
}

/** Collects where a path and those in its filters begin, and refuses what would cost too much. */
function inspect(
  query: jsonpath.JSONPathQuery,
  offset: number,
  isInner: boolean,
  found: Found,
): void {
  const [first] = query.segments;
  const [name] = first?.selectors ?? [];
  const { NameSelector, FilterSelector } = jsonpath.selectors;
  if (first === undefined || first.selectors.length !== 1 || !(name instanceof NameSelector)) {
    found.problem ??= refuse(offset, "expected `input` or the id of a step after `$`");
    return;
  }
  found.names.push({ name: name.name, offset });
  let deep = 0;
  for (const segment of query.segments) {
    if (segment.toString().startsWith("..")) deep += 1;
    if (deep > (isInner ? 0 : 1)) {
      const why =
        "expected at most one `..`, and none in a filter: they would walk everything again and again";
      found.problem ??= refuse(segment.token.index, why);
    }
    for (const selector of segment.selectors) {
      if (selector instanceof FilterSelector) inspectFilter(selector.expression, found);
    }
  }
}

function inspectFilter(expression: unknown, found: Found): void {
  const { RootQuery, RelativeQuery } = jsonpath.expressions;
  const { InfixExpression, PrefixExpression, LogicalExpression, FunctionExtension } =
    jsonpath.expressions;
  if (expression instanceof RootQuery) {
    inspect(expression.path, expression.token.index, true, found);
    if (!expression.path.singularQuery()) {
      const why = "expected a path that selects one value: it is looked for again for each item";
      found.problem ??= refuse(expression.token.index, why);
    }
  } else if (expression instanceof RelativeQuery) {
    for (const segment of expression.path.segments) {
      if (segment.toString().startsWith("..")) {
        found.problem ??= refuse(segment.token.index, "expected no `..` in a filter");
      }
      for (const selector of segment.selectors) {
        if (selector instanceof jsonpath.selectors.FilterSelector) {
          inspectFilter(selector.expression, found);
        }
      }
    }
  } else if (expression instanceof InfixExpression) {
    inspectFilter(expression.left, found);
    inspectFilter(expression.right, found);
  } else if (expression instanceof PrefixExpression) inspectFilter(expression.right, found);
  else if (expression instanceof LogicalExpression) inspectFilter(expression.expression, found);
  else if (expression instanceof FunctionExtension) {
    for (const argument of expression.args) inspectFilter(argument, found);
  }
}

const longestPattern = 1_000;
/** With its repetitions written out, since so it is compiled. */
const largestPattern = 5_000;
interface Pattern {
  engine: RE2JS;
  size: number;
}

const patterns = new Map<string, Pattern | null>();

/** What is no pattern matches nothing, as RFC 9535 says. */
function isMatch(text: unknown, pattern: unknown, isWhole: boolean): boolean {
  if (typeof text !== "string" || typeof pattern !== "string") return false;
  if (pattern.length > longestPattern) return false;
  let made = patterns.get(pattern);
  if (made === undefined) {
    made = compilePattern(pattern);
    if (patterns.size >= cached) patterns.clear();
    patterns.set(pattern, made);
  }
  if (made === null) return false;
  spend((made.size * text.length) / 64);
  return isWhole ? made.engine.matches(text) : made.engine.matcher(text).find();
}

function compilePattern(pattern: string): Pattern | null {
  spend(pattern.length);
  const size = patternSize(pattern);
  if (size > largestPattern) return null;
  // To compile a class of characters takes as long as many looks.
  spend(40 * size);
  try {
    const engine = RE2JS.compile(pattern);
    return { engine, size: engine.programSize() };
  } catch {
    return null;
  }
}

const refuse = (offset: number, problem: string): PathRead & { ok: false } => ({
  ok: false,
  offset,
  problem,
});

const nameAfterDot = /\.{0,2}(?:\*|[\p{L}_\u{80}-\u{10FFFF}][\p{L}\p{N}_\-\u{80}-\u{10FFFF}]*)?/uy;

/** Where the path ends that begins at `from` in a longer text. */
export function endOfPath(text: string, from: number): number {
  let at = from + 1;
  for (;;) {
    if (text[at] === "[") at = endOfBrackets(text, at);
    else if (text[at] === ".") {
      nameAfterDot.lastIndex = at;
      at += nameAfterDot.exec(text)?.[0].length ?? 1;
    } else return at;
  }
}

function endOfBrackets(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; at += 1) {
    const letter = text[at];
    if (letter === '"' || letter === "'") at = endOfText(text, at);
    else if (letter === "[") depth += 1;
    else if (letter === "]") {
      depth -= 1;
      if (depth === 0) return at + 1;
    }
  }
  return text.length;
}

/** Where the quote stands that ends the text in quotes which begins at `from`. */
export function endOfText(text: string, from: number): number {
  for (let at = from + 1; at < text.length; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === text[from]) return at;
  }
  return text.length;
}
