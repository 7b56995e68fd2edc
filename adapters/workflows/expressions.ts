import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import { selectedKind } from "../../machines/contracts/domain/workflow-expressions.ts";
import type {
  ExpressionReader,
  Reading,
} from "../../machines/contracts/domain/workflow-problems.ts";
import { readCondition } from "./conditions.ts";
import { endOfPath, type Path, readPath } from "./paths.ts";

/** Reads an expression of a definition without working it out. */
export const readExpression: ExpressionReader = (kind, text) => {
  if (kind === "condition") return readCondition(text);
  if (kind === "path") {
    const lead = text.length - text.trimStart().length;
    const read = readPath(text.trim());
    return read.ok
      ? { ok: true, names: shifted(read.path, lead) }
      : { ...read, offset: read.offset + lead };
  }
  return readTemplate(text);
};

interface Part {
  path: Path;
  from: number;
  to: number;
}

const opening = /\{\{\s*(?=\$)/gu;
const closing = /\s*\}\}/uy;

/** A template's paths, in their order. Braces that hold no path are text. */
function readParts(
  text: string,
): { ok: true; parts: Part[] } | { ok: false; offset: number; problem: string } {
  const parts: Part[] = [];
  for (const { 0: braces, index } of text.matchAll(opening)) {
    const at = index + braces.length;
    const end = endOfPath(text, at);
    const read = readPath(text.slice(at, end));
    if (!read.ok) return { ...read, offset: at + read.offset };
    closing.lastIndex = end;
    const close = closing.exec(text);
    if (close === null) return { ok: false, offset: end, problem: "expected }} after the path" };
    parts.push({ path: read.path, from: index, to: end + close[0].length });
  }
  return { ok: true, parts };
}

function readTemplate(text: string): Reading {
  const read = readParts(text);
  if (!read.ok) return read;
  const starts = [...text.matchAll(opening)].map(({ 0: braces, index }) => index + braces.length);
  const names = read.parts.flatMap(({ path }, nth) => shifted(path, starts[nth] ?? 0));
  return { ok: true, names };
}

const shifted = ({ names }: Path, by: number) =>
  names.map(({ name, offset }) => ({ name, offset: offset + by }));

/** A path that selected nothing, where a value is needed. */
export class NothingSelected extends Error {
  override readonly name = "NothingSelected";
}

/** Characters of what a step is asked, as a result may have: what was selected may be long, and stand in it many times. */
export const mostWritten = 4 * 1024 * 1024;

/** A template that would be filled with more than that. */
export class TooLong extends Error {
  override readonly name = "TooLong";
}

/**
 * Fills a template in: texts as they are, all else as JSON.
 *
 * @param missing what stands for a path that selects nothing; null to throw
 * @throws NothingSelected, TooLong
 */
export function fillTemplate(text: string, scope: JsonObject, missing: string | null): string {
  const read = readParts(text);
  if (!read.ok) throw new TypeError(read.problem);
  let filled = "";
  let done = 0;
  for (const { path, from, to } of read.parts) {
    const value = path.select(scope);
    if (value === undefined && missing === null) throw nothing(text.slice(from, to));
    filled += text.slice(done, from);
    filled +=
      value === undefined ? missing : typeof value === "string" ? value : JSON.stringify(value);
    done = to;
    if (filled.length > mostWritten) throw new TooLong("a template");
  }
  return filled + text.slice(done);
}

/**
 * The value that a path, a template, or an object or list of such stands for.
 *
 * @throws NothingSelected
 */
export function resolveSelected(given: Json, scope: JsonObject): Json {
  if (typeof given === "string") {
    if (selectedKind(given) === "template") return fillTemplate(given, scope, null);
    const value = selectPath(given, scope);
    if (value === undefined) throw nothing(given);
    return value;
  }
  if (Array.isArray(given)) return given.map((part) => resolveSelected(part, scope));
  if (typeof given !== "object" || given === null) return given;
  return Object.fromEntries(
    Object.entries(given).map(([key, part]) => [key, resolveSelected(part, scope)]),
  );
}

/** What a path selects; undefined for nothing. The path has been read before. */
export function selectPath(text: string, scope: JsonObject): Json | undefined {
  const read = readPath(text.trim());
  if (!read.ok) throw new TypeError(read.problem);
  return read.path.select(scope);
}

const nothing = (text: string) => new NothingSelected(`${text} selects nothing`);
