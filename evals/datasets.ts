import { readFile, stat } from "node:fs/promises";
import { extname, join } from "node:path";
import { type } from "arktype";
import { isMap, isSeq, LineCounter, parseDocument } from "yaml";
import {
  isJsonObject,
  type Json,
  type JsonObject,
  parseJson,
} from "../machines/contracts/domain/json.ts";
import { shapeProblems } from "../machines/contracts/domain/shape-problems.ts";
import type { EvalReport, EvalTask } from "./contracts.ts";
import { readCsv } from "./csv.ts";
import type { TaskFilter } from "./define.ts";

/** A line that can't be used, as a report keeps it; line 0 is the file as a whole. */
export type BadLine = EvalReport["bad_lines"][number];

export interface Dataset {
  tasks: EvalTask[];
  bad: BadLine[];
}

/** A task before it is checked, and where it stands. */
interface Found {
  value: Json;
  line: number;
}

const largestFile = 256 * 1024 * 1024;
const kinds = [".jsonl", ".ndjson", ".json", ".yaml", ".yml", ".csv"];

const taskShape = type({
  id: "0 < string <= 255",
  "name?": "string",
  "description?": "string",
  input: "object",
  "expected?": "object",
  "difficulty?": "string > 0",
  "category?": "string > 0",
  "tags?": "string[]",
  "config?": "object",
  "fixture?": "string > 0",
});

/** Reads the tasks of a file, or of `tasks.*` in a folder. What can't be used is told by file, line and field. */
export async function readDataset(path: string): Promise<Dataset> {
  const file = await fileOf(path);
  if (file === null) {
    const problem = `there is no dataset here: expected a file, or a folder with tasks${kinds[0]} (or ${kinds.slice(2).join(", ")})`;
    return { tasks: [], bad: [{ file: path, line: 0, problem }] };
  }
  const wrong = (line: number, problem: string): BadLine => ({ file, line, problem });
  const text = await readText(file);
  if (typeof text !== "string") return { tasks: [], bad: [wrong(0, text.problem)] };
  const found = findTasks(text, extname(file).toLowerCase());
  const bad = found.bad.map(({ line, problem }) => wrong(line, problem));
  const tasks: EvalTask[] = [];
  for (const { value, line } of found.tasks) {
    const read = readTask(value, { file, line });
    if (Array.isArray(read)) bad.push(...read.map((problem) => wrong(line, problem)));
    else tasks.push(read);
  }
  if (found.tasks.length === 0 && bad.length === 0) bad.push(wrong(0, "it holds no task"));
  return { tasks, bad };
}

async function fileOf(path: string): Promise<string | null> {
  const found = await stat(path).catch(() => null);
  if (found?.isFile() === true) return path;
  if (found === null) return null;
  for (const kind of kinds) {
    const file = join(path, `tasks${kind}`);
    if ((await stat(file).catch(() => null))?.isFile() === true) return file;
  }
  return null;
}

async function readText(file: string): Promise<string | { problem: string }> {
  try {
    if ((await stat(file)).size > largestFile) return { problem: "it is larger than 256 MiB" };
    const bytes = await readFile(file);
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return {
      problem:
        code === "ERR_ENCODING_INVALID_ENCODED_DATA" ? "is not UTF-8" : `can't be read (${code})`,
    };
  }
}

type Problem = { line: number; problem: string };

function findTasks(text: string, kind: string): { tasks: Found[]; bad: Problem[] } {
  if (kind === ".jsonl" || kind === ".ndjson") return ofLines(text);
  if (kind === ".csv") return ofCsv(text);
  if (kinds.includes(kind)) return ofDocument(text);
  const problem = `expected one of ${kinds.join(", ")}, not ${kind || "a file without an extension"}`;
  return { tasks: [], bad: [{ line: 0, problem }] };
}

function ofLines(text: string): { tasks: Found[]; bad: Problem[] } {
  const tasks: Found[] = [];
  const bad: Problem[] = [];
  for (const [at, raw] of text.split("\n").entries()) {
    if (raw.trim() === "") continue;
    const read = parseJson(raw);
    if (read.ok) tasks.push({ value: read.value, line: at + 1 });
    else {
      const place = read.reason === "syntax" ? ` (${read.place.replace(/line \d+ /u, "")})` : "";
      bad.push({ line: at + 1, problem: `${read.problem}${place}: expected one task a line` });
    }
  }
  return { tasks, bad };
}

