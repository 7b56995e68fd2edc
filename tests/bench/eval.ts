import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import type { EvalReport } from "../../evals/contracts.ts";
import { mediansOf, table } from "./figures.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
const tasks = 200;
const parallel = 16;
const modelMs = 200;
/** Nothing but the model's time, as many at a time as there may be. */
const idealMs = Math.ceil(tasks / parallel) * modelMs;

export interface EvalFigures {
  tasks: number;
  parallel: number;
  idealMs: number;
  /** From the first trial's start to the last one's end. */
  tookMs: number;
  ratio: number;
}

/** How long an eval of many short trials takes by a real data plane, against its models' time alone. */
export async function benchEval(
  rounds: number,
  note: (line: string) => void,
): Promise<EvalFigures> {
  const measured: { tookMs: number }[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const tookMs = await measure();
    measured.push({ tookMs });
    note(`round ${round + 1}: ${tookMs} ms`);
  }
  const { tookMs } = mediansOf(measured);
  return { tasks, parallel, idealMs, tookMs, ratio: tookMs / idealMs };
}

async function measure(): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), "stateplane-bench-eval-"));
  try {
    await mkdir(join(folder, "evals", "suites"), { recursive: true });
    const agent = pathToFileURL(join(root, "evals/scripted-agent.ts")).href;
    await writeFile(
      join(folder, "evals", "suites", "speed.mjs"),
      `import { scriptedAgent } from ${JSON.stringify(agent)};
export default {
  name: "speed",
  tasks: Array.from({ length: ${tasks} }, (_, at) => ({ id: "t" + at, input: { task: "Say it." }, expected: { output: "it" } })),
  scorers: [{ type: "expected_output_match" }],
  settings: { max_parallel: ${parallel} },
  model: scriptedAgent({ turnsFor: () => [{ answer: "it" }], delayMs: ${modelMs} }),
};
`,
    );
    const line = [join(root, "cli/bin.ts"), "eval", "run", "speed", "--json"];
    const options = { cwd: folder, maxBuffer: 64 * 1024 * 1024 };
    const { stdout } = await run(process.execPath, line, options);
    const report = JSON.parse(stdout) as EvalReport;
    const trials = report.tasks.flatMap((task) => task.trials);
    if (!trials.every(({ passed }) => passed)) throw new Error("a trial did not pass");
    const begun = Math.min(...trials.map(({ started_at: at }) => Date.parse(at)));
    return Math.max(...trials.map(({ ended_at: at }) => Date.parse(at))) - begun;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export const evalTable = ({ tasks: count, idealMs: ideal, tookMs, ratio }: EvalFigures): string =>
  table(
    ["", "trials", "ms", "of the ideal"],
    [
      [`models alone, ${parallel} at a time`, String(count), String(ideal), "1.00"],
      ["eval run", String(count), String(tookMs), ratio.toFixed(2)],
    ],
  );
