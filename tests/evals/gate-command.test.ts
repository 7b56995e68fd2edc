import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { startDev } from "../../cli/library.ts";
import type { EvalReport, ObservedStep } from "../../evals/contracts.ts";
import { madeUpBy } from "../../evals/made-up.ts";
import type { Json } from "../../machines/contracts/domain/json.ts";
import { report } from "../support/eval-report.ts";
import { listen } from "../support/listen.ts";
import { runCli } from "../support/run-cli.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const folder = useTemporaryFolder();
const write = (name: string, given: EvalReport | string) =>
  writeFile(join(folder, name), typeof given === "string" ? given : JSON.stringify(given));
const evals = (...args: string[]) => runCli(["eval", ...args], { cwd: folder });
const good = report(20, (at) => at > 0);

beforeAll(async () => {
  await write("good.json", good);
  await write(
    "worse.json",
    report(20, (at) => at > 1),
  );
  await write("mock.json", { ...good, mock: true });
  await write("other.json", { ...good, locks: { ...good.locks, dataset: "sha256:dddd" } });
  await write("torn.json", JSON.stringify(good).slice(0, 900));
});

it("[evals.gate-command] a baseline is made when asked for, held to, and left alone by what may not replace it", async () => {
  const baseline = join(folder, "evals/baselines/regression.jsonl");
  const none = await evals("gate", "good.json");
  expect(none).toMatchObject({ code: 2, stdout: "" });
  expect(none.stderr).toContain("make this report one with --update-baseline, and commit it");

  const mock = await evals("gate", "mock.json", "--update-baseline");
  expect(mock.code).toBe(1);
  expect(mock.stdout).toContain("REFUSED: The run is a mock");
  await expect(readFile(baseline)).rejects.toMatchObject({ code: "ENOENT" });
});

/** A model's provider that answers by the task, and some tasks wrongly. */
async function startModel() {
  const wrong = new Set<string>();
  const server = createServer((incoming, response) => {
    void (async () => {
      const asked = (await incoming.toArray()).join("");
      const id = /say (t\d)/u.exec(asked)?.[1] ?? "";
      const content = wrong.has(id) ? "I do not know" : `answer ${id}`;
      const chunks = [
        { choices: [{ index: 0, delta: { role: "assistant", content }, finish_reason: "stop" }] },
        { choices: [], usage: { prompt_tokens: 100, completion_tokens: 10, total_tokens: 110 } },
      ];
      const lines = chunks.map((chunk) => JSON.stringify({ id: "c", model: "m", ...chunk }));
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.end([...lines, "[DONE]"].map((line) => `data: ${line}\n\n`).join(""));
    })();
  });
  return { wrong, server, url: `http://127.0.0.1:${await listen(server)}/v1` };
}

it("[evals.gate-real] of real runs an unchanged agent passes, and one that broke for some tasks fails with them named", async () => {
  const model = await startModel();
  const local = {
    kind: "openai-compatible",
    baseURL: model.url,
    prices: { m: { input: 1, output: 2 } },
  };
  await write(
    "stateplane.config.json",
    JSON.stringify({ defaultModel: "local/m", providers: { local } }),
  );
  const suite = {
    name: "words",
    // Six tasks are too few for a slow machine to show as a slow agent.
    tasks: ["t1", "t2", "t3", "t4", "t5", "t6"].map((id) => ({
      id,
      input: { task: `say ${id}` },
      expected: { output: `answer ${id}` },
    })),
    scorers: [{ type: "expected_output_match" }, { type: "no_policy_violations" }],
    settings: { max_parallel: 3 },
  };
  await mkdir(join(folder, "evals/suites"), { recursive: true });
  await write("evals/suites/words.json", JSON.stringify(suite));
  const baseline = join(folder, "evals/baselines/words.jsonl");
  try {
    const first = await evals("run", "words");
    expect(first.stdout).toContain("6 passed, 0 failed, 0 late, 0 broken, of 6");
    expect(await evals("gate", "--update-baseline")).toMatchObject({ code: 0 });
    const kept = await readFile(baseline, "utf8");
    expect(kept.trimEnd().split("\n")).toHaveLength(1 + 2 + 6);

    expect((await evals("run", "words")).code).toBe(0);
    const same = await evals("gate");
    expect(same).toMatchObject({ code: 0, stderr: "" });
    expect(same.stdout).toContain("The gate passed.");

    model.wrong.add("t2").add("t5");
    expect((await evals("run", "words")).code).toBe(1);
    const worse = await evals("gate", "--json");
    expect(worse).toMatchObject({ code: 1, stderr: "" });
    expect(JSON.parse(worse.stdout)).toMatchObject({
      passed: false,
      failures: [{ kind: "fallen", tasks: ["t2", "t5"] }],
      comparison: { before: { cost_per_pass: 120 } },
    });
    expect(await readFile(baseline, "utf8")).toBe(kept);
  } finally {
    model.server.close();
  }
}, 120_000);

