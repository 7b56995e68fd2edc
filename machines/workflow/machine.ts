import { assign, setup } from "xstate";
import { advance, beginRun } from "./advance.ts";
import type { RunPhase, WorkflowContext, WorkflowInput } from "./context.ts";
import type { WorkflowEvent } from "./events.ts";

/**
 * The work that the chart asks for, in this order after each event; what each is given stands in `context.commands`.
 * All of it is known by step and attempt, and may be done twice.
 */
export const workflowActivities = [
  /** Keeps how steps ended, and what steps made of others bring. */
  "recordSteps",
  /** Looks at earlier results; answers `step.decided` or `step.failed`. */
  "decideSteps",
  /** Puts steps on the stream; answers `step.completed`, `step.failed` or `approval.*`. */
  "startSteps",
  /** Tells steps to stop; answers `step.cancelled`, or how they ended before they heard. */
  "cancelSteps",
  /** Sets timers; answers `timer.fired`. */
  "setTimers",
] as const;
export type WorkflowActivity = (typeof workflowActivities)[number];

/** Stand-ins: the chart itself does nothing. */
const unbound = Object.fromEntries(
  [...workflowActivities, "endRun"].map((activity) => [activity, () => {}]),
) as Record<WorkflowActivity | "endRun", () => void>;

interface Args {
  context: WorkflowContext;
  event: WorkflowEvent;
}

/** What the last event did to a context: worked out once for the guards and the change. */
const known = new WeakMap<WorkflowContext, { event: WorkflowEvent; after: WorkflowContext }>();

function after({ context, event }: Args): WorkflowContext {
  const last = known.get(context);
  if (last?.event === event) return last.after;
  const made = advance(context, event);
  known.set(context, { event, after: made });
  return made;
}

const leadsTo = (phase: RunPhase) => (args: Args) => after(args).phase === phase;
const work = ["apply", ...workflowActivities] as const;
const to = {
  completed: { guard: "completes", target: "completed", actions: work },
  failed: { guard: "fails", target: "failed", actions: work },
  cancelled: { guard: "cancels", target: "cancelled", actions: work },
  stopping: { guard: "stops", target: "stopping", actions: work },
} as const;
const whileRunning = [{ guard: "goesOn", actions: work }, ...Object.values(to)] as const;
const whileStopping = [{ guard: "stops", actions: work }, to.failed, to.cancelled] as const;

/** The same for every event: what it means is said by the step that it is about. */
const onEach = <Transitions>(all: Transitions) => ({
  "step.decided": all,
  "step.completed": all,
  "step.failed": all,
  "step.cancelled": all,
  "approval.requested": all,
  "approval.granted": all,
  "approval.rejected": all,
  "approval.expired": all,
  "timer.fired": all,
  "cancel.requested": all,
});

/**
 * One run of a workflow. The steps, their order and all that is decided about them is data (turn.ts says what an event
 * does to it); the chart says what has become of the run as a whole. It is pure: it puts nothing on a stream and sets
 * no timer, but names the work, and what came of it returns as an event. Whoever has its snapshot, or its events in
 * their order, has the run.
 */
export const workflowMachine = setup({
  types: {
    context: {} as WorkflowContext,
    events: {} as WorkflowEvent,
    input: {} as WorkflowInput,
  },
  actions: { ...unbound, apply: assign(after) },
  guards: {
    goesOn: leadsTo("running"),
    stops: leadsTo("stopping"),
    completes: leadsTo("completed"),
    fails: leadsTo("failed"),
    cancels: leadsTo("cancelled"),
  },
}).createMachine({
  id: "workflow",
  context: ({ input }) => beginRun(input.plan),
  initial: "running",
  states: {
    running: {
      description: "Steps run, or wait for others, for people or for their next attempt.",
      entry: [...workflowActivities],
      on: onEach(whileRunning),
    },
    stopping: {
      description: "A step failed, or the run was cancelled: what still runs was told to stop.",
      on: onEach(whileStopping),
    },
    completed: { type: "final", entry: "endRun", description: "All steps have ended." },
    failed: {
      type: "final",
      entry: "endRun",
      description: "A step failed for good, and the run with it.",
    },
    cancelled: { type: "final", entry: "endRun", description: "The run was cancelled." },
  },
});
