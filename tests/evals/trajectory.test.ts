import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import type { EvalTask, Observation, ObservedCall, ObservedStep } from "../../evals/contracts.ts";
import { registry } from "../../evals/scorers/all.ts";
import { judge } from "../../evals/scorers/judging.ts";
import { makeScorer } from "../../evals/scorers/registry.ts";
import { argumentProblems } from "../../evals/scorers/tool-arguments.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";

const signal = new AbortController().signal;
const context = { folder: ".", models: null, schemas: createSchemaChecker() };

const call = (
  tool: string,
  args: JsonObject = {},
  more: Partial<ObservedCall> = {},
): ObservedCall => ({
  tool,
  arguments: args,
  verdict: "allow",
  outcome: "ok",
  ...more,
});

const step = (...states: string[]): ObservedStep => ({
  id: "stp_1",
  type: "llm",
  status: "completed",
  states: states.map((state) => ({ state, at: "2026-11-26T00:00:00Z" })),
});

async function scoreOf(entry: JsonObject, seen: Partial<Observation>, expected: JsonObject = {}) {
  const made = makeScorer(entry, registry, context);
  if (Array.isArray(made)) throw new Error(made.map(({ problem }) => problem).join("; "));
  const task: EvalTask = {
    id: "t",
    name: "t",
    description: "",
    input: {},
    expected,
    difficulty: "medium",
    category: "general",
    tags: [],
    config: {},
    from: { file: "t.jsonl", line: 1 },
  };
  const usage = { input_tokens: 0, output_tokens: 0, tool_calls: 0, cost_microusd: 0 };
  const all: Observation = {
    run_status: "completed",
    output: null,
    steps: [],
    calls: [],
    audit: [],
    usage,
    duration_ms: 1,
    ...seen,
  };
  const [score] = await judge([made], task, all, signal);
  if (score === undefined) throw new Error("no score");
  return score;
}

const abc = [call("a"), call("b"), call("c", {}, { server: "s" })];
const refused = call("d", {}, { verdict: "deny", outcome: "refused" });
const looked = call("look", { path: "x" }, { result: "nothing here" });

describe("trajectory scorers", () => {
  it.each<[string, JsonObject, Partial<Observation>, number, boolean, JsonObject?]>([
    [
      "the very calls",
      { type: "tool_order", tools: ["a", "b", "s/c"], mode: "exact" },
      { calls: abc },
      1,
      true,
    ],
    [
      "a call too many",
      { type: "tool_order", tools: ["a", "b"], mode: "exact" },
      { calls: abc },
      2 / 3,
      false,
    ],
    ["others in between", { type: "tool_order", tools: ["a", "c"] }, { calls: abc }, 1, true],
    ["the wrong order", { type: "tool_order", tools: ["c", "a"] }, { calls: abc }, 0.5, false],
    [
      "any order",
      { type: "tool_order", tools: ["c", "a"], mode: "any_order" },
      { calls: abc },
      1,
      true,
    ],
    [
      "a wildcard that leaves the only one to another",
      { type: "tool_order", tools: ["*", "a"], mode: "any_order" },
      { calls: abc },
      1,
      true,
    ],
    [
      "one call for two",
      { type: "tool_order", tools: ["a", "a"], mode: "any_order" },
      { calls: abc },
      0.5,
      false,
    ],
    [
      "the task's own tools",
      { type: "tool_order" },
      { calls: abc },
      1,
      true,
      { tools: ["a", "b"] },
    ],
    [
      "a refused call, which is none",
      { type: "tool_order", tools: ["d"] },
      { calls: [refused] },
      0,
      false,
    ],
    [
      "a verdict first",
      { type: "verdict_before_execution" },
      {
        steps: [step("pending", "policy-check", "executing", "validating", "executing")],
        calls: [refused],
      },
      1,
      true,
    ],
    [
      "no verdict after a wait",
      { type: "verdict_before_execution" },
      { steps: [step("policy-check", "awaiting-approval", "executing")] },
      0,
      false,
    ],
    [
      "no verdict at all",
      { type: "verdict_before_execution" },
      { steps: [step("pending", "executing"), step("policy-check", "executing")] },
      0.5,
      false,
    ],
    [
      "a denied call that ran",
      { type: "verdict_before_execution" },
      { calls: [call("a", {}, { verdict: "deny" })] },
      0,
      false,
    ],
    [
      "one repair",
      { type: "max_repairs", max: 1 },
      { steps: [step("executing", "validating", "executing", "validating")] },
      1,
      true,
    ],
    [
      "a repair too many",
      { type: "max_repairs", max: 0 },
      { steps: [step("executing", "validating", "executing")] },
      0,
      false,
    ],
    [
      "a retry, which is no repair",
      { type: "max_repairs", max: 0 },
      { steps: [step("executing", "executing")] },
      1,
      true,
    ],
    [
      "as many calls as may be",
      { type: "max_calls", max: 3 },
      { calls: [...abc, refused] },
      1,
      true,
    ],
    ["too many calls", { type: "max_calls", max: 2 }, { calls: abc }, 2 / 3, false],
    ["too many of one tool", { type: "max_calls", max: 0, tool: "s/*" }, { calls: abc }, 0, false],
    [
      "no waste",
      { type: "wasted_calls" },
      { calls: [looked, call("look", { path: "y" })] },
      1,
      true,
    ],
    ["the same once more", { type: "wasted_calls" }, { calls: [looked, looked] }, 0.5, false],
    [
      "another result",
      { type: "wasted_calls" },
      { calls: [looked, { ...looked, result: "something" }] },
      1,
      true,
    ],
    [
      "a result that nobody used",
      { type: "wasted_calls", unused: true },
      { calls: [{ ...looked, result: "elephant" }], output: "a mouse" },
      0,
      false,
    ],
    [
      "a result that the answer uses",
      { type: "wasted_calls", unused: true },
      {
        calls: [{ ...looked, result: { found: "Elephant" } }],
        output: { response: "an elephant" },
      },
      1,
      true,
    ],
    [
      "waste that is allowed",
      { type: "wasted_calls", max: 1 },
      { calls: [looked, looked] },
      0.5,
      true,
    ],
  ])("%s [evals.trajectory]", async (_, entry, seen, score, passed, expected = {}) => {
    const given = await scoreOf(entry, seen, expected);
    expect({ score: given.score, passed: given.passed }).toEqual({
      score: expect.closeTo(score, 6),
      passed,
    });
    expect(given.skipped).toBeUndefined();
  });

  it("do not apply where a task expects nothing of the kind [evals.trajectory]", async () => {
    for (const type of ["tool_order", "tool_arguments"]) {
      expect((await scoreOf({ type }, { calls: abc })).skipped).toContain("the task has no");
    }
  });

  it("refuse parameters that they do not know [evals.trajectory]", () => {
    expect(makeScorer({ type: "max_repairs" }, registry, context)).toMatchObject([
      { problem: expect.stringContaining("max") },
    ]);
    expect(
      makeScorer({ type: "tool_order", tools: ["a"], mode: "strict" }, registry, context),
    ).toMatchObject([{ path: ["mode"] }]);
  });
});

