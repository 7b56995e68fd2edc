/**
 * Conditions: comparisons and their combinations over paths into earlier results, as in
 * `$.plan.risk <= 3 && !($.plan.owner in ["ops", "sre"])`.
 *
 * The grammar is that of CEL (cel.dev), read by its own parser, with paths where CEL has variables: each path is put
 * aside, a name of the same length takes its place, and so every position stays what it was. Of CEL only operators and
 * literals are let through. No call, no arithmetic: a condition costs what its text and its paths cost.
 *
 * What compares how:
 * - `==` and `!=` compare whole JSON values. What a path does not find is equal to null, and to nothing else.
 * - `<`, `<=`, `>` and `>=` compare two numbers, or two texts by their characters; between anything else they do not hold.
 * - `a in b` holds if the list `b` has an item equal to `a`, or the object `b` has the key `a`.
 * - A value alone holds unless it is missing, null, false, 0, an empty text or an empty list.
 */
import { isDeepStrictEqual } from "node:util";
import { type ASTNode, ParseError, parse } from "@marcbachmann/cel-js";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import { endOfPath, endOfText, type Path, readPath } from "./paths.ts";
import { spendOnComparing } from "./work.ts";

export type ConditionRead =
  | { ok: true; names: Path["names"]; holds(scope: JsonObject): boolean }
  | { ok: false; offset: number; problem: string };

type Value = Json | undefined;
type Evaluate = (scope: JsonObject) => Value;

const longest = 2_000;
const cached = 500;
const read = new Map<string, ConditionRead>();

export function readCondition(text: string): ConditionRead {
  const known = read.get(text);
  if (known !== undefined) return known;
  const made = compile(text);
  if (read.size >= cached) read.clear();
  read.set(text, made);
  return made;
}

class Refused extends Error {
  readonly offset: number;

  constructor(offset: number, problem: string) {
    super(problem);
    this.offset = offset;
  }
}

function compile(text: string): ConditionRead {
  const problem = `is longer than ${longest} characters`;
  if (text.length > longest) return { ok: false, offset: 0, problem };
  try {
    const paths = new Map<number, Path>();
    const { ast } = parse(putPathsAside(text, paths));
    const evaluate = build(ast, paths);
    const names = [...paths].flatMap(([at, path]) =>
      path.names.map(({ name, offset }) => ({ name, offset: at + offset })),
    );
    return { ok: true, names, holds: (scope) => isTrue(evaluate(scope)) };
  } catch (error) {
    if (error instanceof Refused)
      return { ok: false, offset: error.offset, problem: error.message };
    if (!(error instanceof ParseError)) throw error;
    const { start = text.length, end = start + 1 } = error.range ?? {};
    const there = text.slice(start, Math.max(end, start + 1));
    const why = error.summary
      // The parser's own word for the token says less than the text; and "token: X" looks like a secret.
      .replace(
        /^unexpected token: .*$/isu,
        `did not expect ${there === "" ? "its end" : `"${there}"`}`,
      )
      .replace("EOF", "its end")
      .replace(/^\w/u, (first) => first.toLowerCase());
    return {
      ok: false,
      offset: Math.min(start, text.length),
      problem: `expected a condition such as $.plan.risk <= 3 && $.plan.ready: ${why}`,
    };
  }
}

/** The text with a name of equal length for each path. */
function putPathsAside(text: string, paths: Map<number, Path>): string {
  let rest = "";
  for (let at = 0; at < text.length; at += 1) {
    const letter = text[at];
    if (letter === '"' || letter === "'") {
      if (/[a-zA-Z]/u.test(text[at - 1] ?? "")) throw new Refused(at - 1, plainTexts);
      const end = Math.min(endOfText(text, at), text.length - 1);
      rest += text.slice(at, end + 1);
      at = end;
    } else if (letter === "$") {
      const end = endOfPath(text, at);
      const path = readPath(text.slice(at, end));
      if (!path.ok) throw new Refused(at + path.offset, path.problem);
      paths.set(at, path.path);
      rest += "p".repeat(end - at);
      at = end - 1;
    } else rest += letter;
  }
  return rest;
}

