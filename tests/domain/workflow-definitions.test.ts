import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readWorkflow } from "../../adapters/workflows/read.ts";
import { cpuMs } from "../support/cpu-time.ts";

const sample = readFileSync(
  join(import.meta.dirname, "../corpus/ferrumdeck-workflow.yaml"),
  "utf8",
);

const head = "id: w\nname: W\nsteps:\n";
const step = (id: string, rest = "") => `  - id: ${id}\n    type: llm\n${rest}`;
const nested = (rest: string) =>
  `${head}${step("a")}  - id: l\n    type: loop\n    depends_on: [a]\n    config:\n      steps:\n${rest}`;

/** A definition with one fault, ‹ before the place where it is to be told, and words of what is to be said. */
const bad: readonly [string, string, ...string[]][] = [
  [
    "an unknown dependency",
    `${head}${step("plan")}${step("b", "    depends_on: [‹plam]\n")}`,
    'there is no step "plam" here; did you mean "plan"?',
  ],
  [
    "a dependency of another list",
    nested("        - {id: b, type: llm, depends_on: [‹zebra]}\n"),
    'there is no step "zebra" here; expected the id of a step of the same list',
  ],
  [
    "a circle",
    `${head}${step("a", "    depends_on: [‹b]\n")}${step("b", "    depends_on: [a]\n")}`,
    "this step would wait for itself: a → b → a",
  ],
  ["a step that waits for itself", `${head}${step("a", "    depends_on: [‹a]\n")}`, "a → a"],
  [
    "a longer circle behind a sound step",
    `${head}${step("o")}${step("a", "    depends_on: [o, ‹c]\n")}${step("b", "    depends_on: [a]\n")}${step("c", "    depends_on: [b]\n")}`,
    "a → c → b → a",
  ],
  [
    "an id twice",
    `${head}${step("a")}  - id: ‹a\n    type: llm\n`,
    'expected an id of its own; there is a step "a" already',
  ],
  ["an id of a step around", nested("        - {id: ‹a, type: llm}\n"), "a step around this one"],
  [
    "an id that the format has for itself",
    `${head}  - {id: ‹input, type: llm}\n`,
    '"input" is a name of the format',
  ],
  [
    "an unknown type",
    `${head}  - id: a\n    type: ‹aproval\n`,
    'there is no step type "aproval"; did you mean "approval"?',
  ],
  ["a type like no other", `${head}  - {id: a, type: ‹quantum}\n`, "expected one of llm, tool"],
  [
    "an unknown key of a step",
    `${head}${step("a", "    ‹depend_on: [b]\n")}`,
    'there is no key "depend_on" here; did you mean "depends_on"?',
  ],
  [
    "an unknown key of a configuration",
    `${head}  - {id: a, type: llm, config: {‹sytem_prompt: x}}\n`,
    'did you mean "system_prompt"?',
  ],
  [
    "an unknown limit",
    `${head}  - {id: a, type: llm, config: {budget: {‹max_tool_call: 1}}}\n`,
    'did you mean "max_tool_calls"?',
  ],
  [
    "a key of another type",
    `${head}  - {id: a, type: tool, config: {tool_name: t, ‹model: x}}\n`,
    'there is no key "model" here; expected tool_name',
  ],
  [
    "an unknown key of the definition",
    `id: w\nname: W\n‹step: []\nsteps: [{id: a, type: llm}]\n`,
    'did you mean "steps"?',
  ],
  ["no steps", "id: w\nname: W\nsteps: ‹[]\n", "expected a list of at least one step"],
  ["no name", "‹id: w\nsteps: [{id: a, type: llm}]\n", "expected `name`"],
  ["a step that is none", `${head}  - ‹plan\n`, "expected an object"],
  [
    "a tool without a name",
    `${head}  - id: a\n    type: tool\n    ‹config:\n      tool_input: {}\n`,
    "expected `tool_name`",
  ],
  ["a time-out of half a second", `${head}${step("a", "    timeout_ms: ‹500\n")}`, "at least 1000"],
  [
    "too many attempts",
    `${head}${step("a", "    retry: {max_attempts: ‹11}\n")}`,
    "expected at most 10",
  ],
  [
    "an unknown way with errors",
    `id: w\nname: W\non_error: ‹skip\nsteps: [{id: a, type: llm}]\n`,
    'expected "continue", "fail" or "retry"',
  ],
  [
    "a version of two numbers",
    `id: w\nname: W\nversion: ‹"1.0"\nsteps: [{id: a, type: llm}]\n`,
    "three numbers such as 1.0.0",
  ],
  [
    "a loop without end",
    `${head}  - {id: a, type: loop, config: {max_iterations: ‹101, steps: [{id: b, type: llm}]}}\n`,
    "a whole number from 1 to 100",
  ],
  [
    "a bound without a list",
    `${head}  - {id: a, type: parallel, config: {‹max_concurrency: 2, steps: [{id: b, type: llm}]}}\n`,
    "expected `for_each` beside it",
  ],
  [
    "a sandbox without code",
    `${head}  - {id: a, type: sandbox, ‹config: {language: bash}}\n`,
    "expected `code`",
  ],
  // Expressions.
  [
    "a condition with one =",
    `${head}${step("a")}${step("b", '    depends_on: [a]\n    condition: "$.a.x ‹= 3"\n')}`,
    "unexpected character: =",
  ],
  [
    "a condition that ends early",
    `${head}${step("a")}${step("b", "    depends_on: [a]\n    condition: $.a.x == 3 &&‹\n")}`,
    "its end",
  ],
  [
    "an open bracket",
    `${head}${step("a")}${step("b", '    depends_on: [a]\n    condition: "($.a.x == 3‹"\n')}`,
    "expected",
  ],
  [
    "a word in a condition",
    `${head}${step("a")}${step("b", '    depends_on: [a]\n    condition: "$.a.x == ‹True"\n')}`,
    "did you mean true?",
  ],
  [
    "arithmetic in a condition",
    `${head}${step("a")}${step("b", '    depends_on: [a]\n    condition: "‹$.a.x + 1 == 2"\n')}`,
    'conditions have no "+"',
  ],
  [
    "a call in a condition",
    `${head}${step("a")}${step("b", '    depends_on: [a]\n    condition: "‹size($.a.x) == 2"\n')}`,
    'conditions have no "call"',
  ],
  [
    "three compared at once",
    `${head}${step("a")}${step("b", '    depends_on: [a]\n    condition: "‹1 < $.a.x < 3"\n')}`,
    "join two comparisons",
  ],
  [
    "a text after in",
    `${head}${step("a")}${step("b", `    depends_on: [a]\n    condition: "$.a.x in ‹'abc'"\n`)}`,
    "expected a list or a path",
  ],
  [
    "a number that is rounded",
    `${head}${step("a")}${step("b", '    depends_on: [a]\n    condition: "$.a.x == ‹9007199254740993"\n')}`,
    "kept exactly",
  ],
  [
    "a path of no step",
    `${head}${step("plan")}${step("b", '    depends_on: [plan]\n    condition: "1 == 1 && ‹$.plam.x == 3"\n')}`,
    'there is no step "plam" to be seen from here; did you mean "plan"?',
  ],
  [
    "a path of a step that may still run",
    `${head}${step("a")}${step("b", '    condition: "‹$.a.x == 3"\n')}`,
    "expected it in `depends_on`",
  ],
  ["a path of itself", `${head}${step("a", '    condition: "‹$.a.x == 3"\n')}`, "its own result"],
  [
    "a path into a loop from outside",
    `${nested("        - {id: inner, type: llm}\n")}  - id: c\n    type: llm\n    depends_on: [l]\n    condition: ‹$.inner.x == 1\n`,
    'there is no step "inner" to be seen from here',
  ],
  [
    "a path of no name",
    `${head}${step("a")}${step("b", '    depends_on: [a]\n    condition: "‹$[*] == 3"\n')}`,
    "`input` or the id of a step",
  ],
  [
    "a path that is none",
    `${head}${step("a")}${step("b", '    depends_on: [a]\n    condition: "$.a[?‹] == 3"\n')}`,
    "expected a JSONPath (RFC 9535)",
  ],
  [
    "a path that walks all again and again",
    `${head}${step("a")}${step("b", '    depends_on: [a]\n    condition: "$.a..b‹..c"\n')}`,
    "at most one `..`",
  ],
  [
    "a filter that walks another list for each item",
    `${head}${step("a")}${step("b", '    depends_on: [a]\n    condition: "$.a[?count(‹$.a[*]) > 1]"\n')}`,
    "a path that selects one value",
  ],
  [
    "a template of no step",
    `${head}  - id: a\n    type: approval\n    config:\n      approval_message: |\n        Ready to merge?\n        Title: {{‹$.pr.title}}\n`,
    'there is no step "pr" to be seen from here',
  ],
  [
    "a template that stays open",
    `${head}  - id: a\n    type: approval\n    config: {approval_message: "of {{$.input.x‹ here"}\n`,
    "expected }}",
  ],
  [
    "an input from no step",
    `${head}  - {id: a, type: tool, config: {tool_name: t, tool_input_from: {path: "‹$.b.c"}}}\n`,
    'there is no step "b"',
  ],
  [
    "an input from a word",
    `${head}  - {id: a, type: tool, config: {tool_name: t, tool_input_from: ‹plan}}\n`,
    "expected a path such as $.step.field",
  ],
  [
    "a list from nowhere",
    `${head}  - {id: a, type: parallel, config: {for_each: ‹$.b, steps: [{id: c, type: llm}]}}\n`,
    'there is no step "b"',
  ],
  [
    "an item outside of its list",
    `${head}  - {id: a, type: llm, condition: ‹$.item == 1}\n`,
    'there is no step "item"',
  ],
  // Workflows in workflows.
  [
    "an unknown workflow",
    `${head}  - {id: a, type: workflow, config: {workflow: ‹revue}}\nworkflows:\n  - {id: review, name: R, steps: [{id: a, type: llm}]}\n`,
    'there is no workflow "revue" in `workflows`; did you mean "review"?',
  ],
  [
    "a workflow that runs itself",
    `${head}  - {id: a, type: workflow, config: {workflow: x}}\nworkflows:\n  - {id: ‹x, name: X, steps: [{id: a, type: workflow, config: {workflow: y}}]}\n  - {id: y, name: Y, steps: [{id: a, type: workflow, config: {workflow: x}}]}\n`,
    "runs itself: x → y → x",
  ],
  [
    "a workflow that sees around it",
    `${head}  - {id: o, type: llm}\n  - {id: a, type: workflow, depends_on: [o], config: {workflow: x}}\nworkflows:\n  - {id: x, name: X, steps: [{id: b, type: llm, condition: ‹$.o.x == 1}]}\n`,
    'there is no step "o"',
  ],
  [
    "workflows that run each other without measure",
    `${head}  - {id: a, type: workflow, config: {workflow: w0}}\nworkflows:\n  ‹${Array.from({ length: 16 }, (_, at) => `- {id: w${at}, name: W, steps: [${["l", "r"].map((id) => (at === 15 ? `{id: ${id}, type: llm}` : `{id: ${id}, type: workflow, config: {workflow: w${at + 1}}}`)).join(", ")}]}`).join("\n  ")}\n`,
    "expected at most 10000",
  ],
  // The text itself.
  ["a key twice", `${head}${step("a", "    name: x\n    ‹name: y\n")}`, "expected each key once"],
  ["broken YAML", `${head}  - {id: a, type: llm\n‹`, "expected YAML or JSON"],
  ["broken JSON", `{"id": "w", "name": "W", "steps": [‹`, "expected YAML or JSON"],
  [
    "a number that a double can't hold",
    `${head}  - {id: a, type: tool, config: {tool_name: t, tool_input: {id: ‹9007199254740993}}}\n`,
    "kept exactly",
  ],
  ["nothing", "‹", "expected an object"],
];