/** A list of tasks, or an object with `tasks`; JSON is YAML. */
function ofDocument(text: string): { tasks: Found[]; bad: Problem[] } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, intAsBigInt: true, stringKeys: true });
  const lineOf = (at: number | undefined) => (at === undefined ? 0 : lines.linePos(at).line);
  const [error] = document.errors;
  if (error !== undefined) {
    const line = error.linePos?.[0].line ?? 0;
    return { tasks: [], bad: [{ line, problem: `is not YAML or JSON (${error.code})` }] };
  }
  const { contents } = document;
  const list = isMap(contents) ? contents.get("tasks", true) : contents;
  if (!isSeq(list))
    return {
      tasks: [],
      bad: [{ line: 0, problem: "expected a list of tasks, or an object with `tasks`" }],
    };
  const tasks: Found[] = [];
  const bad: Problem[] = [];
  for (const item of list.items as { range?: [number, number, number] }[]) {
    const line = lineOf(item.range?.[0]);
    try {
      const plain = document.createNode(item).toJS(document, { maxAliasCount: 100 }) as unknown;
      const read = parseJson(JSON.stringify(plain, exactly));
      if (read.ok) tasks.push({ value: read.value, line });
      else bad.push({ line, problem: read.problem });
    } catch (thrown) {
      bad.push({ line, problem: thrown instanceof Error ? thrown.message : "can't be read" });
    }
  }
  return { tasks, bad };
}

function exactly(_key: string, value: unknown): unknown {
  if (typeof value !== "bigint") return value;
  if (Number.isSafeInteger(Number(value))) return Number(value);
  throw new Error(`holds a number that can't be kept exactly: ${value}`);
}

/** The head names fields: `id`, `tags` (separated by semicolons), `input.repo`; a cell of input and expected may be JSON. */
function ofCsv(text: string): { tasks: Found[]; bad: Problem[] } {
  const rows = readCsv(text);
  if (!Array.isArray(rows)) return { tasks: [], bad: [rows] };
  const [head, ...rest] = rows;
  const names = head?.cells.map((name) => name.trim()) ?? [];
  const tasks: Found[] = [];
  const bad: Problem[] = [];
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined)
    return {
      tasks,
      bad: [{ line: head?.line ?? 1, problem: `names ${JSON.stringify(twice)} twice` }],
    };
  for (const { cells, line } of rest) {
    if (cells.length !== names.length) {
      bad.push({
        line,
        problem: `has ${cells.length} cells: expected ${names.length}, as many as the head`,
      });
      continue;
    }
    const task: JsonObject = {};
    for (const [at, cell] of cells.entries()) if (cell !== "") putCell(task, names[at] ?? "", cell);
    tasks.push({ value: task, line });
  }
  return { tasks, bad };
}

function putCell(task: JsonObject, name: string, cell: string): void {
  const [field = "", ...path] = name.split(".");
  if (field === "tags") task[field] = cell.split(";").map((tag) => tag.trim());
  else if (!["input", "expected", "config"].includes(field)) task[name] = cell;
  else {
    const read = parseJson(cell);
    const value = read.ok ? read.value : cell;
    const key = path.join(".");
    const before = task[field];
    if (key === "") task[field] = value;
    else task[field] = { ...(isJsonObject(before) ? before : {}), [key]: value };
  }
}

/** @returns what is wrong, each with its field, where it is not a task */
export function readTask(value: Json, from: EvalTask["from"]): EvalTask | string[] {
  const problems = shapeProblems(value, taskShape).map(({ path, problem }) =>
    path.length === 0 ? problem : `${path.join(".")}: ${problem}`,
  );
  for (const key of ["input", "expected", "config"]) {
    if (isJsonObject(value) && Array.isArray(value[key]))
      problems.push(`${key}: expected an object, not a list`);
  }
  if (problems.length > 0) return problems;
  const read = value as unknown as typeof taskShape.infer;
  return {
    name: read.id,
    description: "",
    expected: {},
    difficulty: "medium",
    category: "general",
    tags: [],
    config: {},
    ...(read as Pick<EvalTask, "id" | "input">),
    from,
  };
}

/** Whether a suite's filter lets a task through. */
export function isWanted(
  { id, category, difficulty, tags }: EvalTask,
  filter: TaskFilter,
): boolean {
  const { categories, tags: wantedTags, difficulty: levels, ids } = filter;
  return (
    categories?.includes(category) !== false &&
    levels?.includes(difficulty) !== false &&
    ids?.includes(id) !== false &&
    (wantedTags === undefined || tags.some((tag) => wantedTags.includes(tag)))
  );
}

/** Of several tasks with one id all but the first are bad. */
export function refuseDoubles(tasks: readonly EvalTask[]): Dataset {
  const first = new Map<string, EvalTask>();
  const bad: BadLine[] = [];
  for (const task of tasks) {
    const before = first.get(task.id);
    if (before === undefined) first.set(task.id, task);
    else {
      const { file, line } = before.from;
      bad.push({
        ...task.from,
        problem: `id: ${JSON.stringify(task.id)} is that of ${file}:${line} too`,
      });
    }
  }
  return { tasks: [...first.values()], bad };
}
