import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openCheckpoints } from "../../evals/checkpoints.ts";
import type { EvalTask, Observation, Scorer } from "../../evals/contracts.ts";
import { functionRunner } from "../../evals/function-runner.ts";
import { runEval } from "../../evals/run-eval.ts";
import { standardSettings } from "../../evals/suite.ts";

let base: string;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "stateplane run-eval-"));
});
afterAll(() => rm(base, { recursive: true, force: true }));

const task = (id: string): EvalTask => ({
  id,
  name: id,
  description: "",
  input: {},
  expected: {},
  difficulty: "easy",
  category: "general",
  tags: [],
  config: {},
  from: { file: join(base, "t"), line: 1 },
});

/** An eval of these tasks by one scorer, in a folder of this name. */
async function evalOf(
  name: string,
  ids: string[],
  score: Scorer["score"],
  answers: (task: EvalTask) => object,
  signal = new AbortController().signal,
) {
  const checkpoints = await openCheckpoints(join(base, `${name}.jsonl`));
  const scorer = { name: "mine", reads: [], score };
  try {
    return await runEval({
      suite: {
        definition: { name, scorers: [scorer] },
        folder: base,
        settings: { ...standardSettings, timeout_ms: 300 },
        scorers: [{ scorer, weight: 1, required: true }],
        tasks: ids.map(task),
        bad: [],
        unread: {},
        locks: {},
      },
      runner: functionRunner((one) => answers(one) as Observation),
      checkpoints,
      cache: null,
      workplace: { workspace: join(base, "trials"), unseen: join(base, "seen") },
      checks: null,
      maxCost: null,
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
  expect(trials[0]?.scores[0]?.message).toBe("The scorer failed: it took over 300 ms");
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
