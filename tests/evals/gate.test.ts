import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  baselineText,
  looksLikeBaseline,
  parseBaseline,
} from "../../evals/compare/baseline-file.ts";
import { compare } from "../../evals/compare/compare.ts";
import { type GateResult, judge } from "../../evals/compare/gate.ts";
import {
  type Sample,
  type SampledTask,
  type SampledTrial,
  sampleOf,
} from "../../evals/compare/sample.ts";
import { agents, draw, failing, gate, numbers, sample, worse } from "../support/eval-samples.ts";

const usual: SampledTrial = {
  passed: true,
  score: 1,
  steps: 4,
  tool_calls: 8,
  output_tokens: 900,
  cost_microusd: 12_000,
  duration_ms: 4_000,
};
const failed: SampledTrial = { ...usual, passed: false, score: 0.2 };

/** A task by its trials: `p` passed and `f` failed at the usual cost. */
const task = (id: string, trials: string, other: Partial<SampledTask> = {}): SampledTask => ({
  id,
  category: "general",
  cluster: id,
  trials: [...trials].map((letter) => (letter === "p" ? usual : failed)),
  uncounted: 0,
  ...other,
});
const tasks = (count: number, trials = "ppp", from = 0) =>
  Array.from({ length: count }, (_, at) => task(`t${String(at + from).padStart(2, "0")}`, trials));
const costing = (each: SampledTask, other: Partial<SampledTrial>): SampledTask => ({
  ...each,
  trials: each.trials.map((trial) => ({ ...trial, ...other })),
});
const kinds = ({ failures }: GateResult) => failures.map(({ kind }) => kind);

