import { execFile, spawnSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import { openCache } from "../../evals/cache.ts";
import { openCheckpoints, trialKey } from "../../evals/checkpoints.ts";
import { digestOfPath } from "../../evals/digest.ts";
import type { EvalTask, Observation, Scorer, Trial } from "../../evals/contracts.ts";
import { functionRunner } from "../../evals/function-runner.ts";
import { metered } from "../../evals/spending.ts";
import type { TrialRunner } from "../../evals/trial.ts";
import type { ModelProvider } from "../../machines/contracts/ports/model-provider.ts";
import { type EvalOptions, runEval } from "../../evals/run-eval.ts";
import { infrastructureTrouble } from "../../evals/observe.ts";
import { readSuite, standardSettings } from "../../evals/suite.ts";
import { evalTask } from "../support/eval-task.ts";

let base: string;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "stateplane run-eval-"));
});
afterAll(() => rm(base, { recursive: true, force: true }));

const task = (id: string): EvalTask => ({
  ...evalTask(id, join(base, "t")),
  // Only for what never ends: on a busy machine anything else may take as long.
  config: id === "hangs" ? { timeout_ms: 2_000 } : {},
});

/** An eval of these tasks by one scorer, in a folder of this name. */
async function evalOf(
  name: string,
  ids: string[],
  score: Scorer["score"],
  answers: (task: EvalTask) => object,
  signal = new AbortController().signal,
  {
    maxCost = null,
    runner,
    cache = null,
  }: Partial<Pick<EvalOptions, "maxCost" | "runner" | "cache">> = {},
) {
  const checkpoints = await openCheckpoints(join(base, `${name}.jsonl`));
  const scorer = { name: "mine", reads: [], score };
  try {
    return await runEval({
      suite: {
        definition: { name, scorers: [scorer] },
        folder: base,
        settings: standardSettings,
        scorers: [{ scorer, weight: 1, required: true }],
        tasks: ids.map(task),
        bad: [],
        unread: {},
        locks: {},
        code: null,
      },
      runner: runner ?? functionRunner((one) => answers(one) as Observation),
      checkpoints,
      cache,
      workplace: { workspace: join(base, "trials"), unseen: join(base, "seen") },
      checks: null,
      maxCost,
      onTrial: () => {},
      signal,
    });
  } finally {
    await checkpoints.close();
  }
}

const good = { score: 1, passed: true, message: "Good." };

it("a scorer that never answers, or whose answer can't be written, fails its own trial alone [evals.alone]", async () => {
  const circle: Record<string, never> = {};
  circle["self"] = circle as never;
  const { trials } = await evalOf(
    "scorers",
    ["hangs", "circle", "more", "good"],
    ({ id }) =>
      id === "hangs"
        ? new Promise(() => {})
        : id === "circle"
          ? { ...good, details: circle }
          : id === "more"
            ? { ...good, scorer: "another", weight: 9 }
            : good,
    () => ({ output: "ok" }),
  );
  expect(trials.map(({ task_id, passed }) => [task_id, passed])).toEqual([
    ["hangs", false],
    ["circle", false],
    ["more", true],
    ["good", true],
  ]);
  expect(trials[0]?.scores[0]?.message).toBe("The scorer failed: it took over 2000 ms");
  expect(trials[2]?.scores).toEqual([{ scorer: "mine", ...good, required: true, weight: 1 }]);
});

it("what a run answers out of shape is a broken trial, and never a report that nobody can read [evals.report-file]", async () => {
  const usage = { input_tokens: 1.5, output_tokens: 0, tool_calls: 0, cost_microusd: 0 };
  const { trials } = await evalOf(
    "answers",
    ["nothing", "usage", "big", "extra"],
    () => good,
    ({ id }) =>
      ({ usage: { output: 1, usage }, big: { output: 1n }, extra: { output: 1, other: 2 } })[id] ??
      {},
  );
  expect(trials.map(({ status }) => status)).toEqual(["scored", "broken", "broken", "broken"]);
  expect(trials[1]?.error).toContain("usage.input_tokens");
});

it("an eval that is stopped while it judges keeps nothing of that trial [evals.resumed]", async () => {
  const stop = new AbortController();
  const stopped = await evalOf(
    "stopped",
    ["one"],
    () => {
      stop.abort("it was interrupted");
      return new Promise(() => {});
    },
    () => ({ output: 1 }),
    stop.signal,
  );
  expect(stopped).toMatchObject({ trials: [], stopped: "it was interrupted" });
  const again = await evalOf(
    "stopped",
    ["one"],
    () => good,
    () => ({ output: 1 }),
  );
  expect(again.trials.map(({ passed }) => passed)).toEqual([true]);
});

