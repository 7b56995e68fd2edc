import type { Failure } from "../contracts/domain/failure.ts";
import type { Attempt, Timer } from "./events.ts";
import type { Plan, PlanNode } from "./plan.ts";
import { emptyTable, itemAt, type Table } from "./table.ts";

/** `open`: its own steps run. `stopping`: it was told to stop, and has not said yet that it did. */
export type StepStatus =
  | "waiting"
  | "deciding"
  | "running"
  | "asking"
  | "backing-off"
  | "open"
  | "stopping"
  | "completed"
  | "failed"
  | "skipped"
  | "cancelled";

/** `condition` and `unneeded` are as good as done for those that wait; after `blocked` they are skipped as well. */
export type SkipReason =
  /** Its condition does not hold. */
  | "condition"
  /** All that it needs was skipped. */
  | "unneeded"
  /** Something that it needs failed. */
  | "blocked"
  /** Its loop was done before its turn. */
  | "done";

/** One step of a run. JSON, as small as may be: a run may have 100,000. */
export interface StepState {
  status: StepStatus;
  /** The frame it stands in. */
  frame: number;
  attempt: number;
  /** How many of those it waits for have not ended. */
  waitsFor: number;
  /** Whether something that it needs failed, and whether anything that it needs completed. */
  isBlocked?: true;
  isMet?: true;
  /** Counts its time-outs: see {@link Timer}. */
  serial: number;
  /** What it ends as once it has stopped; absent for cancelled. */
  failure?: Failure;
  /** Of a step that was skipped. */
  reason?: SkipReason;
  /** Of a step made of others: its newest frame, how many of its frames run, the items of its list, its branch. */
  last?: number;
  live?: number;
  items?: number;
  holds?: boolean;
}

/** One time that a body runs: its steps stand in the table from `base` on, in the order of the plan. JSON. */
export interface Frame {
  body: number;
  base: number;
  /** The step it belongs to; -1 for the run itself. */
  owner: number;
  /** Of the owner. */
  attempt: number;
  /** Which iteration, or which item. */
  index: number;
  /** The frame of the same owner and attempt before it; -1 for none. */
  previous: number;
  /** How many of its steps have not ended. */
  open: number;
  isDone?: true;
  /** Nothing more of it starts; `failure` says why, where it was not cancelled. */
  isClosing?: true;
  failure?: Failure;
}

export type RunPhase = "running" | "stopping" | "completed" | "failed" | "cancelled";

/** What is to be done after an event. */
export interface Commands {
  decide: Attempt[];
  start: Attempt[];
  cancel: Attempt[];
  timers: (Timer & { afterMs: number })[];
  /** Steps that ended without a worker, or have changed for good: to be shown, and their outputs kept. */
  ended: EndedStep[];
}

export interface EndedStep {
  step: number;
  status: "completed" | "failed" | "skipped" | "cancelled";
  reason?: SkipReason;
  failure?: Failure;
}

/** The memory of a run. JSON. */
export interface WorkflowContext {
  plan: Plan;
  phase: RunPhase;
  /** Why the run failed: the first cause. */
  failure: Failure | null;
  steps: Table<StepState>;
  frames: Table<Frame>;
  /** Steps that wait for a person. */
  asking: number;
  /** Steps that failed for good. */
  failed: number;
  /** What the last event asks for. */
  commands: Commands;
}

export interface WorkflowInput {
  plan: Plan;
}

export const noCommands = (): Commands => ({
  decide: [],
  start: [],
  cancel: [],
  timers: [],
  ended: [],
});

export const isEmpty = ({ decide, start, cancel, timers, ended }: Commands): boolean =>
  decide.length + start.length + cancel.length + timers.length + ended.length === 0;

export const emptyContext = (plan: Plan): WorkflowContext => ({
  plan,
  phase: "running",
  failure: null,
  steps: emptyTable,
  frames: emptyTable,
  asking: 0,
  failed: 0,
  commands: noCommands(),
});

/** A step's state, its frame and what the plan says of it. */
export function stepAt(
  { plan, steps, frames }: Pick<WorkflowContext, "plan" | "steps" | "frames">,
  step: number,
): { state: StepState; frame: Frame; node: PlanNode } | null {
  const state = itemAt(steps, step);
  const frame = state === undefined ? undefined : itemAt(frames, state.frame);
  const node = frame === undefined ? undefined : plan.bodies[frame.body]?.nodes[step - frame.base];
  return state && frame && node ? { state, frame, node } : null;
}

/** A step's name in its run: `read_files[2]/select`, with `#2` after a step made of others that is tried again. */
export function stepPath(context: WorkflowContext, step: number): string {
  const names: string[] = [];
  let found = stepAt(context, step);
  let above = "";
  while (found !== null) {
    const { frame, node } = found;
    names.unshift(`${node.id}${above}`);
    const owner = stepAt(context, frame.owner);
    if (owner === null) break;
    const isRepeated = owner.node.type === "loop" || owner.node.isForEach;
    const again = frame.attempt > 1 ? `#${frame.attempt}` : "";
    above = `${again}${isRepeated ? `[${frame.index}]` : ""}`;
    found = owner;
  }
  return names.join("/");
}
