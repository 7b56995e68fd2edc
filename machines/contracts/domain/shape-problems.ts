import { type } from "arktype";
import { isJsonObject, type Json } from "./json.ts";
import { cutText } from "./text.ts";

/** A shape of arktype's that says its keys. */
export type Shape = ((given: unknown) => unknown) & {
  props: readonly { key: string | symbol }[];
};

interface ShapeProblem {
  path: (string | number)[];
  /** Whether the name of the last part of the path is meant, or what stands there. */
  on: "key" | "value";
  problem: string;
  /** Whether it does not hold what it must; a key too many is none. */
  isHindrance: boolean;
}

/**
 * Where a value differs from its shape, keys that the shape does not know included. `others` are keys that may stand beside
 * those of the shape and were looked at already: what was meant may be one of them.
 */
export function shapeProblems(
  given: Json,
  shape: Shape,
  others: readonly string[] = [],
): ShapeProblem[] {
  if (!isJsonObject(given)) {
    return [{ path: [], on: "value", problem: "expected an object", isHindrance: true }];
  }
  const known = [...shape.props.map(({ key }) => String(key)), ...others];
  const problems = Object.keys(given)
    .filter((key) => !known.includes(key))
    .map((key): ShapeProblem => {
      const hint = suggest(key, known) || `; expected ${known.join(", ")}`;
      const problem = `there is no key "${cutText(key, 100)}" here${hint}`;
      return { path: [key], on: "key", problem, isHindrance: false };
    });
  const result = shape(given);
  if (!(result instanceof type.errors)) return problems;
  for (const error of result) {
    const path = [...error.path].map((part) => (typeof part === "symbol" ? "" : part));
    const isMissing = error.code === "required";
    const problem = isMissing
      ? `expected \`${path.at(-1)}\`: ${error.expected}`
      : `expected ${error.expected}`;
    const where = isMissing ? path.slice(0, -1) : path;
    problems.push({ path: where, on: isMissing ? "key" : "value", problem, isHindrance: true });
  }
  return problems;
}

/** `; did you mean "llm"?`, where one of the known names is near. */
export function suggest(name: string, known: readonly string[]): string {
  const most = Math.max(1, Math.floor((name.length + 1) / 3));
  const near = known
    .map((one) => ({ one, far: distance(name.toLowerCase(), one.toLowerCase(), most) }))
    .filter(({ far }) => far <= most)
    .sort((a, b) => a.far - b.far);
  return near[0] === undefined ? "" : `; did you mean "${near[0].one}"?`;
}

/** How many letters to add, drop or change (Levenshtein); more than `most` is not counted to the end. */
function distance(one: string, other: string, most: number): number {
  if (Math.abs(one.length - other.length) > most) return most + 1;
  let row = Array.from({ length: other.length + 1 }, (_, at) => at);
  for (const [at, letter] of [...one].entries()) {
    const next = [at + 1];
    for (const [to, against] of [...other].entries()) {
      const change = (row[to] ?? 0) + (letter === against ? 0 : 1);
      next.push(Math.min(change, (row[to + 1] ?? 0) + 1, (next[to] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
