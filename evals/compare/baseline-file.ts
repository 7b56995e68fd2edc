import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { type } from "arktype";
import writeFileAtomic from "write-file-atomic";
import { isJsonObject, parseJson } from "../../machines/contracts/domain/json.ts";
import { byId, type Sample, type SampledTask, type SampledTrial } from "./sample.ts";

/*
 * A baseline as it is committed: JSON Lines, the eval first, then its locks and its tasks, each a line and sorted by name,
 * so that a reviewer sees in a diff which tasks changed. A task's line holds a list for each measure, one value a trial;
 * all that a comparison needs, and nothing of what the agent said.
 */
export const baselineFormat = "stateplane-baseline/1";

const head = type({
  format: type.unit(baselineFormat),
  id: "string",
  suite: "string",
  agent: "string",
  epochs: "number.integer >= 1",
  ended_at: "string",
}).onUndeclaredKey("reject");

const lock = type({ lock: "string", digest: "string" }).onUndeclaredKey("reject");

const amounts = type("number >= 0 | null").array();
const task = type({
  task: "string",
  category: "string",
  cluster: "string",
  passed: "boolean[]",
  score: type("0 <= number <= 1 | null").array(),
  steps: amounts,
  tool_calls: amounts,
  output_tokens: amounts,
  cost_microusd: amounts,
  duration_ms: amounts,
  "uncounted?": "number.integer >= 1",
}).onUndeclaredKey("reject");

const columns = [
  "score",
  "steps",
  "tool_calls",
  "output_tokens",
  "cost_microusd",
  "duration_ms",
] as const;

/** The baseline's text. */
export function baselineText(sample: Sample): string {
  const { id, suite, agent, epochs, ended_at } = sample;
  const lines: object[] = [{ format: baselineFormat, id, suite, agent, epochs, ended_at }];
  for (const name of Object.keys(sample.locks).sort()) {
    lines.push({ lock: name, digest: sample.locks[name] });
  }
  for (const each of [...sample.tasks].sort(byId)) {
    const { category, cluster, trials, uncounted } = each;
    lines.push({
      task: each.id,
      category,
      cluster,
      passed: trials.map(({ passed }) => passed),
      ...Object.fromEntries(columns.map((key) => [key, trials.map((trial) => trial[key])])),
      ...(uncounted > 0 && { uncounted }),
    });
  }
  return lines.map((line) => `${JSON.stringify(line)}\n`).join("");
}

export type BaselineRead = { ok: true; sample: Sample } | { ok: false; problems: string[] };

/** Whether a text claims to be a baseline; else it may be a report. */
export const looksLikeBaseline = (text: string): boolean =>
  text.slice(0, text.indexOf("\n") + 1).includes(`"${baselineFormat.split("/")[0] ?? ""}/`);

/** Reads a baseline from its text; every problem names its line. */
export function parseBaseline(text: string): BaselineRead {
  const problems: string[] = [];
  const locks: Record<string, string> = {};
  const tasks = new Map<string, SampledTask>();
  let first: typeof head.infer | null = null;
  for (const [at, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const fail = (problem: string) => problems.push(`line ${at + 1}: ${problem}`);
    const read = parseJson(line);
    if (!read.ok) {
      fail(read.problem);
    } else if (!isJsonObject(read.value)) {
      fail("expected a JSON object");
    } else if (first === null) {
      const checked = head(read.value);
      if (checked instanceof type.errors)
        return { ok: false, problems: [`line 1: ${checked.summary.replaceAll("\n", "; ")}`] };
      first = checked;
    } else if ("lock" in read.value) {
      const checked = lock(read.value);
      if (checked instanceof type.errors) fail(checked.summary.replaceAll("\n", "; "));
      else locks[checked.lock] = checked.digest;
    } else {
      const checked = task(read.value);
      if (checked instanceof type.errors) fail(checked.summary.replaceAll("\n", "; "));
      else if (tasks.has(checked.task)) fail(`the task "${checked.task}" stands there twice`);
      else if (columns.some((key) => checked[key].length !== checked.passed.length)) {
        fail(`expected a value a trial in every list of the task "${checked.task}"`);
      } else tasks.set(checked.task, taskOf(checked));
    }
  }
  if (first === null) return { ok: false, problems: ["it is empty"] };
  // A baseline is of an eval that ran whole: trials that are not there were taken out.
  for (const { id, trials, uncounted } of tasks.values()) {
    const found = trials.length + uncounted;
    if (found !== first.epochs)
      problems.push(`expected ${first.epochs} trials of the task "${id}", not ${found}`);
  }
  if (problems.length > 0) return { ok: false, problems };
  const { id, suite, agent, epochs, ended_at } = first;
  const eval_ = { id, suite, agent, epochs, ended_at, mock: false, complete: true, gates: {} };
  return { ok: true, sample: { ...eval_, locks, tasks: [...tasks.values()].sort(byId) } };
}

function taskOf(line: typeof task.infer): SampledTask {
  const trials = line.passed.map((passed, at): SampledTrial => {
    const value = (key: (typeof columns)[number]) => line[key][at] ?? null;
    return {
      passed,
      score: value("score"),
      steps: value("steps"),
      tool_calls: value("tool_calls"),
      output_tokens: value("output_tokens"),
      cost_microusd: value("cost_microusd"),
      duration_ms: value("duration_ms"),
    };
  });
  const { category, cluster, uncounted = 0 } = line;
  return { id: line.task, category, cluster, trials, uncounted };
}

/** Writes a baseline whole or not at all; makes the folder it goes to. */
export async function writeBaseline(file: string, sample: Sample): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFileAtomic(file, baselineText(sample));
}
