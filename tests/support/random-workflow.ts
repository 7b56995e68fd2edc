import * as fc from "fast-check";
import { type Failure, retryable, terminal } from "../../machines/contracts/domain/failure.ts";
import type {
  StepDefinition,
  WorkflowDefinition,
} from "../../machines/contracts/domain/workflow.ts";

/** Draws a whole number from 0 to `most`. */
export type Draw = (most: number) => number;

/** Evenly: fast-check's own liking for small numbers would make small workflows. */
const even = (most: number) => fc.noBias(fc.nat({ max: most }));
export const drawFrom =
  (gen: fc.GeneratorValue): Draw =>
  (most) =>
    gen(even, most);

const path = "$.input.x";

/** A workflow of up to 50 steps, each with needs among those before it, some made of others. */
export function drawWorkflow(draw: Draw): WorkflowDefinition {
  const count = 1 + draw(49);
  const steps: StepDefinition[] = [];
  for (let at = 0; at < count; at += 1) steps.push(drawStep(draw, `s${at}`, steps, 0));
  const onError =
    (["continue", "fail", "retry", "continue", "continue", "continue"] as const)[draw(5)] ?? "fail";
  return {
    id: "w",
    name: "W",
    steps,
    on_error: onError,
    max_iterations: 2,
    workflows: [{ id: "sub", name: "S", steps: [drawLeaf(draw, "u0"), drawLeaf(draw, "u1")] }],
  };
}

function drawStep(
  draw: Draw,
  id: string,
  before: readonly StepDefinition[],
  depth: number,
): StepDefinition {
  const step = draw(5) === 0 && depth < 2 ? drawContainer(draw, id, depth) : drawLeaf(draw, id);
  const hasNeeds = depth === 0 || draw(3) === 0;
  if (!hasNeeds) return step;
  const needs = before.filter((_, at) => at >= before.length - 6 && draw(3) === 0);
  return { ...step, depends_on: needs.map((one) => one.id) } as StepDefinition;
}

function common(draw: Draw): Partial<StepDefinition> {
  const [conditioned, timed, retried, handled] = [draw(4), draw(4), draw(2), draw(9)];
  return {
    ...(conditioned === 0 ? { condition: path } : {}),
    ...(timed === 0 ? { timeout_ms: 1_000 } : {}),
    ...(retried === 0 ? { retry: { max_attempts: 1 + draw(2) } } : {}),
    ...(handled < 4
      ? { on_error: (["fail", "continue", "retry"] as const)[handled] ?? "fail" }
      : {}),
  } as Partial<StepDefinition>;
}

const drawLeaf = (draw: Draw, id: string): StepDefinition =>
  ({
    id,
    ...(draw(4) === 0 ? { type: "approval" } : { type: "tool", config: { tool_name: "t" } }),
    ...common(draw),
  }) as StepDefinition;

function drawContainer(draw: Draw, id: string, depth: number): StepDefinition {
  const inner = (name: string): StepDefinition[] => {
    const steps: StepDefinition[] = [];
    for (let at = draw(2); at >= 0; at -= 1) {
      steps.push(drawStep(draw, `${id}${name}${at}`, steps, depth + 1));
    }
    return steps;
  };
  const kinds = [
    () => ({ type: "loop", config: { steps: inner("l"), max_iterations: 1 + draw(2) } }),
    () => ({ type: "parallel", config: { steps: inner("p") } }),
    () => ({
      type: "parallel",
      config: { steps: inner("e"), for_each: path, max_concurrency: 1 + draw(2) },
    }),
    () => ({
      type: "condition",
      config: {
        if: path,
        // oxlint-disable-next-line unicorn/no-thenable -- it is the format's own key
        then: inner("t"),
        else: draw(1) === 0 ? inner("f") : [],
      },
    }),
    () => ({ type: "workflow", config: { workflow: "sub" } }),
  ];
  return { id, ...kinds[draw(4)]?.(), ...common(draw) } as StepDefinition;
}

/** How an attempt fails: what may be tried again, and what may not. */
export const drawFailure = (draw: Draw): Failure =>
  [
    retryable("unavailable", "away"),
    terminal("tool_failed", "it says no"),
    terminal("policy_denied", "not allowed"),
    terminal("invalid_input", "nothing selected"),
  ][draw(3)] ?? terminal("internal", "");
