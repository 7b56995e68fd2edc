import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import type { EvalTask, Observation, Score } from "../../evals/contracts.ts";
import { registry } from "../../evals/scorers/all.ts";
import { matchesPath } from "../../evals/scorers/files.ts";
import { judge, verdictOf, wrongEnd } from "../../evals/scorers/judging.ts";
import { makeScorer, type SuiteScorer } from "../../evals/scorers/registry.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";

const signal = new AbortController().signal;
const context = { folder: ".", models: null, schemas: createSchemaChecker() };

const taskOf = (expected: JsonObject, config: JsonObject = {}): EvalTask => ({
  id: "t",
  name: "t",
  description: "",
  input: {},
  expected,
  difficulty: "medium",
  category: "general",
  tags: [],
  config,
  from: { file: "tasks.jsonl", line: 1 },
});

const seenOf = (more: Partial<Observation> = {}): Observation => ({
  run_status: "completed",
  output: {},
  steps: [],
  calls: [],
  audit: [],
  usage: { input_tokens: 100, output_tokens: 50, tool_calls: 2, cost_microusd: 30_000 },
  duration_ms: 1_000,
  ...more,
});

function made(entry: JsonObject): SuiteScorer {
  const one = makeScorer(entry, registry, context);
  if (Array.isArray(one)) throw new Error(one.map(({ problem }) => problem).join("\n"));
  return one;
}

async function scoreOf(
  entry: JsonObject,
  expected: JsonObject,
  seen: Partial<Observation>,
  config: JsonObject = {},
): Promise<Score> {
  const [score] = await judge([made(entry)], taskOf(expected, config), seenOf(seen), signal);
  if (score === undefined) throw new Error("no score");
  return score;
}

const pr = {
  url: "https://example.org/1",
  title: "Mend the empty basket",
  description: "Prices of none are added up to nothing.",
};

interface Case {
  what: string;
  entry: JsonObject;
  expected: JsonObject;
  seen: Partial<Observation>;
  score: number;
  passed: boolean;
  skipped?: true;
}

const cases = readFileSync(join(import.meta.dirname, "scorer-cases.jsonl"), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Case);

