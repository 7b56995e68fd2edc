import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EvalReport, Trial } from "../../evals/contracts.ts";
import { readReport } from "../../evals/report-file.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
const bin = join(root, "cli/bin.ts");
const env = { PATH: process.env["PATH"], HOME: process.env["HOME"], NO_COLOR: "1" };

let base: string;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "stateplane eval-"));
});
afterAll(() => rm(base, { recursive: true, force: true, maxRetries: 5 }));

/** A project of its own, with a suite in it. */
async function project(name: string, suite: string): Promise<string> {
  const folder = join(base, name);
  await mkdir(join(folder, "evals", "suites"), { recursive: true });
  await writeFile(join(folder, "evals", "suites", `${name}.mjs`), suite);
  return folder;
}

async function evalRun(folder: string, ...args: string[]) {
  const called = run(process.execPath, [bin, "eval", "run", ...args], { cwd: folder, env });
  const answer = await called.then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  );
  return { code: answer.code, stdout: answer.stdout, stderr: answer.stderr };
}

async function reportIn(folder: string, name: string): Promise<EvalReport> {
  const read = await readReport(join(folder, "evals", "reports", `${name}.json`));
  if (!read.ok) throw new Error(read.problems.join("\n"));
  return read.report;
}

const trialsOf = ({ tasks }: EvalReport): Trial[] => tasks.flatMap(({ trials }) => trials);
const failedIn = (trial: Trial | undefined) =>
  trial?.scores.filter(({ passed }) => !passed).map(({ scorer }) => scorer);

describe("a real eval", () => {
  it("breaking a fix makes exactly the scorers of tests fail [evals.real]", async () => {
    const suite = pathToFileURL(join(root, "evals/suites/safe-pr.ts")).href;
    const folder = await project(
      "broken-fix",
      `import suite, { agentFor, fixes } from ${JSON.stringify(suite)};
const broken = fixes.map((fix) => fix.path !== "total.js" ? fix : {
  ...fix, content: "export const total = (prices) => prices.reduce((sum, price) => sum + price, 1);\\n",
});
export default { ...suite, name: "broken-fix", model: agentFor(broken) };
`,
    );
    const { code, stdout } = await evalRun(
      folder,
      "broken-fix",
      "--id",
      "empty-basket,every-space",
    );
    expect(stdout).toContain("1 passed, 1 failed, 0 late, 0 broken, of 2");
    expect(code).toBe(1);
    const report = await reportIn(folder, "broken-fix");
    const [basket, slug] = report.tasks.map(({ trials }) => trials[0]);
    expect([failedIn(basket), failedIn(slug)]).toEqual([["test_pass"], []]);
    expect(basket?.scores.find(({ scorer }) => scorer === "test_pass")?.score).toBe(0);
    expect(slug?.observation).toMatchObject({
      run_status: "completed",
      files: { changed: ["slug.js"], created: [], deleted: [] },
      tests: { passed: 2, failed: 0, total: 2 },
      approvals: { approved: 2, rejected: 0 },
      usage: { tool_calls: 8, cost_microusd: 1_350 },
    });
    expect(slug?.observation?.diff).toContain("+export const slug = (name) => name");
    expect(
      slug?.observation?.calls?.map(({ tool, verdict, outcome }) => [tool, verdict, outcome]),
    ).toEqual([
      ["read_file", "allow", "ok"],
      ["git_checkout", "allow", "ok"],
      ["write_file", "allow", "ok"],
      ["run_tests", "allow", "ok"],
      ["git_add", "allow", "ok"],
      ["git_commit", "allow", "ok"],
      ["git_push", "ask", "ok"],
      ["create_pull_request", "ask", "ok"],
    ]);
    const states = slug?.observation?.steps?.[0]?.states.map(({ state }) => state);
    expect(states?.at(0)).toBe("pending");
    expect(states).toContain("executing");
    expect(await readdir(join(folder, ".stateplane", "evals"))).toEqual([]);
  });

  it("killed in the middle and started again, runs no finished trial twice [evals.resumed]", async () => {
    const folder = await project(
      "killed",
      `import { appendFileSync, existsSync } from "node:fs";
const usage = { inputTokens: 1, outputTokens: 1, costMicros: 10 };
export default {
  name: "killed",
  tasks: ["a", "b", "c", "d", "e", "f"].map((id) => ({ id, input: { task: "say " + id }, expected: { output: id } })),
  scorers: [{ type: "expected_output_match" }],
  settings: { max_parallel: 2 },
  model: {
    async complete({ messages, model }) {
      const id = messages.at(-1).content.at(-1);
      appendFileSync("ledger.txt", id + "\\n");
      // The first time it does not come to its end, however late it is killed.
      const isLast = id > "d" && !existsSync("killed.txt");
      await new Promise((resolve) => setTimeout(resolve, isLast ? 2 ** 31 - 1 : 250));
      return { ok: true, value: { provider: "scripted", model, content: id, toolCalls: [], finishReason: "stop", usage, scripted: true } };
    },
  },
};
`,
    );
    const child = spawn(process.execPath, [bin, "eval", "run", "killed"], { cwd: folder, env });
    const checkpoints = await checkpointsWith(folder, 2, child);
    child.kill("SIGKILL");
    await once(child, "close");
    await writeFile(join(folder, "killed.txt"), "");
    const before = finishedIn(await readFile(checkpoints, "utf8"));
    await appendFile(checkpoints, '{"kind":"trial","trial":{"task_id":"torn');
    const { code, stdout } = await evalRun(folder, "killed");
    expect(stdout).toContain("6 passed, 0 failed, 0 late, 0 broken, of 6");
    expect(stdout.match(/from before/g)).toHaveLength(before.length);
    expect(code).toBe(0);
    const asked = (await readFile(join(folder, "ledger.txt"), "utf8")).trim().split("\n");
    const times = (id: string) => asked.filter((one) => one === id).length;
    expect(before.map(times)).toEqual(before.map(() => 1));
    expect(new Set(asked).size).toBe(6);
    expect(trialsOf(await reportIn(folder, "killed"))).toHaveLength(6);
  });
});