it("what is in a fixture is a part of what a suite is locked by, and a limit without its number is refused [evals.resumed]", async () => {
  await mkdir(join(base, "fx"));
  const given = (gates: object) => ({
    name: "locked",
    tasks: [{ id: "t", input: {}, fixture: "fx" }],
    scorers: [{ type: "lint" }],
    gates,
  });
  const read = (gates = {}) =>
    readSuite(
      { given: given(gates), folder: base, text: "" },
      { models: null, schemas: createSchemaChecker() },
      { filter: {}, settings: {} },
    );
  const locked = async () => {
    await writeFile(join(base, "fx", "a"), "1");
    const before = await read();
    await writeFile(join(base, "fx", "a"), "2");
    return [before, await read()].map((suite) =>
      Array.isArray(suite) ? "" : suite.locks["dataset"],
    );
  };
  const [before, after] = await locked();
  expect(before).toMatch(/^[0-9a-f]{64}$/u);
  expect(after).not.toBe(before);
  expect((await locked())[0]).toBe(before);
  expect(await read({ require_all_categories_pass: true })).toMatchObject([
    { path: ["gates", "require_all_categories_pass"] },
  ]);
});

it("a scorer of the suite's own is locked by what it does, wherever that is written, and not by what it is called with [evals.scorer-lock]", async () => {
  const locked = async (score: Scorer["score"], lock?: string) => {
    const scorer = { name: "mine", reads: [], score, ...(lock === undefined ? {} : { lock }) };
    const given = {
      name: "s",
      tasks: [{ id: "t", input: {} }],
      scorers: [scorer, { type: "lint" }],
    };
    const read = await readSuite(
      { given, folder: base, text: "the same" },
      { models: null, schemas: createSchemaChecker() },
      { filter: {}, settings: {} },
    );
    if (Array.isArray(read)) throw new Error(JSON.stringify(read));
    const { suite: _suite, dataset: _dataset, ...own } = read.locks;
    return own;
  };
  const always = await locked(() => ({ score: 1, passed: true, message: "ok" }));
  expect(Object.keys(always)).toEqual(["scorer:mine"]);
  expect(await locked(() => ({ score: 1, passed: true, message: "ok" }))).toEqual(always);
  expect(await locked(() => ({ score: 0, passed: true, message: "ok" }))).not.toEqual(always);
  const own = await locked(() => ({ score: 0, passed: true, message: "ok" }), "l1");
  expect(own).toEqual({ "judge:mine": "l1" });
});

it("a run that somebody else cancelled says nothing of its agent [evals.report-file]", () => {
  expect(infrastructureTrouble({ run_status: "cancelled", steps: [] })?.mayPass).toBe(false);
  expect(infrastructureTrouble({ run_status: "completed", steps: [] })).toBeNull();
});

const usage = { input_tokens: 1, output_tokens: 1, tool_calls: 0, cost_microusd: 10 };

it("a limit of cost counts tries made in vain and judges, and stops where a price is not known [evals.cost]", async () => {
  const judges = metered({
    complete: async ({ model }) => ({
      ok: true,
      value: {
        provider: "paid",
        model,
        content: "yes",
        toolCalls: [],
        finishReason: "stop",
        usage: { inputTokens: 1, outputTokens: 1, ...(model === "known" && { costMicros: 30 }) },
      },
    }),
  } satisfies ModelProvider);
  const judgedBy = (model: string) => async () => {
    const request = { model, messages: [], maxTokens: 9, idempotencyKey: "k" };
    await judges.complete(request, new AbortController().signal);
    return good;
  };
  let tried = 0;
  const observation: Observation = { run_status: "completed", output: 1, usage, duration_ms: 1 };
  // The very first try breaks after its model was paid.
  const breaks: TrialRunner = {
    place: "stand-in",
    run: async ({ onRun }) => {
      await onRun("run_1");
      tried += 1;
      return tried === 1
        ? { kind: "broken", problem: "away", mayPass: true, observation }
        : { kind: "seen", observation };
    },
  };
  const none = () => ({});
  const more = { maxCost: 85, runner: breaks };
  const paid = await evalOf("cost", ["a", "b", "c"], judgedBy("known"), none, undefined, more);
  // A try costs 10, and a judge 30.
  expect(paid.trials.map(({ cost_microusd, retries }) => [cost_microusd, retries])).toEqual([
    [50, 1],
    [40, 0],
  ]);
  expect(paid.stopped).toBe("the trials had cost $0.0001, and the limit is $0.0001");
  const resumed = await evalOf("cost", ["a", "b", "c"], judgedBy("known"), none, undefined, more);
  expect(resumed.trials).toHaveLength(2);

  const unknown = await evalOf("judge", ["a", "b"], judgedBy("unknown"), none, undefined, more);
  expect(unknown.trials).toMatchObject([{ cost_microusd: null, passed: true }]);
  expect(unknown.stopped).toContain("nobody knows what the trial of a cost");
  const own = await evalOf(
    "own",
    ["a", "b"],
    () => good,
    () => ({ output: 1 }),
    undefined,
    { maxCost: 99 },
  );
  expect(own.trials).toHaveLength(1);
  const free = await evalOf("free", ["a", "b"], judgedBy("unknown"), none, undefined, {
    runner: breaks,
  });
  expect(free).toMatchObject({ stopped: null, trials: [{}, {}] });
});

