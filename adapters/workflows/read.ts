import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type ParsedNode,
  parseDocument,
  type Scalar,
  visit,
} from "yaml";
import { type Json, jsonDepth, maxJsonDepth } from "../../machines/contracts/domain/json.ts";
import { wellFormed } from "../../machines/contracts/domain/text.ts";
import type { WorkflowDefinition } from "../../machines/contracts/domain/workflow.ts";
import {
  type Problem,
  workflowProblems,
} from "../../machines/contracts/domain/workflow-problems.ts";
import { writtenPlace } from "../../machines/contracts/domain/workflow-graph.ts";
import { readExpression } from "./expressions.ts";

/** What is wrong in a file, and where: lines and columns count from 1. */
export interface PlacedProblem {
  line: number;
  column: number;
  /** `steps[2].config.tool_name`; empty for the document itself. */
  where: string;
  problem: string;
}

export type WorkflowRead =
  | { ok: true; definition: WorkflowDefinition }
  | { ok: false; problems: PlacedProblem[] };

const longest = 512 * 1024;
/** More brackets than this that stay open are not read: the parser would call itself for each. */
const mostOpen = 1_000;

/**
 * Reads a workflow's definition, YAML or JSON: one reader for both, since JSON is YAML, so that both have positions.
 * Nothing of it is used unless all of it can be.
 */
export function readWorkflow(text: string): WorkflowRead {
  if (text.length > longest) return refuse(1, 1, "a definition has at most 524,288 characters");
  if (leavesOpen(text) > mostOpen) return refuse(1, 1, tooDeep);
  const lines = new LineCounter();
  let document: Document.Parsed;
  let value: Json;
  try {
    // Its own look for repeated keys compares each with each.
    const options = { lineCounter: lines, intAsBigInt: true, strict: true, uniqueKeys: false };
    document = parseDocument(text, options);
    const [trouble] = [...document.errors, ...document.warnings];
    if (trouble !== undefined) {
      const { line, col } = lines.linePos(trouble.pos[0]);
      const [why = ""] = trouble.message.split(/ at line \d+/u);
      return refuse(line, col, `expected YAML or JSON: ${why.toLowerCase()}`);
    }
    const repeated = repeatedKey(document);
    if (repeated !== null) {
      const { line, col } = lines.linePos(repeated.range?.[0] ?? 0);
      return refuse(line, col, "expected each key once");
    }
    value = (document.toJS({ maxAliasCount: 100 }) ?? null) as Json;
  } catch (error) {
    // The parser's own words for what nests too deep for it, and for aliases that multiply.
    if (error instanceof RangeError || error instanceof ReferenceError)
      return refuse(1, 1, tooDeep);
    throw error;
  }
  if (jsonDepth(value, maxJsonDepth) > maxJsonDepth)
    return refuse(1, 1, `is nested deeper than ${maxJsonDepth} levels`);
  const places = new Places(document, lines, text);
  const numbers: Problem[] = [];
  const json = wellFormed(exact(value, [], numbers));
  const problems = [...numbers, ...workflowProblems(json, readExpression)];
  if (problems.length === 0) return { ok: true, definition: json as unknown as WorkflowDefinition };
  const placed = problems.map((problem) => places.of(problem));
  return { ok: false, problems: placed.sort((a, b) => a.line - b.line || a.column - b.column) };
}

const tooDeep = "is nested too deep, or repeats itself by aliases too often";

/** How many brackets stay open at most, those in texts counted too. */
function leavesOpen(text: string): number {
  let open = 0;
  let most = 0;
  for (const { 0: bracket } of text.matchAll(/[[\]{}]/gu)) {
    open = bracket === "[" || bracket === "{" ? open + 1 : Math.max(0, open - 1);
    most = Math.max(most, open);
  }
  return most;
}

function repeatedKey(document: Document.Parsed): Scalar | null {
  let found: Scalar | null = null;
  visit(document, {
    Map(_key, { items }) {
      const seen = new Set<string>();
      for (const { key } of items) {
        if (!isScalar(key)) continue;
        const name = String(key.value);
        if (seen.has(name)) {
          found = key;
          return visit.BREAK;
        }
        seen.add(name);
      }
      return undefined;
    },
  });
  return found;
}

const refuse = (line: number, column: number, problem: string): WorkflowRead => ({
  ok: false,
  problems: [{ line, column, where: "", problem }],
});

/** Numbers as doubles; one that a double can't hold is told. */
function exact(value: unknown, place: (string | number)[], problems: Problem[]): Json {
  const say = (problem: string): null => {
    problems.push({ place, on: "value", offset: null, problem });
    return null;
  };
  if (typeof value === "bigint") {
    const number = Number(value);
    return BigInt(number) === value ? number : say("expected a number that can be kept exactly");
  }
  if (typeof value === "number" && !Number.isFinite(value)) return say("expected a finite number");
  if (typeof value !== "object" || value === null) return (value ?? null) as Json;
  if (Array.isArray(value)) return value.map((part, at) => exact(part, [...place, at], problems));
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => [key, exact(part, [...place, key], problems)]),
  );
}

/** Finds in the text what a place of the document means. */
class Places {
  readonly #document: Document.Parsed;
  readonly #lines: LineCounter;
  readonly #text: string;

  constructor(document: Document.Parsed, lines: LineCounter, text: string) {
    this.#document = document;
    this.#lines = lines;
    this.#text = text;
  }

  of({ place, on, offset, problem }: Problem): PlacedProblem {
    let node: ParsedNode | null = this.#document.contents;
    let key: ParsedNode | null = null;
    for (const part of place) {
      const holder: ParsedNode | null = isAlias(node)
        ? ((node.resolve(this.#document) as ParsedNode | undefined) ?? null)
        : node;
      let found: ParsedNode | null = null;
      if (isMap<ParsedNode, ParsedNode | null>(holder)) {
        const pair = holder.items.find(
          ({ key: one }) => isScalar(one) && String(one.value) === String(part),
        );
        key = pair?.key ?? key;
        found = pair?.value ?? null;
      } else if (isSeq<ParsedNode>(holder)) {
        found = holder.items[Number(part)] ?? null;
        key = found;
      }
      // Nothing stands there: its holder is the nearest that does.
      if (found === null) {
        node = key ?? node;
        break;
      }
      node = found;
    }
    const meant = on === "key" ? (key ?? node) : node;
    const start = meant?.range[0] ?? 0;
    const at = isScalar(meant) && on === "value" ? this.#inText(meant, start, offset) : start;
    const { line, col } = this.#lines.linePos(at);
    return { line, column: col, where: writtenPlace(place), problem };
  }

  /** So many characters into a text as it is written; its start where escapes or folding make that a guess. */
  #inText(node: Scalar, start: number, offset: number | null): number {
    const { value, type } = node;
    if (typeof value !== "string" || offset === null) return start;
    const isQuoted = type === "QUOTE_DOUBLE" || type === "QUOTE_SINGLE";
    const from = isQuoted ? start + 1 : start;
    if (this.#text.startsWith(value, from)) return from + offset;
    if (type !== "BLOCK_LITERAL") return start;
    const before = value.slice(0, offset).split("\n");
    let at = this.#text.indexOf("\n", start) + 1;
    for (let line = 1; line < before.length; line += 1) at = this.#text.indexOf("\n", at) + 1;
    const indent = /^ */u.exec(this.#text.slice(at))?.[0].length ?? 0;
    const own = /^ */u.exec(value.split("\n")[before.length - 1] ?? "")?.[0].length ?? 0;
    return at + indent - own + (before.at(-1) ?? "").length;
  }
}
