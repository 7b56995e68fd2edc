import { BoxedMap } from "../../machines/contracts/domain/boxed-map.ts";
import type { Job, StepType } from "../../machines/contracts/domain/job.ts";
import type { StepEvent } from "../../machines/step/events.ts";
import type { StepHandler, StepScope, HandlerResult } from "../handlers/handler.ts";
import { usageOfFailure } from "../../machines/contracts/domain/step-result.ts";
import type { ModelPart } from "../../machines/contracts/ports/model-provider.ts";
import { withEdit } from "./approvals.ts";
import { StepBudget } from "./budget.ts";
import { due } from "./pending.ts";
import { confirmPermission, permission, withdrawn } from "./policy.ts";
import { effectRunner } from "./effects.ts";
import { screenOf } from "./screening.ts";
import { retryStamp, type StepActivity, storeNow, type ActivityScope } from "./session.ts";

/** Runs the step type's handler within its bulkhead and its deadline, if it may still be done when its turn comes. */
export function execute(
  handlers: Record<StepType, StepHandler>,
  bulkheads: Bulkheads,
): StepActivity {
  return async (scope) => {
    const { job } = scope.context;
    if (job === null) throw new Error("a job without content reached executing");
    const { session, ports } = scope;
    const leave = await bulkheads.enter(job.stepType, scope.signal, () => {
      session.beginStretch(ports.clock.monotonic());
    });
    try {
      const refused = await confirmPermission(scope, job);
      if (refused !== null) return refused;
      return await withinDeadline(scope, () => handle(scope, job, handlers[job.stepType]));
    } finally {
      leave();
      // Whatever comes next of this step's work comes after a wait: a back-off, a repair, a person's answer.
      session.beginStretch(ports.clock.monotonic());
    }
  };
}

async function handle(scope: ActivityScope, job: Job, handler: StepHandler): Promise<StepEvent> {
  const { context, session, signal } = scope;
  let hasProgressed = false;
  const teller = partTeller(scope);
  const occurrences = new Map<string, number>();
  const run = effectRunner(
    scope,
    (action) => withdrawn(scope, job, action, occurrences),
    () => {
      hasProgressed = true;
      teller.kept();
    },
  );
  let costly = context.costly;
  const budget = new StepBudget(scope, job);
  const result = await handler({
    job,
    signal,
    repairNote: context.repairNote,
    repairAnswer: context.repairAnswer,
    repairs: context.repairs,
    isLastAttempt: context.attempts + 1 >= context.limits.maxAttempts,
    log: session.log,
    screening: { ...scope.options.screening, ...screenOf(scope) },
    budget,
    ...(teller.onPart === undefined ? {} : { onPart: teller.onPart }),
    permission: (action) => permission(scope, job, action, occurrences),
    brought: (texts) => {
      session.brought = texts;
    },
    edited: (action) => withEdit(context, action),
    recall: (key) => session.journal.recall(key),
    effect: (effect) => {
      costly ||= effect.repeat !== "free";
      session.hasSpent ||= costly;
      return run(effect);
    },
  });
  await budget.settleOwed(signal);
  if (result.kind === "failed") await teller.broken();
  if (result.kind !== "asked") session.hasWorked = true;
  return toEvent(scope, result, { costly, hasProgressed });
}

interface PartTeller extends Pick<StepScope, "onPart"> {
  /** The answer that was told is in the journal. */
  kept(): void;
  /** What was told of an answer is void. */
  broken(): Promise<void>;
}

/** Tells the worker's listener of each part of an answer; its faults are not the step's. */
function partTeller({ options, session }: ActivityScope): PartTeller {
  const { onModelPart } = options;
  if (onModelPart === undefined) return { kept: () => {}, broken: async () => {} };
  const { runId, stepId } = session.key;
  /** Whether anything was told of an answer that the journal does not have. */
  let hasTold = false;
  const onPart = async (part: ModelPart): Promise<void> => {
    hasTold = part.type === "text" || part.type === "arguments";
    try {
      await onModelPart({ runId, stepId, part });
    } catch (err) {
      session.log.warn({ err }, "a listener to models' answers failed");
    }
  };
  return {
    onPart,
    kept: () => {
      hasTold = false;
    },
    broken: async () => (hasTold ? onPart({ type: "broken" }) : undefined),
  };
}