it("a cache that can't be read or written, or a fixture that is gone, ends no eval; what code nobody knew of made is not kept [evals.cost]", async () => {
  const seen: Observation = { run_status: "completed", output: 1, usage, duration_ms: 1 };
  const file = join(base, "no-folder");
  await writeFile(file, "");
  const made = await evalOf(
    "uncached",
    ["a", "b"],
    () => good,
    () => ({ output: 1 }),
    undefined,
    {
      cache: openCache(join(file, "cache"), null),
    },
  );
  expect(made.trials).toMatchObject([{ status: "scored" }, { status: "scored" }]);
  let isKnown = true;
  const cache = openCache(join(base, "cache"), null, () => isKnown);
  await cache.keep(task("kept"), 0, seen);
  isKnown = false;
  await cache.keep(task("late"), 0, seen);
  expect(await cache.find(task("kept"), 0)).toEqual(seen);
  expect(await cache.find(task("late"), 0)).toBeNull();
  const gone = { id: "t", input: {}, config: {}, fixture: "gone", from: { file, line: 1 } };
  expect(await cache.find(gone as unknown as EvalTask, 0)).toBeNull();
});

/** Not in every container. */
const canMount =
  spawnSync("unshare", ["-rm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]).status === 0;

it.skipIf(!canMount)(
  "on a full disk an eval says so, and what it finished before and after is kept [evals.resumed]",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "full disk "));
    onTestFinished(() => rm(folder, { recursive: true }));
    const script = fileURLToPath(new URL("../support/full-checkpoints.ts", import.meta.url));
    const inside = `mount -t tmpfs -o size=256k tmpfs "$1" && exec "$2" "$3" "$1"`;
    const args = ["-rm", "sh", "-c", inside, "sh", folder, process.execPath, script];
    const { stdout } = await promisify(execFile)("unshare", args);
    const said = JSON.parse(stdout) as { refused: string; finished: string[]; all: string[] };
    expect(said.refused).toMatch(/checkpoints\.jsonl, .* can't be written: the disk is full/u);
    expect(said.finished).toEqual([said.all[0], said.all[2]]);
  },
);

it("trials that loaded code which has changed since are made again, and counted from then on [evals.resumed]", async () => {
  const file = join(base, "code.jsonl");
  const code = join(base, "agent.mjs");
  await writeFile(code, "export default 1;");
  const trial = { task_id: "a", epoch: 0, status: "scored", passed: true, score: 1, scores: [] };
  const times = { retries: 0, started_at: "t", ended_at: "t" };
  const opened = async () => {
    const checkpoints = await openCheckpoints(file);
    onTestFinished(() => checkpoints.close());
    return checkpoints;
  };
  const first = await opened();
  await first.loaded(code, await digestOfPath(code));
  await first.finish({ ...trial, ...times } as Trial);
  expect(await opened()).toMatchObject({ finished: { size: 1 }, changed: [] });
  await writeFile(code, "export default 2;");
  const second = await opened();
  expect(second).toMatchObject({ finished: { size: 0 }, changed: [code] });
  await second.loaded(code, await digestOfPath(code));
  await second.finish({ ...trial, ...times, task_id: "b" } as Trial);
  const third = await opened();
  expect([...third.finished.keys()]).toEqual([trialKey({ task_id: "b", epoch: 0 })]);
  expect(third.changed).toEqual([]);
  // Changed when it had been looked at, and before a trial loads it: no report holds trials of both.
  await writeFile(code, "export default 3;");
  const late = third.loaded(code, await digestOfPath(code));
  await expect(late).rejects.toThrow(/agent\.mjs was changed while the eval went on/u);
  expect(await opened()).toMatchObject({ finished: { size: 0 }, changed: [code] });
});
