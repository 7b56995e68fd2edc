import { initialTransition, transition } from "xstate";
import {
  decideStep,
  namesIn,
  saysDone,
  seenOutput,
  stepRequest,
} from "../../adapters/workflows/step-request.ts";
import { compile } from "../../machines/compile.ts";
import type { Failure } from "../../machines/contracts/domain/failure.ts";
import type { Json } from "../../machines/contracts/domain/json.ts";
import type { StepRequest } from "../../machines/contracts/ports/workflow-engine.ts";
import type { WorkflowDefinition } from "../../machines/contracts/domain/workflow.ts";
import { outstanding } from "../../machines/workflow/advance.ts";
import { stepAt, stepPath, type WorkflowContext } from "../../machines/workflow/context.ts";
import type { Attempt, WorkflowEvent } from "../../machines/workflow/events.ts";
import { workflowMachine } from "../../machines/workflow/machine.ts";
import { planWorkflow } from "../../machines/workflow/plan.ts";
import { restoreRun, saveRun, type WorkflowSnapshot } from "../../machines/workflow/saved.ts";
import { outputOf, type Outputs, scopeOf, shownTo } from "../../machines/workflow/scope.ts";

const logic = compile(workflowMachine);

/** How a worker answers one attempt at a step: null for not at all, before the run has ended otherwise. */
export type Answer =
  | { output: Json }
  | { failure: Failure }
  | { isRejected: true }
  | { isSilent: true };

export interface Walk {
  snapshot: WorkflowSnapshot;
  /** What workers were asked to do, by the step's path and attempt, in order. */
  asked: { path: string; attempt: number; work: StepRequest }[];
  /** Steps that ended, by path: the status, with the reason of a skip. */
  ends: Record<string, string>;
  output(path: string): Json | undefined;
  events: number;
}

/**
 * Walks a workflow to its end, answering each step by a script: what a control plane does with the machine, with a
 * store in memory and all timers at once. With `diesAfter`, the process dies after that many events.
 */
export function walkWorkflow(
  definition: WorkflowDefinition,
  input: Json,
  script: (path: string, work: StepRequest, attempt: number) => Answer,
  {
    diesAfter = -1,
    onlyArgument = () => null,
  }: { diesAfter?: number; onlyArgument?: (tool: string) => string | null } = {},
): Walk {
  const plan = planWorkflow(definition);
  let [snapshot] = initialTransition(logic, { plan });
  const outputs = new Map<number, Json>();
  const inputs = new Map<number, Json>([[-1, input]]);
  const lists = new Map<number, readonly Json[]>();
  const store: Outputs = {
    output: (step) => outputs.get(step),
    input: (owner) => inputs.get(owner) ?? {},
    items: (owner) => lists.get(owner) ?? [],
  };
  const asked: Walk["asked"] = [];
  const ends: Walk["ends"] = {};
  const queue: WorkflowEvent[] = [];
  let events = 0;

  const scope = (context: WorkflowContext, step: number, names: readonly string[]) =>
    scopeOf(context, step, names, store);

  const decide = (context: WorkflowContext, at: Attempt): WorkflowEvent => {
    const { node } = stepAt(context, at.step) ?? {};
    if (node === undefined) throw new Error("no such step");
    const made = decideStep(node.definition, scope(context, at.step, namesIn(node.definition)));
    if (!made.ok) return { type: "step.failed", ...at, failure: made.failure };
    const { items, input: given, ...decision } = made.value;
    if (given !== undefined) inputs.set(at.step, given);
    if (items !== undefined) lists.set(at.step, items);
    return {
      type: "step.decided",
      ...at,
      decision: { ...decision, ...(items ? { items: items.length } : {}) },
    };
  };

  const start = (context: WorkflowContext, at: Attempt): WorkflowEvent[] => {
    const { node } = stepAt(context, at.step) ?? {};
    if (node === undefined) throw new Error("no such step");
    const seen = scope(context, at.step, namesIn(node.definition));
    const shown = scope(context, at.step, shownTo(context, at.step));
    const work = stepRequest(node.definition, seen, shown, onlyArgument);
    if (!work.ok) return [{ type: "step.failed", ...at, failure: work.failure }];
    const path = stepPath(context, at.step);
    const answer = script(path, work.value, at.attempt);
    asked.push({ path, attempt: at.attempt, work: work.value });
    const asks: WorkflowEvent[] =
      work.value.asks === null ? [] : [{ type: "approval.requested", ...at }];
    if ("isSilent" in answer) return asks;
    if ("isRejected" in answer) return [...asks, { type: "approval.rejected", ...at }];
    if (asks.length > 0) asks.push({ type: "approval.granted", ...at });
    if ("failure" in answer)
      return [...asks, { type: "step.failed", ...at, failure: answer.failure }];
    const output = seenOutput(node.definition, answer.output);
    outputs.set(at.step, output);
    return [...asks, { type: "step.completed", ...at, isDone: saysDone(output) }];
  };

  const carryOut = ({ context }: WorkflowSnapshot, commands = context.commands): void => {
    for (const { step, status, reason } of commands.ended) {
      ends[stepPath(context, step)] = reason === undefined ? status : `${status} (${reason})`;
      const made = status === "completed" ? outputOf(context, step, store) : undefined;
      if (made !== undefined) outputs.set(step, made);
    }
    queue.push(...commands.decide.map((at) => decide(context, at)));
    queue.push(...commands.start.flatMap((at) => start(context, at)));
    queue.push(...commands.cancel.map((at): WorkflowEvent => ({ type: "step.cancelled", ...at })));
    const retries = commands.timers.filter(({ kind }) => kind === "retry");
    queue.push(
      ...retries.map(({ afterMs: _, ...timer }): WorkflowEvent => ({ type: "timer.fired", timer })),
    );
  };

  carryOut(snapshot);
  while (snapshot.status === "active") {
    if (events === diesAfter) {
      const restored = restoreRun(plan, JSON.parse(JSON.stringify(saveRun(snapshot))));
      if (!restored.ok) throw new Error(restored.failure.message);
      snapshot = restored.value;
      queue.length = 0;
      events += 1;
      carryOut(snapshot, outstanding(snapshot.context));
    }
    // Nothing more comes by itself: what has a time-out runs into it.
    const late = outstanding(snapshot.context).timers.find(({ kind }) => kind === "timeout");
    const timer = late === undefined ? null : { ...late };
    const event =
      queue.shift() ?? (timer === null ? null : ({ type: "timer.fired", timer } as const));
    if (event === null) throw new Error("the run waits for nothing, and has not ended");
    [snapshot] = transition(logic, snapshot, event);
    events += 1;
    carryOut(snapshot);
  }
  const output = (path: string): Json | undefined => {
    for (let step = 0; step < snapshot.context.steps.size; step += 1) {
      if (stepPath(snapshot.context, step) === path) return outputs.get(step);
    }
    return undefined;
  };
  return { snapshot, asked, ends, output, events };
}
