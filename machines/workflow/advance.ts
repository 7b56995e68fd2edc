import { type Failure, terminal } from "../contracts/domain/failure.ts";
import { type Commands, emptyContext, noCommands, type WorkflowContext } from "./context.ts";
import type { Attempt, WorkflowEvent } from "./events.ts";
import { isContainer, type Plan } from "./plan.ts";
import { retryDelayMs } from "./retry.ts";
import { itemAt } from "./table.ts";
import { Turn } from "./turn.ts";

/** A run before its first event, with what is to be done first. */
export function beginRun(plan: Plan): WorkflowContext {
  const turn = new Turn(emptyContext(plan));
  turn.openFrame(0, -1, 0, -1, 1);
  return turn.finish();
}

/** The run after an event; the very same when the event changes nothing and the last one asked for nothing. */
export function advance(context: WorkflowContext, event: WorkflowEvent): WorkflowContext {
  const turn = new Turn(context);
  if (context.phase === "running" || context.phase === "stopping") take(turn, event);
  return turn.finish();
}

function take(turn: Turn, event: WorkflowEvent): void {
  if (event.type === "cancel.requested") return turn.close(0, null);
  if (event.type === "timer.fired") return turn.fire(event.timer);
  const { step } = event;
  const found = turn.find(step);
  if (found === null || found.state.attempt !== event.attempt) return;
  const { status } = found.state;
  const isUnderWay = status === "running" || status === "asking";
  switch (event.type) {
    case "step.decided":
      if (status === "deciding") turn.decided(step, event.decision);
      return;
    case "approval.requested":
      if (status === "running") turn.asked(step);
      return;
    case "approval.granted":
      if (status === "asking") turn.granted(step);
      return;
    case "step.completed":
      if (status === "stopping") turn.stopped(step);
      else if (isUnderWay) turn.completed(step, event.isDone === true);
      return;
    default:
      if (status === "stopping") turn.stopped(step);
      else if (isUnderWay || (status === "deciding" && event.type === "step.failed"))
        turn.fail(step, failureOf(event));
  }
}

type Failing = Extract<
  WorkflowEvent,
  { type: "step.failed" | "step.cancelled" | "approval.rejected" | "approval.expired" }
>;

function failureOf(event: Failing): Failure {
  switch (event.type) {
    case "step.failed":
      return event.failure;
    case "step.cancelled":
      return terminal("cancelled", "the step was cancelled");
    case "approval.rejected":
      return terminal("approval_rejected", "a person said no");
    case "approval.expired":
      return terminal("approval_expired", "nobody answered in time");
  }
}

/**
 * What a run has asked for and not heard of: to be done again by whoever takes the run over. All of it may be under way
 * already, and is known by step and attempt.
 */
export function outstanding(context: WorkflowContext): Commands {
  const commands = noCommands();
  const { steps, frames, plan } = context;
  if (context.phase !== "running" && context.phase !== "stopping") return commands;
  for (let step = 0; step < steps.size; step += 1) {
    const state = itemAt(steps, step);
    const frame = itemAt(frames, state?.frame ?? -1);
    if (state === undefined || frame === undefined) continue;
    const node = plan.bodies[frame.body]?.nodes[step - frame.base];
    if (node === undefined) continue;
    const { status, attempt, serial } = state;
    const timer = { step, attempt, serial };
    const one: Attempt = { step, attempt };
    const isUnderWay = status === "running" || status === "asking";
    if (status === "deciding") commands.decide.push(one);
    if (isUnderWay) commands.start.push(one);
    if (status === "stopping" && !isContainer(node)) commands.cancel.push(one);
    if (status === "backing-off" && node.retry !== null) {
      const afterMs = retryDelayMs(node.retry, attempt);
      commands.timers.push({ kind: "retry", ...timer, afterMs });
    }
    const hasTime = isUnderWay || status === "open";
    const isPaused = status === "asking" && node.type !== "approval";
    if (hasTime && !isPaused && node.timeoutMs !== null)
      commands.timers.push({ kind: "timeout", ...timer, afterMs: node.timeoutMs });
  }
  return commands;
}
