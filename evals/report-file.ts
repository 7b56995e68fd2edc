import { mkdir, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { type } from "arktype";
import writeFileAtomic from "write-file-atomic";
import { isJsonObject, parseJson } from "../machines/contracts/domain/json.ts";
import { cutText } from "../machines/contracts/domain/text.ts";
import type { EvalReport } from "./contracts.ts";

/** The one format that is written and read. */
export const reportFormat = "stateplane-eval/1";

const json = type("unknown");
const names = type("string[]");
const calls = type({
  tool: "string",
  "server?": "string",
  arguments: json,
  verdict: "'allow' | 'ask' | 'deny'",
  outcome: "'ok' | 'failed' | 'refused'",
  "result?": json,
  "started_at?": "string",
  "duration_ms?": "number",
}).array();

const steps = type({
  id: "string",
  "name?": "string",
  type: "string",
  status: "string",
  states: type({ state: "string", at: "string" }).array(),
  "output?": json,
  "error?": "object",
}).array();

const counted = "number.integer >= 0 | null";
export const observationShape = type({
  "run_id?": "string",
  run_status: "string",
  output: json,
  "steps?": steps,
  "calls?": calls,
  "audit?": "object[]",
  "files?": { changed: names, created: names, deleted: names },
  "diff?": "string",
  "pull_request?": {
    "url?": "string",
    "number?": "number",
    "title?": "string",
    "description?": "string",
  },
  "tests?": { passed: "number", failed: "number", total: "number" },
  "coverage?": { before: "number", after: "number" },
  "lint?": { errors: "number", warnings: "number" },
  "types?": { errors: "number" },
  "unseen?": {
    "tests?": "string",
    "coverage?": "string",
    "lint?": "string",
    "types?": "string",
  },
  usage: {
    input_tokens: counted,
    output_tokens: counted,
    tool_calls: counted,
    cost_microusd: counted,
  },
  "approvals?": { approved: "number.integer >= 0", rejected: "number.integer >= 0" },
  duration_ms: "number >= 0",
}).onDeepUndeclaredKey("reject");

const score = type({
  scorer: "string",
  score: "0 <= number <= 1",
  passed: "boolean",
  required: "boolean",
  weight: "number >= 0",
  message: "string",
  "details?": "object",
  "skipped?": "string",
});

export const trialShape = type({
  task_id: "string",
  epoch: "number.integer >= 0",
  status: "'scored' | 'timed_out' | 'broken'",
  passed: "boolean",
  score: "0 <= number <= 1 | null",
  scores: score.array(),
  "is_judge_scripted?": "boolean",
  "observation?": observationShape,
  retries: "number.integer >= 0",
  "cost_microusd?": counted,
  "cached?": "boolean",
  "error?": "string",
  started_at: "string",
  ended_at: "string",
});

const reportShape = type({
  format: type.unit(reportFormat),
  id: "string",
  suite: "string",
  agent: "string",
  mock: "boolean",
  control_plane: "string",
  started_at: "string",
  ended_at: "string",
  complete: "boolean",
  "stopped_because?": "string",
  epochs: "number.integer >= 1",
  approvals: "'approve' | 'reject' | 'none'",
  gates: {
    "pass_rate_threshold?": "0 <= number <= 1",
    "max_cost_increase_percent?": "number >= 0",
    "require_all_categories_pass?": "boolean",
    "max_broken_percent?": "0 <= number <= 100",
    "deterministic?": "boolean",
  },
  locks: { "[string]": "string" },
  unread_expectations: { "[string]": "number.integer >= 1" },
  bad_lines: type({ file: "string", line: "number.integer >= 0", problem: "string" }).array(),
  tasks: type({
    id: "string",
    name: "string",
    category: "string",
    difficulty: "string",
    tags: names,
    cluster: "string",
    trials: trialShape.array(),
  }).array(),
}).onDeepUndeclaredKey("reject");

/** What is wrong with a report, as a line a problem. */
export type ReportRead = { ok: true; report: EvalReport } | { ok: false; problems: string[] };

/** Reads a report from its text; every problem names the place in it. */
export function parseReport(text: string): ReportRead {
  const read = parseJson(text);
  if (!read.ok) {
    const place = read.reason === "syntax" ? ` (${read.place})` : "";
    return { ok: false, problems: [`${read.problem}${place}`] };
  }
  if (!isJsonObject(read.value)) return { ok: false, problems: ["is not a JSON object"] };
  const { format } = read.value;
  if (format !== reportFormat) {
    const found =
      typeof format === "string" ? `"format": ${JSON.stringify(cutText(format, 60))}` : "no format";
    const problem = `is not an eval report of this version: expected "format": "${reportFormat}", found ${found}`;
    return { ok: false, problems: [problem] };
  }
  const checked = reportShape(read.value);
  if (checked instanceof type.errors) {
    return { ok: false, problems: [...checked].map(({ message }) => message) };
  }
  return { ok: true, report: read.value as unknown as EvalReport };
}

/** Reads a report's file. @throws what `readFile` throws */
export async function readReport(file: string): Promise<ReportRead> {
  return parseReport(await readFile(file, "utf8"));
}

/** Writes a report whole or not at all; makes the folder it goes to. */
export async function writeReport(file: string, report: EvalReport): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFileAtomic(file, `${JSON.stringify(report, null, 2)}\n`);
}
