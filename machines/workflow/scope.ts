import type { Json, JsonObject } from "../contracts/domain/json.ts";
import { type Frame, stepAt, type WorkflowContext } from "./context.ts";
import { itemAt } from "./table.ts";

/** What is kept of a run beside its machine: what its steps brought, by their place in the run's table. */
export interface Outputs {
  /** What a step brought; undefined where it brought nothing. */
  output(step: number): Json | undefined;
  /** What a workflow was given: the run itself for -1, else the step of type `workflow`. */
  input(owner: number): Json;
  /** The list of a step with `for_each`. */
  items(owner: number): readonly Json[];
}

/** Where a step stands, and the frames around it, from the inside out. */
function* around(
  context: WorkflowContext,
  step: number,
): Generator<{ step: number; frame: Frame }> {
  for (let at = step; at >= 0;) {
    const found = stepAt(context, at);
    if (found === null) return;
    yield { step: at, frame: found.frame };
    at = found.frame.owner;
  }
}

/** What a step's expressions are worked out over: of what it can see, that which they name. */
export function scopeOf(
  context: WorkflowContext,
  step: number,
  names: readonly string[],
  outputs: Outputs,
): JsonObject {
  const found = names.map((name) => [name, lookUp(context, step, name, outputs)] as const);
  return Object.fromEntries(
    found.filter((one): one is readonly [string, Json] => one[1] !== undefined),
  );
}

function lookUp(
  context: WorkflowContext,
  step: number,
  name: string,
  outputs: Outputs,
): Json | undefined {
  for (const { frame } of around(context, step)) {
    const nodes = context.plan.bodies[frame.body]?.nodes ?? [];
    const place = nodes.findIndex(({ id }) => id === name);
    if (place >= 0) return outputs.output(frame.base + place);
    const owner = stepAt(context, frame.owner);
    if (name === "input" && (owner === null || owner.node.type === "workflow"))
      return outputs.input(frame.owner);
    // A workflow sees its input, and nothing around it.
    if (owner === null || owner.node.type === "workflow") return undefined;
    if (owner.node.type === "loop") {
      if (name === "iteration") return frame.index + 1;
      if (name === owner.node.id) return repeated(context, frame.previous, outputs);
    }
    if (owner.node.isForEach) {
      if (name === "index") return frame.index;
      if (name === "item") return outputs.items(frame.owner)[frame.index];
    }
  }
  return undefined;
}

/**
 * What a step is shown that says nothing of what it wants to see: what it depends on, and where steps run in their
 * order, what came before it: earlier in this turn, in earlier turns, and before the step that it stands in.
 */
export function shownTo(context: WorkflowContext, step: number): string[] {
  const names: string[] = [];
  for (const { step: at, frame } of around(context, step)) {
    const nodes = context.plan.bodies[frame.body]?.nodes ?? [];
    const place = at - frame.base;
    const node = nodes[place];
    const needs = new Set(node?.data);
    for (let one = place; one >= 0 && (nodes[one]?.order.length ?? 0) > 0; one -= 1)
      needs.add(one - 1);
    const own = [...needs].toSorted((a, b) => a - b).map((one) => nodes[one]?.id ?? "");
    const owner = stepAt(context, frame.owner);
    const isRepeated = owner?.node.type === "loop" && frame.index > 0;
    const given = owner?.node.isForEach ? ["item"] : isRepeated ? [owner.node.id] : [];
    names.unshift(...given, ...own);
    if (owner === null || owner.node.type === "workflow") break;
  }
  return names.length === 0 ? ["input"] : names;
}

/** What a step brings that is made of others; undefined for one that a worker runs. */
export function outputOf(
  context: WorkflowContext,
  step: number,
  outputs: Outputs,
): Json | undefined {
  const found = stepAt(context, step);
  if (found === null) return undefined;
  const { state, node } = found;
  const last = state.last ?? -1;
  switch (node.type) {
    case "loop":
      return repeated(context, last, outputs);
    case "parallel":
      if (!node.isForEach) return resultsOf(context, itemAt(context.frames, last), outputs);
      return {
        count: state.items ?? 0,
        results: repeated(context, last, outputs)["results"] ?? [],
      };
    case "condition":
      return {
        result: state.holds ?? false,
        results: resultsOf(context, itemAt(context.frames, last), outputs),
      };
    case "workflow":
      return resultsOf(context, itemAt(context.frames, last), outputs);
    default:
      return undefined;
  }
}

/** What a run's own steps brought, by their ids. */
export const runOutput = (context: WorkflowContext, outputs: Outputs): JsonObject =>
  resultsOf(context, itemAt(context.frames, 0), outputs);

/** FerrumDeck's form: how many iterations, and of each what its steps brought. */
function repeated(context: WorkflowContext, last: number, outputs: Outputs): JsonObject {
  const results: JsonObject[] = [];
  for (let frame = itemAt(context.frames, last); frame !== undefined;) {
    results.push(resultsOf(context, frame, outputs));
    frame = itemAt(context.frames, frame.previous);
  }
  return { iterations: results.length, results: results.toReversed() };
}

/** What the steps of one frame brought; those that brought nothing are left out. */
function resultsOf(
  { plan }: WorkflowContext,
  frame: Frame | undefined,
  outputs: Outputs,
): JsonObject {
  if (frame === undefined) return {};
  const nodes = plan.bodies[frame.body]?.nodes ?? [];
  const all = nodes.map(({ id }, place) => [id, outputs.output(frame.base + place)] as const);
  return Object.fromEntries(
    all.filter((one): one is readonly [string, Json] => one[1] !== undefined),
  );
}