describe("a definition that can't be used", () => {
  it.each(bad)(
    "%s: is told with its line and column [workflow.positions]",
    (_what, marked, ...words) => {
      const at = marked.indexOf("‹");
      const before = marked.slice(0, at).split("\n");
      const read = readWorkflow(marked.replace("‹", ""));
      const found = read.ok
        ? []
        : read.problems.filter(({ problem }) => words.every((word) => problem.includes(word)));
      const places = found.map(({ line, column }) => ({ line, column }));
      const all = read.ok ? "it was taken" : JSON.stringify(read.problems);
      expect(places, all).toContainEqual({
        line: before.length,
        column: (before.at(-1)?.length ?? 0) + 1,
      });
    },
  );

  it("is told of with all its problems at once, in the order of its lines", () => {
    const read = readWorkflow(`${head}  - {id: a, type: llmm}\n  - {id: a, type: tool}\n`);
    expect(read.ok ? [] : read.problems.map(({ line, where }) => `${line} ${where}`)).toEqual([
      "4 steps[0].type",
      "5 steps[1]",
      "5 steps[1].id",
    ]);
  });

  it("is refused, and never an exception, whatever the text [workflow.positions]", () => {
    const pieces = fc.constantFrom(
      ...sample.split(/(?<=[\s:[\]{}"$.])/u),
      "&a ",
      "*a ",
      "<<: ",
      "- ",
      "\t",
      "{{$.",
      "[[[",
      "? ",
      "!!x ",
      "'",
      "|\n",
      "> \n",
      "\u0000",
      "\ud800",
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 60 }), (parts) => {
        const read = readWorkflow(parts.join(""));
        if (!read.ok)
          for (const { line, column } of read.problems) expect(line * column).toBeGreaterThan(0);
      }),
      { numRuns: 500 },
    );
    const cut = fc.tuple(fc.nat(sample.length), fc.nat(40), fc.string({ maxLength: 5 }));
    fc.assert(
      fc.property(cut, ([from, count, put]) => {
        readWorkflow(sample.slice(0, from) + put + sample.slice(from + count));
      }),
      { numRuns: 200 },
    );
  });

  it("is refused quickly where it is large, deep or repeats itself [workflow.bounds]", () => {
    const bombs = [
      "[".repeat(500_000),
      "{a: ".repeat(120_000),
      "- ".repeat(100_000),
      "a:\n".repeat(150_000),
      Array.from({ length: 20_000 }, (_, at) => `k${at}: 1`).join("\n"),
      `a: &a [x]\n${Array.from({ length: 30 }, (_, at) => `b${at}: &b${at} [*${at === 0 ? "a" : `b${at - 1}`}, *${at === 0 ? "a" : `b${at - 1}`}]\n`).join("")}`,
      "x".repeat(2_000_000),
      `${head}  - {id: a, type: llm, condition: "${"!".repeat(2_100)}true"}\n`,
      `${head}  - {id: a, type: llm, condition: "${"(".repeat(1_900)}"}\n`,
    ];
    for (const bomb of bombs) {
      const begun = cpuMs();
      expect(readWorkflow(bomb).ok).toBe(false);
      expect(cpuMs() - begun).toBeLessThan(10_000);
    }
  });
});

it("FerrumDeck's own sample is taken as it stands, as YAML and as JSON [workflow.format]", () => {
  const read = readWorkflow(sample);
  expect(read).toMatchObject({ ok: true, definition: { id: "safe-pr-agent-workflow" } });
  const asJson = read.ok ? JSON.stringify(read.definition, null, 1) : "";
  expect(readWorkflow(asJson)).toEqual(read);
});

it("what the page on workflows shows can be used", () => {
  const page = readFileSync(join(import.meta.dirname, "../../docs/workflows.md"), "utf8");
  const shown = [...page.matchAll(/```yaml\n(.*?)```/gsu)].map(([, text = ""]) =>
    readWorkflow(text),
  );
  expect(shown).toMatchObject([{ ok: true }, { ok: true }]);
});
