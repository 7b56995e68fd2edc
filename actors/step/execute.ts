import type { Job } from "../../machines/contracts/job.ts";
import type { StepType } from "../../machines/contracts/step-type.ts";
import type { StepEvent } from "../../machines/step/events.ts";
import type { Bulkheads } from "../bulkheads.ts";
import type { StepHandler, Work } from "../handlers/handler.ts";
import { due } from "./due.ts";
import { permission } from "./permission.ts";
import { effectRunner } from "./run-effect.ts";
import { occasion, type StepWork, type WorkScope } from "./work.ts";

/** Runs the step type's handler within its bulkhead and its deadline. */
export function execute(handlers: Record<StepType, StepHandler>, bulkheads: Bulkheads): StepWork {
  return async (scope) => {
    const { job } = scope.context;
    if (job === null) throw new Error("a job without content reached executing");
    const leave = await bulkheads.enter(job.stepType, scope.signal);
    try {
      return await withinDeadline(scope, () => handle(scope, job, handlers[job.stepType]));
    } finally {
      leave();
    }
  };
}

async function handle(scope: WorkScope, job: Job, handler: StepHandler): Promise<StepEvent> {
  const { context, life, signal } = scope;
  const run = effectRunner(scope);
  let costly = context.costly;
  const work = await handler({
    job,
    signal,
    repairNote: context.repairNote,
    log: life.log,
    permission: (action) => permission(context, action),
    effect: (effect) => {
      costly ||= effect.repeat !== "free";
      return run(effect);
    },
  });
  return toEvent(scope, work, costly);
}

function toEvent({ ports }: WorkScope, work: Work, costly: boolean): StepEvent {
  switch (work.kind) {
    case "done":
      return { type: "executed", output: work.output, usage: work.usage ?? null, costly };
    case "asked":
      return { type: "asked", asks: work.asks };
    case "failed": {
      const { failure, usage = null } = work;
      return { type: "failed", failure, usage, costly, ...occasion(ports) };
    }
  }
}

/** The work, or the deadline that came first; then the state is left and the work aborted. */
async function withinDeadline(
  { ports, options, life }: WorkScope,
  work: () => Promise<StepEvent>,
): Promise<StepEvent> {
  const { executingMs } = options.deadlines;
  const { total } = due(life.job, options);
  const left = total === null ? executingMs : Math.min(executingMs, total - ports.clock.now());
  const which = left < executingMs ? "total" : "executing";
  if (left <= 0) return { type: "deadline", which };
  const { promise, resolve } = Promise.withResolvers<StepEvent>();
  const callOff = ports.clock.timer(left, () => resolve({ type: "deadline", which }));
  try {
    const working = work();
    life.trail(working);
    return await Promise.race([working, promise]);
  } finally {
    callOff();
  }
}