it("an eval that goes on makes again what was made with code that a trial imports and that has changed [evals.resumed]", async () => {
  const folder = await project(
    "imports",
    `export default {
  name: "imports",
  tasks: ["a", "b"].map((id) => ({ id, input: {} })),
  scorers: [{ name: "any", reads: [], score: () => ({ score: 1, passed: true, message: "ok" }) }],
  run: async (task) => {
    const { default: said } = await import(process.cwd() + "/agent.mjs");
    if (task.id === "b" && said === 1) process.kill(process.pid, "SIGKILL");
    return { output: said };
  },
};
`,
  );
  await writeFile(join(folder, "agent.mjs"), "export default 1;\n");
  expect((await evalRun(folder, "imports")).code).not.toBe(0);
  await writeFile(join(folder, "agent.mjs"), "export default 2;\n");
  const { code, stderr } = await evalRun(folder, "imports");
  expect(code, stderr).toBe(0);
  expect(stderr).toContain("agent.mjs changed since: every trial is made again");
  const trials = trialsOf(await reportIn(folder, "imports"));
  expect(trials.map(({ observation }) => observation?.output)).toEqual([2, 2]);
});

describe("suites that come with the program", () => {
  it("governance stops attacks that succeed without it, and the sandbox keeps secrets [evals.own]", async () => {
    const folder = join(base, "own");
    await mkdir(folder);
    const suites = ["governance", "governance-off", "secrets", "sandbox-escapes"];
    const runs = await Promise.all(suites.map((name) => evalRun(folder, name)));
    const reports = await Promise.all(suites.map((name) => reportIn(folder, name)));
    const failed = reports.map(({ tasks }) =>
      tasks
        .filter(({ trials }) => trials[0]?.passed !== true)
        .map(({ id, category }) => `${category} ${id}`),
    );
    expect(failed, runs.map(({ stdout }) => stdout).join("\n")).toEqual([
      [],
      [
        "attack mail-exfiltration",
        "attack file-deletion",
        "attack command",
        "attack payment",
        "attack chain",
      ],
      [],
      [],
    ]);
    expect(runs.map(({ code }) => code)).toEqual([0, 1, 0, 0]);
  });
});

const finishedIn = (text: string): string[] =>
  text
    .split("\n")
    .filter((line) => line.startsWith('{"kind":"trial"') && line.endsWith("}"))
    .map((line) => (JSON.parse(line) as { trial: Trial }).trial.task_id);

/** The eval's checkpoints, as soon as they tell of so many finished trials. */
async function checkpointsWith(
  folder: string,
  least: number,
  child: ChildProcess,
): Promise<string> {
  let said = "";
  child.stderr?.on("data", (chunk: Buffer) => (said += chunk.toString()));
  for (;;) {
    if (child.exitCode !== null) throw new Error(`it ended too early: ${said}`);
    const evals = join(folder, ".stateplane", "evals");
    for (const name of await readdir(evals).catch(() => [])) {
      const file = join(evals, name, "checkpoints.jsonl");
      const text = await readFile(file, "utf8").catch(() => "");
      if (finishedIn(text).length >= least) return file;
    }
    await sleep(20);
  }
}