describe("arguments against ground truth", () => {
  const wanted = {
    tool: "weather",
    arguments: { city: ["Berlin", "Berlin, DE"], days: { min: 1, max: 3 }, unit: ["celsius", ""] },
  };

  // The cases of BFCL's own checker: types, alternatives, optional ones, texts, nested values.
  it.each<[string, JsonObject, string[]]>([
    ["all right", { city: "Berlin", days: 2, unit: "celsius" }, []],
    ["an optional one left out", { city: "Berlin, DE", days: 1 }, []],
    ["texts without case and punctuation", { city: "berlin de", days: 3 }, []],
    ["one missing", { city: "Berlin" }, ["days is missing"]],
    ["out of range", { city: "Berlin", days: 4 }, ["days is 4, expected a number from 1 to 3"]],
    [
      "a text where a number is wanted",
      { city: "Berlin", days: "2" },
      ['days is "2", expected a number from 1 to 3'],
    ],
    [
      "another value",
      { city: "Bonn", days: 2 },
      ['city is "Bonn", expected one of "Berlin", "Berlin, DE"'],
    ],
    [
      "one that is not expected",
      { city: "Berlin", days: 2, mood: "good" },
      ["mood is not expected"],
    ],
  ])("%s [evals.arguments]", (_, given, problems) => {
    expect(argumentProblems(wanted, call("weather", given))).toEqual(problems);
  });

  it.each<[string, Json, Json, boolean]>([
    ["a type", { type: "integer" }, 2, true],
    ["another type", { type: "integer" }, 2.5, false],
    ["a list as it is", { value: [1, "A b"] }, [1, "ab"], true],
    ["a list in another order", { value: [1, 2] }, [2, 1], false],
    ["an object among alternatives", [{ a: 1 }, { a: 2 }], { a: 2 }, true],
    ["an object that is no rule", { street: "Main" }, { street: "main" }, true],
    ["a plain value", 5, 5, true],
    ["a typed optional one", { type: "string", optional: true }, 5, false],
  ])("%s is told from what is not it [evals.arguments]", (_, rule, given, isRight) => {
    const problems = argumentProblems(
      { tool: "t", arguments: { x: rule } },
      call("t", { x: given }),
    );
    expect(problems.length === 0).toBe(isRight);
  });

  it("needs a call of its own for each expected one, in any order or in this [evals.arguments]", async () => {
    const calls = [call("add", { a: 2 }), call("add", { a: 1 })];
    const wants = [
      { tool: "add", arguments: { a: [1, 2] } },
      { tool: "add", arguments: { a: [2] } },
    ];
    expect(await scoreOf({ type: "tool_arguments", calls: wants }, { calls })).toMatchObject({
      score: 1,
      passed: true,
    });
    const inOrder = await scoreOf(
      { type: "tool_arguments", order: "in_order" },
      { calls },
      { tool_calls: wants },
    );
    expect(inOrder).toMatchObject({ score: 0.5, passed: false });
    const [first] = calls;
    const once = await scoreOf(
      { type: "tool_arguments", calls: [wants[1], wants[1]] as never },
      { calls: [first] as never },
    );
    expect(once).toMatchObject({
      score: 0.5,
      message: "add was not called once more, or not in this order.",
    });
  });

  it("accepts every call that its own arguments describe, and none with one changed [evals.arguments]", () => {
    const value = fc.oneof(
      fc.integer(),
      fc.boolean(),
      fc.string({ minLength: 1 }),
      fc.array(fc.integer()),
    );
    const named = fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/u), value, {
      minKeys: 1,
      maxKeys: 5,
    });
    fc.assert(
      fc.property(named, (given) => {
        const rules = Object.fromEntries(
          Object.entries(given).map(([key, one]) => [key, { value: one }]),
        );
        const truth = { tool: "t", arguments: rules as JsonObject };
        expect(argumentProblems(truth, call("t", given as JsonObject))).toEqual([]);
        const [key = ""] = Object.keys(given);
        const changed = { ...given, [key]: { other: true } } as JsonObject;
        expect(argumentProblems(truth, call("t", changed))).toHaveLength(1);
        const { [key]: _, ...less } = given;
        expect(argumentProblems(truth, call("t", less as JsonObject))).toEqual([
          `${key} is missing`,
        ]);
      }),
    );
  });
});