describe("scorers", () => {
  it.each(cases)(
    "$what: known score [evals.scorers]",
    async ({ entry, expected, seen, ...known }) => {
      const given = await scoreOf(entry, expected, seen);
      expect(given).toMatchObject({
        message: expect.stringMatching(/\S/u),
        score: expect.closeTo(known.score, 9),
        passed: known.passed,
      });
      expect(given.skipped !== undefined).toBe(known.skipped === true);
    },
  );

  it("a task's own budget is a limit", async () => {
    const given = await scoreOf(
      { type: "budget_compliance" },
      {},
      {},
      { budget: { max_wall_time_ms: 999 } },
    );
    expect(given.message).toContain("t used 1000, and max_execution_time_ms is 999");
  });

  it("counts nothing that does not apply, and passes nothing that nobody could see [evals.skipped]", async () => {
    const suite = [{ type: "test_pass" }, { type: "schema_valid" }, { type: "pr_created" }].map(
      made,
    );
    const expected = { tests_pass: true, pr_created: true };
    const blind = await judge(suite, taskOf(expected), seenOf({ pull_request: pr }), signal);
    expect(verdictOf(blind, 0.5)).toEqual({ score: 1, passed: false });
    const tests = { passed: 1, failed: 0, total: 1 };
    const seeing = await judge(
      suite,
      taskOf(expected),
      seenOf({ pull_request: pr, tests }),
      signal,
    );
    expect(verdictOf(seeing, 0.5)).toEqual({ score: 1, passed: true });
    expect(verdictOf(await judge(suite, taskOf({}), seenOf(), signal), 0)).toEqual({
      score: null,
      passed: false,
    });
  });

  it("a scorer that throws, or answers nonsense, fails alone [evals.alone]", async () => {
    const bad = (score: () => never) => ({
      scorer: { name: "bad", reads: [], score },
      weight: 1,
      required: false,
    });
    const throwing = bad(() => {
      throw new Error("no such key");
    });
    const odd = bad(() => ({ score: Number.NaN, passed: true, message: "" }) as never);
    const scores = await judge(
      [throwing, odd, made({ type: "pr_created" })],
      taskOf({ pr_created: false }),
      seenOf(),
      signal,
    );
    expect(scores.map(({ message }) => message)).toEqual([
      "The scorer failed: no such key",
      "The scorer's answer can't be used: expected `score` from 0 to 1.",
      "No pull request was created.",
    ]);
    expect(scores.map(({ passed }) => passed)).toEqual([false, false, true]);
  });

  it("passes nothing whose expectation it can't read, and never passes over one [evals.skipped]", async () => {
    const keys = ["tests_pass", "lint_pass", "test_coverage_improved", "output_contains"] as const;
    const values = fc.oneof(
      fc.constantFrom<Json>("true", "TRUE", "yes", 1, 0, ""),
      fc.dictionary(fc.string(), fc.integer()),
    );
    const suite = [{ type: "test_pass" }, { type: "lint" }, { type: "test_coverage" }].map(made);
    const whole = [made({ type: "expected_output_match" })];
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...keys), values, async (key, value) => {
        fc.pre(key !== "output_contains" || typeof value !== "string");
        const task = taskOf({ output: "ok", [key]: value });
        const tests = { passed: 1, failed: 0, total: 1 };
        const seen = seenOf({ output: "ok", tests, lint: { errors: 0, warnings: 0 } });
        for (const scorers of key === "output_contains" ? [whole] : [suite, whole]) {
          const scores = await judge(scorers, task, seen, signal);
          expect(verdictOf(scores, 0).passed).toBe(false);
          expect(scores.map(({ message }) => message).join(" ")).toContain(`expected.${key}`);
        }
      }),
      { numRuns: 100 },
    );
  });

  it("judges whatever a dataset and a run may hold, each score from 0 to 1 [evals.alone]", async () => {
    const keys = Object.values(registry).flatMap((type) => {
      const one = type.make(
        { allowed: [], scorers: [{ type: "pr_created" }], max: 1, models: ["m", "n"] } as never,
        context,
        registry,
      );
      return typeof one === "string" ? [] : one.reads;
    });
    const needed: Record<string, JsonObject> = {
      tool_allowlist: { allowed: [] },
      composite: { scorers: [{ type: "lint" }] },
      max_repairs: { max: 1 },
      max_calls: { max: 1 },
      llm_judge: { model: "m" },
      code_quality_judge: { model: "m" },
      pr_quality_judge: { model: "m" },
      judge_panel: { models: ["m", "n"] },
      pairwise_judge: { model: "m" },
    };
    const all = Object.keys(registry).map((type) => made({ type, ...needed[type] }));
    const values = fc.oneof(fc.jsonValue(), fc.constantFrom(true, "*", "a/*", ["a"], "("));
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(fc.constantFrom(...keys), values),
        fc.jsonValue(),
        async (expected, output) => {
          const scores = await judge(
            all,
            taskOf(expected as JsonObject),
            seenOf({ output: output as JsonObject, diff: "" }),
            signal,
          );
          for (const { score, message } of scores) {
            expect(score).toBeGreaterThanOrEqual(0);
            expect(score).toBeLessThanOrEqual(1);
            expect(message).not.toContain("TypeError");
            expect(message).not.toMatch(/undefined|is not a function/u);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("entries of a suite", () => {
  const problemsOf = (entry: JsonObject) => {
    const one = makeScorer(entry, registry, context);
    return Array.isArray(one)
      ? one.map(({ path, problem }) => `${path.join(".")}: ${problem}`)
      : [];
  };

  it("name what is wrong and what was meant", () => {
    expect(problemsOf({ type: "files_chnged" })).toEqual([
      'type: there is no scorer "files_chnged"; did you mean "files_changed"?',
    ]);
    expect(problemsOf({ type: "lint", wieght: 2 })[0]).toContain('did you mean "weight"?');
    expect(problemsOf({ type: "no_policy_violations", requred: false })).toEqual([
      'requred: there is no key "requred" here; did you mean "required"?',
    ]);
    expect(problemsOf({ type: "lint", weight: -1 })).toEqual([
      "weight: expected a number, 0 or more",
    ]);
    expect(problemsOf({ type: "test_coverage", min_coverage: 170 })[0]).toContain(
      "min_coverage: expected",
    );
    expect(problemsOf({ type: "composite", scorers: [{ type: "lint" }, { type: "lnt" }] })).toEqual(
      [': scorers.1.type: there is no scorer "lnt"; did you mean "lint"?'],
    );
  });

  it("take FerrumDeck's names of scorers", () => {
    expect(made({ type: "PRQualityScorer", name: "request" }).scorer.name).toBe("request");
  });
});

describe("patterns of files", () => {
  it.each([
    ["**/*.py", "a/b/c.py", true],
    ["**/*.py", "c.py", true],
    ["a/**", "a/b/c", true],
    ["a/**/c", "a/c", true],
    ["*.py", "a/c.py", false],
    ["src/?.ts", "src/a.ts", true],
    ["./a", "a", true],
  ])("%s and %s", (pattern, path, is) => {
    expect(matchesPath(pattern, path)).toBe(is);
  });
});

it("a run that did not end as it should have fails its trial, whatever its scorers say [evals.scorers]", async () => {
  const failed = seenOf({ run_status: "failed" });
  const scores = async (expected: JsonObject, seen: Observation) => [
    ...(await judge([made({ type: "no_policy_violations" })], taskOf(expected), seen, signal)),
    ...wrongEnd(taskOf(expected), seen),
  ];
  expect(verdictOf(await scores({}, failed), 0.5)).toEqual({ score: 1, passed: false });
  expect(verdictOf(await scores({ run_status: "failed" }, failed), 0.5).passed).toBe(true);
  expect(verdictOf(await scores({ run_status: "failed" }, seenOf()), 0.5).passed).toBe(false);
  expect(verdictOf(await scores({}, seenOf()), 0.5).passed).toBe(true);
});