const plainTexts = "expected a text in plain quotes";
const orderings: Readonly<Record<string, (one: never, other: never) => boolean>> = {
  "<": (one, other) => one < other,
  "<=": (one, other) => one <= other,
  ">": (one, other) => one > other,
  ">=": (one, other) => one >= other,
};
const yesOrNo = new Set(["==", "!=", "<", "<=", ">", ">=", "in", "&&", "||", "!_"]);

function build(node: ASTNode, paths: ReadonlyMap<number, Path>): Evaluate {
  switch (node.op) {
    case "value": {
      const value = literal(node.args, node.start);
      return () => value;
    }
    case "id": {
      const path = paths.get(node.start);
      if (path !== undefined) return path.select;
      const lower = node.args.toLowerCase();
      const meant = ["true", "false", "null"].includes(lower) ? `; did you mean ${lower}?` : "";
      const expected = "a path that begins with $, a number, a text in quotes, true, false or null";
      throw new Refused(node.start, `"${node.args}" is none of these: ${expected}${meant}`);
    }
    case "list": {
      const items = node.args.map((item) => build(item, paths));
      return (scope) => items.map((item) => item(scope) ?? null);
    }
    case "-_": {
      if (node.args.op !== "value") throw new Refused(node.start, "expected a number after -");
      const value = literal(node.args.args, node.args.start);
      if (typeof value !== "number") throw new Refused(node.start, "expected a number after -");
      return () => -value;
    }
    case "!_": {
      const inner = build(node.args, paths);
      return (scope) => !isTrue(inner(scope));
    }
    case "&&":
    case "||": {
      const [left, right] = node.args.map((side) => build(side, paths)) as [Evaluate, Evaluate];
      if (node.op === "&&") return (scope) => isTrue(left(scope)) && isTrue(right(scope));
      return (scope) => isTrue(left(scope)) || isTrue(right(scope));
    }
    case "==":
    case "!=":
    case "in":
    case "<":
    case "<=":
    case ">":
    case ">=":
      return compare(node.op, node.args, paths);
    default: {
      const op = String(node.op).replaceAll("_", "");
      const expected = "==, !=, <, <=, >, >=, in, &&, || and !";
      throw new Refused(node.start, `conditions have no "${op}"; expected one of ${expected}`);
    }
  }
}

function compare(
  op: string,
  [one, other]: readonly [ASTNode, ASTNode],
  paths: ReadonlyMap<number, Path>,
): Evaluate {
  const [left, right] = [build(one, paths), build(other, paths)];
  if (op === "==" || op === "!=") {
    const wanted = op === "==";
    return (scope) => isSame(left(scope) ?? null, right(scope) ?? null) === wanted;
  }
  if (op === "in") {
    if (other.op !== "list" && other.op !== "id")
      throw new Refused(other.start, "expected a list or a path after `in`");
    return (scope) => isIn(left(scope) ?? null, right(scope));
  }
  const misplaced = [one, other].find((side) => yesOrNo.has(side.op));
  if (misplaced !== undefined) {
    const hint = "join two comparisons by && or ||";
    throw new Refused(misplaced.start, `expected a value beside ${op}, not a comparison; ${hint}`);
  }
  const holds = orderings[op] as (left: unknown, right: unknown) => boolean;
  return (scope) => {
    const [first, second] = [left(scope), right(scope)];
    const isAlike = typeof first === typeof second;
    return (
      isAlike && (typeof first === "number" || typeof first === "string") && holds(first, second)
    );
  };
}

function isSame(one: Json, other: Json): boolean {
  spendOnComparing(one, other);
  return isDeepStrictEqual(one, other);
}

function isIn(item: Json, holder: Value): boolean {
  if (Array.isArray(holder)) return holder.some((one) => isSame(one, item));
  return isJsonObject(holder) && typeof item === "string" && Object.hasOwn(holder, item);
}

function literal(value: unknown, offset: number): Json {
  if (typeof value === "bigint") {
    const number = Number(value);
    if (Number.isSafeInteger(number)) return number;
    throw new Refused(offset, "expected a number that can be kept exactly");
  }
  if (value === null || ["string", "number", "boolean"].includes(typeof value))
    return value as Json;
  throw new Refused(offset, "expected a number, a text in quotes, true, false or null");
}

function isTrue(value: Value): boolean {
  return Array.isArray(value) ? value.length > 0 : Boolean(value);
}
