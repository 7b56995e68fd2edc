import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { defineWorkflow, InvalidWorkflow } from "../../adapters/workflows/define.ts";
import { readWorkflow } from "../../adapters/workflows/read.ts";

it("a workflow in TypeScript is the definition that a file says [workflow.typed]", () => {
  const text = `
id: review
name: Review
on_error: retry
steps:
  - {id: plan, type: llm}
  - {id: read, type: tool, depends_on: [plan], condition: $.plan.risk >= 2, config: {tool_name: read_file, tool_input_from: {path: $.plan.file}}}
`;
  const typed = defineWorkflow({
    id: "review",
    name: "Review",
    on_error: "retry",
    steps: [
      { id: "plan", type: "llm" },
      {
        id: "read",
        type: "tool",
        depends_on: ["plan"],
        condition: "$.plan.risk >= 2",
        config: { tool_name: "read_file", tool_input_from: { path: "$.plan.file" } },
      },
    ],
  });
  expect(readWorkflow(text)).toEqual({ ok: true, definition: typed });
});

it("what its types can't see is told when it is defined, and what they see is an error of types [workflow.typed]", () => {
  const told = (made: () => unknown): readonly { where: string; problem: string }[] => {
    try {
      made();
    } catch (error) {
      if (error instanceof InvalidWorkflow) return error.problems;
      throw error;
    }
    return [];
  };
  const circle = () =>
    defineWorkflow({
      id: "w",
      name: "W",
      steps: [
        { id: "a", type: "llm", depends_on: ["b"] },
        { id: "b", type: "llm", depends_on: ["a"] },
      ],
    });
  expect(told(circle)).toMatchObject([{ where: "steps[0].depends_on[0]" }]);
  const unknown = () =>
    defineWorkflow({
      id: "w",
      name: "W",
      steps: [
        { id: "plan", type: "llm" },
        // @ts-expect-error there is no step "plam"
        { id: "b", type: "llm", depends_on: ["plam"] },
      ],
    });
  expect(told(unknown)).toMatchObject([{ where: "steps[1].depends_on[0]" }]);
  const misplaced = () =>
    defineWorkflow({
      id: "w",
      name: "W",
      // @ts-expect-error a tool's step takes no model
      steps: [{ id: "a", type: "tool", config: { tool_name: "t", model: "m" } }],
    });
  expect(told(misplaced)).toMatchObject([{ where: "steps[0].config.model" }]);
});

it("FerrumDeck's sample can be defined as it was read", () => {
  const file = join(import.meta.dirname, "../corpus/ferrumdeck-workflow.yaml");
  const read = readWorkflow(readFileSync(file, "utf8"));
  const { definition } = read as Extract<typeof read, { ok: true }>;
  expect(defineWorkflow(definition as never)).toEqual(definition);
});