describe("a gate tells regressions from chance", () => {
  it("[evals.gate-chance] of 200 comparisons without a change at most 5 % fail, whatever is compared", () => {
    // A quarter of them each: steady and unsteady tasks, shared fixtures, one trial a task.
    const [even, any, sure] = [
      agents["each task 80 %"],
      agents["any chance"],
      agents["mostly sure"],
    ] as const;
    if (even === undefined || any === undefined || sure === undefined) throw new Error("no agent");
    const rates = [
      failing({ tasks: 60, epochs: 3 }, even, even, 50, 1),
      failing({ tasks: 60, epochs: 3, categories: 6 }, any, any, 50, 2),
      failing({ tasks: 60, epochs: 3, share: 3 }, sure, sure, 50, 3),
      failing({ tasks: 20, epochs: 1 }, even, even, 50, 4),
    ];
    expect(rates.reduce((sum, rate) => sum + rate, 0) / rates.length).toBeLessThanOrEqual(0.05);
  });

  it("[evals.gate-regression] a regression of 15 points over 60 tasks x 3 fails, its tasks named", () => {
    const random = numbers(5);
    const agent = agents["mostly sure"] ?? { passes: () => 0.8 };
    const before = draw({ tasks: 60, epochs: 3 }, agent, random);
    expect(gate(before, before)).toMatchObject({ passed: true, failures: [] });
    // Nine of sixty tasks no longer pass: those, and no others, are named as fallen.
    const steady = before.tasks.filter(({ trials }) => trials.every(({ passed }) => passed));
    const broken = new Set(steady.slice(0, 9).map(({ id }) => id));
    const after = sample(
      draw({ tasks: 60, epochs: 3 }, agent, random).tasks.map((each) =>
        broken.has(each.id)
          ? costing(each, { passed: false, score: 0 })
          : (before.tasks.find(({ id }) => id === each.id) ?? each),
      ),
    );
    const result = gate(before, after);
    expect(result.passed).toBe(false);
    expect(kinds(result)).toEqual(expect.arrayContaining(["fallen", "regression"]));
    for (const { kind, tasks: named, message } of result.failures) {
      if (kind === "fallen") expect(named).toEqual([...broken]);
      for (const id of broken) if (kind === "fallen") expect(message).toContain(id);
    }
    // Spread over all tasks it fails too, nearly always.
    const even = agents["each task 80 %"] ?? agent;
    const found = failing({ tasks: 60, epochs: 3 }, even, worse(even, 0.15), 20, 6);
    expect(found).toBeGreaterThanOrEqual(0.75);
  });

  it("[evals.gate-fallen] a task that always passed and never does fails the gate whatever the mean says", () => {
    // The mean rises: ten others that never passed now do.
    const before = sample([...tasks(30), ...tasks(10, "fff", 30), task("x", "ppp")]);
    const after = sample([...tasks(30), ...tasks(10, "ppp", 30), task("x", "fff")]);
    const result = gate(before, after);
    expect(kinds(result)).toEqual(["fallen"]);
    expect(result.failures[0]?.message).toContain("x");
    // A scripted agent runs each task once, and one that falls is no chance there.
    const once = [
      sample([...tasks(5, "p"), task("x", "p")]),
      sample([...tasks(5, "p"), task("x", "f")]),
    ] as const;
    expect(kinds(gate(...once))).toEqual(["fallen"]);
    // Where tasks are as unsteady as that, one of them falls by chance: it is named, and does not fail the gate.
    const unsteady = ["ppf ffp", "pff ppf", "fpf pfp", "ffp ppf", "ppf pff", "pfp fpf"].map(
      (each, at) => each.split(" ").map((trials) => task(`u${at}`, trials)),
    );
    const side = (nth: number) => unsteady.flatMap((each) => each[nth] ?? []);
    const noisy = gate(
      sample([...side(0), task("x", "ppp")]),
      sample([...side(1), task("x", "fff")]),
    );
    expect(noisy.passed).toBe(true);
    expect(noisy.warnings.find(({ kind }) => kind === "fallen")?.tasks).toEqual(["x"]);
  });

  it("[evals.gate-effort] an agent that got cheaper because it gives up early does not pass", () => {
    const agent = agents["each task 80 %"] ?? { passes: () => 0.8 };
    expect(failing({ tasks: 60, epochs: 3 }, agent, { ...agent, givesUp: 0.15 }, 10, 7)).toBe(1);
    const early = {
      passed: false,
      score: 0.2,
      steps: 1,
      tool_calls: 1,
      output_tokens: 50,
      cost_microusd: 900,
    };
    const before = sample(tasks(40, "ppf"));
    const after = sample(
      before.tasks.map((each) => ({
        ...each,
        trials: each.trials.map((trial) => (trial.passed ? trial : { ...trial, ...early })),
      })),
    );
    // As many fail as before, at a third of the cost: but now they give up.
    expect(gate(before, after).failures.map(({ message }) => message)).toEqual([
      expect.stringContaining("trials given up early rose from 0 % to 33.3 %"),
    ]);
    // Cheaper at the same work passes, and is said.
    const cheap = sample(tasks(40).map((each) => costing(each, { cost_microusd: 5_000 })));
    const cheaper = gate(sample(tasks(40)), cheap);
    expect(cheaper.passed).toBe(true);
    expect(cheaper.warnings.map(({ kind }) => kind)).toContain("got_cheaper");
  });

  it("[evals.gate-effort] cost, latency, steps and tool calls that grow fail it, by more than is let through", () => {
    const grown = (other: Partial<SampledTrial>) =>
      gate(sample(tasks(40)), sample(tasks(40).map((each) => costing(each, other))));
    expect(kinds(grown({ cost_microusd: 13_500 }))).toEqual(["regression"]);
    expect(kinds(grown({ steps: 5 }))).toEqual(["regression"]);
    expect(kinds(grown({ tool_calls: 10 }))).toEqual(["regression"]);
    expect(kinds(grown({ duration_ms: 6_500 }))).toEqual(["regression"]);
    for (const small of [{ cost_microusd: 13_000 }, { duration_ms: 5_000 }]) {
      const result = grown(small);
      expect(result.passed).toBe(true);
      expect(result.warnings.map(({ kind }) => kind)).toContain("regression");
    }
  });

  it("[evals.gate-limits] the suite's own gates are in force", () => {
    const before = sample([
      ...tasks(18),
      task("a", "fff", { category: "docs" }),
      task("b", "ppp", { category: "docs" }),
    ]);
    const held = (gates: Sample["gates"], after = before) =>
      kinds(judge(compare(before, { ...after, gates }), [before, { ...after, gates }]));
    expect(held({ pass_rate_threshold: 0.95 })).toEqual([]);
    expect(held({ pass_rate_threshold: 0.96 })).toEqual(["pass_rate_threshold"]);
    expect(held({ pass_rate_threshold: 0.95, require_all_categories_pass: true })).toEqual([
      "category_threshold",
    ]);
    const dearer = sample(before.tasks.map((each) => costing(each, { cost_microusd: 12_500 })));
    expect(held({ max_cost_increase_percent: 3 }, dearer)).toEqual(["cost_limit"]);
    expect(held({ max_cost_increase_percent: 10 }, dearer)).toEqual([]);
    // Of three tasks nothing can be told from chance, and the limit holds to what was seen.
    const few = [
      sample(tasks(3)),
      sample(tasks(3).map((each) => costing(each, { cost_microusd: 24_000 }))),
    ] as const;
    const limited = { ...few[1], gates: { max_cost_increase_percent: 10 } };
    expect(kinds(judge(compare(few[0], limited), [few[0], limited]))).toEqual(["cost_limit"]);
  });
});