describe("[evals.made-up] answers that no model gave are a mock", () => {
  const script = [{ repeat: true, reply: { content: "scripted answer" } }];
  const rated = [{ name: "correct", reasoning: "so it is", points: 5 }];
  const rating = { criteria: [...rated, { ...rated[0], name: "complete" }] };
  const judged = [{ repeat: true, reply: { content: JSON.stringify(rating) } }];

  /** Runs one task there, with the suite's gates as they are given. */
  async function mockOf(deterministic: boolean, env: Record<string, string>) {
    const suite = {
      name: "made-up",
      tasks: [{ id: "t1", input: { task: "say t1" }, expected: { output: "scripted answer" } }],
      scorers: [{ type: "expected_output_match" }],
      gates: { deterministic },
    };
    await mkdir(join(folder, "elsewhere/evals/suites"), { recursive: true });
    await write("elsewhere/evals/suites/made-up.json", JSON.stringify(suite));
    return toldIn(await runCli(["eval", "run", "made-up", "--json", "--fresh"], here(env)));
  }

  const here = (env: Record<string, string>) => ({ cwd: join(folder, "elsewhere"), env });
  function toldIn({ stdout, stderr }: { stdout: string; stderr: string }): boolean {
    const { mock } = JSON.parse(stdout) as EvalReport;
    expect(stderr.includes("MOCK:"), stderr).toBe(mock);
    return mock;
  }

  it("where a worker elsewhere has no model's key, whatever the suite says", async () => {
    await using dev = await startDev({ dataDir: join(folder, "no-key") });
    const there = { CONTROL_PLANE_URL: dev.url, FD_API_KEY: dev.apiKey };
    expect([await mockOf(false, there), await mockOf(true, there)]).toEqual([true, true]);
  }, 120_000);

  it("where a script of the machine's answers, there or here, unless the suite says that it is meant", async () => {
    await write("script.json", JSON.stringify(script));
    const modelScript = join(folder, "script.json");
    const scripted = { defaultModel: "scripted/x", modelScript };
    await using dev = await startDev({ ...scripted, dataDir: join(folder, "scripted") });
    const there = { CONTROL_PLANE_URL: dev.url, FD_API_KEY: dev.apiKey };
    expect([await mockOf(false, there), await mockOf(true, there)]).toEqual([true, false]);
    const own = { DEFAULT_MODEL: "scripted/x", STATEPLANE_MODEL_SCRIPT: modelScript };
    expect([await mockOf(false, own), await mockOf(true, own)]).toEqual([true, false]);
  }, 120_000);

  it("where a script judges, also in an eval that goes on", async () => {
    await mkdir(join(folder, "elsewhere/evals/suites"), { recursive: true });
    await write("judge.json", JSON.stringify(judged));
    const suite = {
      name: "judged",
      tasks: [{ id: "t1", input: { task: "say t1" } }],
      scorers: [{ type: "llm_judge", model: "scripted/judge" }],
    };
    const code = `export default { ...${JSON.stringify(suite)}, run: () => ({ output: "t1" }) };`;
    await write("elsewhere/evals/suites/judged.mjs", code);
    const env = { STATEPLANE_MODEL_SCRIPT: join(folder, "judge.json") };
    expect(toldIn(await runCli(["eval", "run", "judged", "--json"], here(env)))).toBe(true);
  }, 120_000);

  it("and what a tool gives back makes no mock of a real run", () => {
    const step = (type: string, output: Json) =>
      ({ id: "s", type, status: "completed", states: [], output }) satisfies ObservedStep;
    const trial = (...steps: ObservedStep[]) => {
      const [seen] = good.tasks[0]?.trials ?? [];
      if (seen?.observation === undefined) throw new Error("the report has no trial");
      return [{ ...seen, observation: { ...seen.observation, steps } }];
    };
    const tool = step("tool", { scripted: true, stand_in: true });
    expect(madeUpBy(trial(tool), {}, false)).toBeNull();
    expect(madeUpBy(trial(tool, step("llm", { scripted: true })), {}, false)).toBe("script");
    expect(madeUpBy(trial(step("llm", { scripted: true })), {}, true)).toBeNull();
  });
});

it("[evals.gate-command] what was not made alike, or can't be read, is refused by name", async () => {
  const locks = await evals("compare", "good.json", "other.json");
  expect(locks).toMatchObject({ code: 2, stdout: "" });
  expect(locks.stderr).toContain("dataset (aaaa before, dddd now)");
  expect(locks.stderr).toContain("--allow dataset");
  const allowed = await evals("compare", "good.json", "other.json", "--allow", "dataset");
  expect(allowed).toMatchObject({ code: 0, stderr: "" });
  expect(allowed.stdout).toContain('The lock "dataset" differs.');
  const torn = await evals("report", "torn.json");
  expect(torn).toMatchObject({ code: 2, stdout: "" });
  expect(torn.stderr).toContain("torn.json is not a usable report");
  const format = await evals("report", "good.json", "--format", "markdwn");
  expect(format).toMatchObject({ code: 2, stdout: "" });
  expect(format.stderr).toContain("did you mean markdown?");
});

it("[evals.gate-command] a comparison ends with 1 where it got worse, and a report is written where it is asked for", async () => {
  const worse = await evals("compare", "good.json", "worse.json");
  expect(worse.code).toBe(1);
  expect(worse.stdout).toContain("1 task always passed and now never does: task-001.");
  expect(worse.stdout).toContain("this sample can only show differences of");
  const only = await evals("compare", "good.json", "worse.json", "--report-only", "--json");
  expect(only.code).toBe(0);
  expect(JSON.parse(only.stdout)).toMatchObject({
    has_regression: true,
    task_regressions: ["task-001"],
  });
  const page = await evals(
    "report",
    "worse.json",
    "--format",
    "html",
    "--baseline",
    "good.json",
    "-o",
    "page.html",
  );
  expect(page).toMatchObject({ code: 0, stdout: "", stderr: "Written to page.html.\n" });
  const html = await readFile(join(folder, "page.html"), "utf8");
  expect(html).toContain("regressed from 3/3");
  expect(html).toContain('<use href="#walk-0"/>');
});
