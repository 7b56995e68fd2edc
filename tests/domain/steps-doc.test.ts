import { readFileSync } from "node:fs";
import { type } from "arktype";
import { parse } from "yaml";
import { expect, it } from "vitest";
import { defaultOptions } from "../../actors/options.ts";
import { stepTypes } from "../../machines/contracts/domain/job.ts";
import {
  approvalInput,
  llmInput,
  retrievalInput,
  sandboxInput,
  stepInputProblem,
  toolInput,
} from "../../machines/contracts/domain/step-input.ts";
import { configShapes } from "../../machines/contracts/domain/workflow.ts";
import { budgetShape } from "../../machines/contracts/domain/budget.ts";

const doc = readFileSync(new URL("../../docs/steps.md", import.meta.url), "utf8");

const shapes = {
  llm: llmInput(),
  tool: toolInput(),
  retrieval: retrievalInput(),
  sandbox: sandboxInput(),
  approval: approvalInput(),
};

const keysOf = (shape: { props: readonly { key: PropertyKey }[] }): string[] =>
  shape.props.map(({ key }) => String(key)).toSorted();

/** The keys in the first cell of each row of the table of a step type. */
function documented(stepType: string): string[] {
  const [, table = ""] =
    doc.split(`| key of an \`${stepType}\` step |`).length > 1
      ? doc.split(`| key of an \`${stepType}\` step |`)
      : doc.split(`| key of a \`${stepType}\` step |`);
  const rows = (table.split("\n\n")[0] ?? "").split("\n").slice(2);
  return rows
    .flatMap((row) => [...(row.split(" | ")[0] ?? "").matchAll(/`(\w+)`/gu)])
    .map(([, key = ""]) => key)
    .toSorted();
}

it.each(stepTypes)(
  "docs/steps.md names each key that an %s step takes, and no other [steps.doc]",
  (stepType) => {
    expect(documented(stepType)).toEqual(keysOf(shapes[stepType]));
  },
);

it.each(["llm", "tool", "retrieval", "sandbox"] as const)(
  "a workflow's %s step may hold whatever a step of that type takes [steps.doc]",
  (stepType) => {
    const schema = stepType === "llm" ? [] : ["output_schema"];
    const known = keysOf(configShapes[stepType]);
    expect(known).toEqual(expect.arrayContaining([...keysOf(shapes[stepType]), ...schema]));
  },
);

it("docs/steps.md names the limits of a budget, and the number of repairs and iterations that hold", () => {
  for (const { key } of budgetShape.props) expect(doc).toContain(`\`${String(key)}\``);
  expect(defaultOptions.limits.maxRepairs).toBe(1);
  expect(doc).toContain("is shown to the model again once");
  expect(doc).toContain(`| \`maxIterations\`, ${defaultOptions.maxIterations} |`);
});

it("the steps that docs/steps.md shows are taken as they stand", () => {
  const shown = [...doc.matchAll(/```yaml\n(.*?)```/gsu)].flatMap(([, text = ""]) => parse(text));
  const shape = type({ type: type.enumerated(...stepTypes), "name?": "string", input: "object" });
  const steps = shown.map((step) => shape.onUndeclaredKey("reject").assert(step));
  expect(steps).toHaveLength(3);
  for (const step of steps) expect(stepInputProblem(step.type, step.input as never)).toBeNull();
});