describe("what was not measured does not pass", () => {
  const good = sample(tasks(20));
  it.each<[string, Sample, Sample, string]>([
    ["a mock", good, { ...good, mock: true }, "mock"],
    ["a baseline of a mock", { ...good, mock: true }, good, "mock"],
    ["a run that was stopped", good, { ...good, complete: false }, "incomplete"],
    ["no task at all", good, sample([]), "nothing_measured"],
    [
      "too many broken trials",
      good,
      sample(tasks(20).map((each) => ({ ...each, uncounted: 1 }))),
      "broken",
    ],
    [
      "a task without a trial that counts",
      good,
      sample([...tasks(19), task("t19", "", { uncounted: 1 })]),
      "not_measured",
    ],
    ["tasks that were not run", good, sample(tasks(15)), "not_run"],
    [
      "a baseline with a line taken out",
      sample(tasks(19), { locks: { dataset: "a" } }),
      sample(tasks(20), { locks: { dataset: "a" } }),
      "not_measured",
    ],
    [
      "a limit of costs that nobody knows",
      good,
      sample(
        tasks(20).map((each) => costing(each, { cost_microusd: null })),
        {
          gates: { max_cost_increase_percent: 10 },
        },
      ),
      "cost_limit",
    ],
    [
      "a limit of costs that nobody knew before",
      sample(tasks(20).map((each) => costing(each, { cost_microusd: null }))),
      sample(tasks(20), { gates: { max_cost_increase_percent: 10 } }),
      "cost_limit",
    ],
    [
      "a limit of costs of which one trial is not known",
      good,
      sample(
        [...tasks(19), task("t19", "pp", { trials: [usual, { ...usual, cost_microusd: null }] })],
        {
          gates: { max_cost_increase_percent: 10 },
        },
      ),
      "cost_limit",
    ],
    ...(["score", "steps", "tool_calls", "cost_microusd", "duration_ms"] as const).map(
      (measure): [string, Sample, Sample, string] => [
        `${measure} that nobody knows any more`,
        good,
        sample(tasks(20).map((each) => costing(each, { [measure]: null }))),
        "not_measured",
      ],
    ),
    [
      "a baseline with the trials of a task taken out",
      sample([...tasks(19), task("t19", "", { uncounted: 3 })]),
      sample([...tasks(19), task("t19", "fff")]),
      "not_measured",
    ],
    ["other tasks alone", good, sample(tasks(20, "ppp", 50)), "nothing_measured"],
  ])("[evals.gate-unseen] %s", (_name, before, after, kind) => {
    expect(kinds(gate(before, after))).toContain(kind);
  });

  it("[evals.gate-unseen] a mock whose mark was taken out is one, and a run with trials taken out is not complete", () => {
    const report = {
      format: "stateplane-eval/1",
      id: "e",
      suite: "s",
      agent: "a",
      mock: false,
      started_at: "",
      ended_at: "",
      complete: true,
      approvals: "none",
      gates: {},
      locks: {},
      unread_expectations: {},
      bad_lines: [],
      epochs: 2,
      control_plane: "embedded",
      tasks: [
        { id: "t", name: "t", category: "c", difficulty: "d", tags: [], cluster: "t", trials: [] },
      ],
    } as const;
    expect(sampleOf(report)).toMatchObject({ mock: false, complete: false });
    expect(sampleOf({ ...report, control_plane: "mock" }).mock).toBe(true);
    const [only] = report.tasks;
    const trial = {
      task_id: "t",
      status: "broken",
      passed: false,
      score: null,
      scores: [],
    } as const;
    const at = (epoch: number) => ({ ...trial, epoch, retries: 0, started_at: "", ended_at: "" });
    const complete = (...epochs: number[]) =>
      sampleOf({ ...report, tasks: [{ ...only, trials: epochs.map(at) }] }).complete;
    expect(complete(0, 1)).toBe(true);
    for (const epochs of [[0], [0, 0], [0, 2], [0, 1, 1]]) expect(complete(...epochs)).toBe(false);
  });

  it("[evals.gate-unseen] new tasks, removed ones and small samples are said", () => {
    const before = sample(tasks(4), { locks: { dataset: "a" }, epochs: 3 });
    const more = { locks: { dataset: "b" }, epochs: 1 };
    const after = sample([...tasks(3), task("z", "ppp")], more);
    const result = judge(compare(before, after), [before, after], new Set(["dataset"]));
    expect(result.passed).toBe(true);
    const messages = result.warnings.map(({ message }) => message).join("\n");
    expect(messages).toContain("1 task is new, and compared with nothing: z.");
    expect(messages).toContain("1 task of the baseline is gone: t03.");
    expect(messages).toContain("Underpowered: this sample can show no difference at all");
    expect(messages).toContain('The lock "dataset" differs');
    expect(messages).toContain("The baseline ran each task 3 times, and this eval once:");
    expect(gate(before, before).warnings.map(({ kind }) => kind)).not.toContain("epochs");
    const sixty = draw({ tasks: 60, epochs: 1 }, { passes: () => 0.8 }, numbers(3));
    const other = draw({ tasks: 60, epochs: 1 }, { passes: () => 0.8 }, numbers(4));
    expect(
      gate(sixty, other)
        .warnings.map(({ message }) => message)
        .join("\n"),
    ).toMatch(
      /Underpowered: this sample can only show differences of \d\d(\.\d)? points or more\./,
    );
  });
});

