import { type } from "arktype";
import type { SnapshotFrom } from "xstate";
import { fail, ok, type Outcome, terminal } from "../contracts/domain/failure.ts";
import { noCommands, type WorkflowContext } from "./context.ts";
import { workflowMachine } from "./machine.ts";
import type { Plan } from "./plan.ts";

export type WorkflowSnapshot = SnapshotFrom<typeof workflowMachine>;

/** The layout of what is saved; another one is refused. */
const layout = 1;

/** A run as it is kept: all that its definition does not say already. */
export interface SavedRun {
  layout: typeof layout;
  workflow: { id: string; version: string; bodies: number[] };
  value: string;
  context: Omit<WorkflowContext, "plan" | "commands">;
}

const table = {
  size: "number.integer >= 0",
  levels: "0 <= number.integer <= 6",
  root: "unknown[]",
} as const;
const savedShape = type({
  layout: `${layout}`,
  workflow: { id: "string", version: "string", bodies: "number[]" },
  value: "'running' | 'stopping' | 'completed' | 'failed' | 'cancelled'",
  context: {
    phase: "'running' | 'stopping' | 'completed' | 'failed' | 'cancelled'",
    failure: "object | null",
    steps: table,
    frames: table,
    asking: "number.integer >= 0",
    failed: "number.integer >= 0",
  },
});

const sizesOf = ({ bodies }: Plan): number[] => bodies.map(({ nodes }) => nodes.length);

export function saveRun({ value, context }: WorkflowSnapshot): SavedRun {
  const { plan, commands: _commands, ...kept } = context;
  const { id, version } = plan;
  const workflow = { id, version, bodies: sizesOf(plan) };
  return { layout, workflow, value: String(value), context: kept };
}

/**
 * A run as it was saved, with the plan of its definition. Nothing is done by it: what the run had asked for says
 * `outstanding`.
 */
export function restoreRun(plan: Plan, saved: unknown): Outcome<WorkflowSnapshot> {
  const read = savedShape(saved);
  if (read instanceof type.errors) {
    const message = `a workflow's run can't be read: ${read.summary}; it was saved by another version`;
    return fail(terminal("corrupt_record", message));
  }
  const { workflow, value } = read;
  const isSame =
    workflow.id === plan.id &&
    workflow.version === plan.version &&
    String(workflow.bodies) === String(sizesOf(plan));
  if (!isSame) {
    const was = `${workflow.id} ${workflow.version}`;
    const message = `a run of ${was} can't go on by the definition of ${plan.id} ${plan.version}`;
    return fail(terminal("conflict", message));
  }
  const kept = read.context as unknown as SavedRun["context"];
  const context: WorkflowContext = { ...kept, plan, commands: noCommands() };
  return ok(workflowMachine.resolveState({ value, context }));
}