function toEvent(
  { ports }: ActivityScope,
  result: HandlerResult,
  { costly, hasProgressed }: { costly: boolean; hasProgressed: boolean },
): StepEvent {
  switch (result.kind) {
    case "done":
      return {
        type: "execution.completed",
        output: result.output,
        usage: result.usage ?? null,
        costly,
      };
    case "asked":
      return { type: "approval.needed", asks: result.asks };
    case "failed": {
      // Of a failed model call what it used in vain is in its failure.
      const { failure, output, usage = usageOfFailure(result.failure) } = result;
      return {
        type: "activity.failed",
        failure,
        ...(output === undefined ? {} : { output }),
        usage,
        costly,
        ...(hasProgressed ? { hasProgressed } : {}),
        ...retryStamp(ports),
      };
    }
  }
}

/** What an answer that is already there may take to be read. */
const lateMs = 10;

/** The work, or the deadline that came first; then the state is left and the work aborted. */
async function withinDeadline(
  { ports, options, session }: ActivityScope,
  work: () => Promise<StepEvent>,
): Promise<StepEvent> {
  const { executingMs } = options.deadlines;
  const { total } = due(session.job, options);
  const left =
    total === null ? executingMs : Math.min(executingMs, total - storeNow({ ports, session }));
  const which = left < executingMs ? "total" : "executing";
  if (left <= 0) return { type: "deadline.reached", which };
  const { promise, resolve } = Promise.withResolvers<StepEvent>();
  const { clock } = ports;
  const waitedBefore = session.waitedMs(clock.monotonic());
  let allowed = 0;
  const arm = (ms: number): (() => void) =>
    clock.timer(ms, () => {
      // What was spent waiting for a neighbour's trouble to pass is no time of the work's own.
      const waited = session.waitedMs(clock.monotonic()) - waitedBefore;
      const more = which === "executing" ? waited - allowed : 0;
      allowed = waited;
      // A process that was paused sees its timers before the answers that came meanwhile: those are read first.
      cancelTimer =
        more >= 1
          ? arm(more)
          : clock.timer(lateMs, () => resolve({ type: "deadline.reached", which }));
    });
  let cancelTimer = arm(left);
  try {
    const working = work();
    session.track(working);
    return await Promise.race([working, promise]);
  } finally {
    cancelTimer();
  }
}

/**
 * Keeps one step type from taking every hand: at most so many of it execute at once, the rest wait in order. It is code
 * of ours because the libraries that limit so run a function: none lends a place to be given back later, and lets a
 * waiting caller leave the queue as soon as it is aborted.
 */
export class Bulkheads {
  readonly #limits: Partial<Record<StepType, number>>;
  readonly #inside = new Map<StepType, number>();
  readonly #queues = new Map<StepType, BoxedMap<number, () => void>>();
  #waited = 0;

  constructor(limits: Partial<Record<StepType, number>>) {
    this.#limits = limits;
  }

  /**
   * Waits for a place.
   *
   * @param onWaited called where there was none at once, when there is one
   * @returns the function that gives it back
   * @throws the signal's reason when aborted while waiting
   */
  async enter(
    stepType: StepType,
    signal: AbortSignal,
    onWaited: () => void = () => {},
  ): Promise<() => void> {
    signal.throwIfAborted();
    const limit = this.#limits[stepType];
    if (limit === undefined) return () => {};
    const inside = this.#inside.get(stepType) ?? 0;
    if (inside < limit) this.#inside.set(stepType, inside + 1);
    else {
      await this.#wait(stepType, signal);
      onWaited();
    }
    return () => this.#leave(stepType);
  }

  #wait(stepType: StepType, signal: AbortSignal): Promise<void> {
    const queue = this.#queues.get(stepType) ?? new BoxedMap();
    this.#queues.set(stepType, queue);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const id = (this.#waited += 1);
    const onAbort = () => {
      queue.delete(id);
      reject(signal.reason);
    };
    const admit = () => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    };
    queue.set(id, admit);
    signal.addEventListener("abort", onAbort, { once: true });
    return promise;
  }

  /** A place given back goes to whoever waited longest. */
  #leave(stepType: StepType): void {
    const queue = this.#queues.get(stepType);
    const [next] = queue ?? [];
    if (next === undefined) {
      this.#inside.set(stepType, (this.#inside.get(stepType) ?? 1) - 1);
      return;
    }
    const [id, admit] = next;
    queue?.delete(id);
    admit();
  }
}