describe("a baseline's file", () => {
  const amount = fc.option(fc.integer({ min: 0, max: 1_000_000 }));
  const trial = fc.record<SampledTrial>({
    passed: fc.boolean(),
    score: fc.option(fc.integer({ min: 0, max: 10_000 }).map((value) => value / 10_000)),
    steps: amount,
    tool_calls: amount,
    output_tokens: amount,
    cost_microusd: amount,
    duration_ms: fc.option(fc.integer({ min: 0, max: 999 }).map((value) => value * 1_000)),
  });
  const anyTask = fc.record<SampledTask>({
    id: fc.string({ unit: "grapheme", minLength: 1 }),
    category: fc.string({ unit: "grapheme" }),
    cluster: fc.string(),
    trials: fc.array(trial, { maxLength: 4 }),
    uncounted: fc.integer({ min: 0, max: 3 }),
  });

  it("[evals.baseline] is read as it was written, sorted, a line a task", () => {
    fc.assert(
      fc.property(fc.uniqueArray(anyTask, { selector: ({ id }) => id }), (all) => {
        const epochs = Math.max(1, ...all.map(({ trials }) => trials.length));
        const whole = all.map((each) => ({ ...each, uncounted: epochs - each.trials.length }));
        const given = sample(whole, { epochs, locks: { suite: "b", dataset: "a" } });
        const text = baselineText(given);
        expect(looksLikeBaseline(text)).toBe(true);
        expect(parseBaseline(text)).toEqual({ ok: true, sample: given });
        expect(text.trimEnd().split("\n")).toHaveLength(3 + all.length);
        expect(baselineText({ ...given, tasks: whole.toReversed() })).toBe(text);
      }),
    );
  });

  it("[evals.baseline] a line that can't be used is named, and none is guessed", () => {
    const lines = baselineText(sample(tasks(2)))
      .trimEnd()
      .split("\n");
    const problems = (changed: string[]) => {
      const read = parseBaseline(changed.join("\n"));
      return read.ok ? [] : read.problems;
    };
    const [head = "", one = "", two = ""] = lines;
    expect(problems([])).toEqual(["it is empty"]);
    expect(problems([head, one, one])).toEqual(['line 3: the task "t00" stands there twice']);
    expect(problems([head, "{", two])[0]).toContain("line 2: ");
    expect(problems([head, "[]"])).toEqual(["line 2: expected a JSON object"]);
    expect(problems([head, one.replace('"steps":[4,', '"steps":[')])[0]).toContain(
      "expected a value a trial",
    );
    expect(problems([head, one.replace('"passed"', '"pased"')])[0]).toMatch(/^line 2: .*pas+ed/);
    expect(problems([one])[0]).toContain("line 1: ");
    const few = one.replaceAll(/\[[^\]]*\]/gu, "[]");
    expect(problems([head, few, two])).toEqual([
      expect.stringMatching(/^expected \d trials? of the task "t00", not 0$/u),
    ]);
  });
});
