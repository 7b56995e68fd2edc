import { context as openTelemetry } from "@opentelemetry/api";
import type { ActorRefFrom, AnyActorRef } from "xstate";
import { terminal } from "../../machines/contracts/domain/failure.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { StepEvent } from "../../machines/step/events.ts";
import type { ControlPlane } from "../../machines/contracts/ports/control-plane.ts";
import type { StepContext, StepLimits } from "../../machines/step/context.ts";
import { compile } from "../../machines/compile.ts";
import type { Activity } from "../../machines/step/activities.ts";
import { stepMachine } from "../../machines/step/machine.ts";
import { type Bulkheads, execute } from "./execute.ts";
import type { StepHandler } from "../handlers/handler.ts";
import type { RuntimeOptions } from "../options.ts";
import type { RuntimePorts } from "../ports.ts";
import type { RunLooks } from "../run-looks.ts";
import { pause } from "../sources/periodic.ts";
import { patientPorts } from "../patient-ports.ts";
import { DeadlinePassed, Drained, type TroubleWatch } from "../trouble.ts";
import { StoreError } from "../../machines/contracts/domain/errors.ts";
import {
  LeaseLost,
  StepActor,
  type StepSession,
  settlePendingWork,
  retryStamp,
  type StepActivity,
  type ActivityScope,
} from "./session.ts";
import type { StepType } from "../../machines/contracts/domain/job.ts";
import { inertSpan } from "../tracing.ts";
import type { OngoingActivity } from "./ongoing-activity.ts";
import { backOff, park } from "./park.ts";
import { checkPolicy } from "./policy.ts";
import { deliver, record, settle } from "./report.ts";
import { due, load } from "./pending.ts";
import { readDecision, requestApproval } from "./approval.ts";
import { validate } from "./validate.ts";

/** What the chart's names are bound to. */
export interface Binding {
  ports: RuntimePorts;
  options: RuntimeOptions;
  handlers: Record<StepType, StepHandler>;
  bulkheads: Bulkheads;
  trouble: TroubleWatch;
  runs: RunLooks;
  /** Keeps work that may outlast its step from being cut off by the end of the worker. */
  track: (work: Promise<unknown>) => void;
}

/** What a write under way may take before the job is released regardless. */
const lastWriteMs = 500;
/** How long a release is tried again while the store is away; then the lease runs out, and the delivery counts. */
const releaseForMs = 10_000;
/** How often work whose state knows no failure is begun again after an error that nobody expected. */
const maxFaults = 5;

/** What one activity works with. What only some activities need is made when it is first read. */
class Scope implements ActivityScope {
  readonly controlPlane: ControlPlane;
  readonly runs: RunLooks;
  readonly trouble: TroubleWatch;
  readonly options: RuntimeOptions;
  readonly ports: RuntimePorts;
  readonly session: StepSession;
  readonly context: StepContext;
  readonly actor: StepActor;
  readonly ongoing: OngoingActivity;

  constructor(
    { ports, options, runs, trouble }: Binding,
    session: StepSession,
    context: StepContext,
    actor: StepActor,
    ongoing: OngoingActivity,
  ) {
    this.controlPlane = ports.controlPlane;
    this.runs = runs;
    this.trouble = trouble;
    this.options = options;
    this.session = session;
    this.context = context;
    this.actor = actor;
    this.ongoing = ongoing;
    this.ports = patientPorts(ports, trouble, this);
  }

  get signal(): AbortSignal {
    return this.ongoing.signal;
  }

  get drained(): AbortSignal {
    return this.session.drained;
  }

  get limits(): StepLimits {
    return this.options.limits;
  }

  onWait(isWaiting: boolean): void {
    this.session.waits(isWaiting, this.ports.clock.monotonic());
  }

  /** Once there is a result only its delivery remains, and a step never opened has nothing to be timed. */
  until(): number | null {
    const { context, session, options } = this;
    if (context.result !== null || !session.isOpened) return null;
    const { total } = due(session.job, options);
    // The deadline is in the store's time, and the wait goes by this worker's clock.
    return total === null ? null : total - session.storeAheadMs;
  }

  persist = (): unknown => this.actor.getPersistedSnapshot?.();
}

type ActionArgs = { self: AnyActorRef; context: StepContext };

/**
 * The production chart with real work behind its names. Each state's work runs outside the transition that
 * asked for it, under a signal of its own; what came of it is sent back as an event, unless the state was left.
 */
export function bindStep(binding: Binding) {
  const { ports, options, handlers, bulkheads } = binding;
  const sessionOf = (self: AnyActorRef): StepSession => {
    if (!(self instanceof StepActor))
      throw new Error(`step actor ${self.id} has no session: only the spawner makes them`);
    return self.session;
  };

  const runActivity =
    (work: StepActivity, { reachesOut = false } = {}) =>
    ({ self, context }: ActionArgs): void => {
      const session = sessionOf(self);
      const scope = new Scope(binding, session, context, self as StepActor, session.begin());
      const run = () => perform(work, scope, scope.actor);
      const { span } = session;
      // A trace that is not sampled is carried along only where others are to know that it is not.
      const isCarried = reachesOut ? span !== inertSpan : span.isRecording();
      session.track(isCarried ? openTelemetry.with(session.traceContext, run) : run());
    };
  /** Work in which a neighbour or a user's own code takes the trace on. */
  const reachOut = (work: StepActivity) => runActivity(work, { reachesOut: true });

  const bound: Record<Activity, (args: ActionArgs) => void> = {
    load: runActivity(load),
    checkPolicy: reachOut(checkPolicy),
    requestApproval: runActivity(requestApproval),
    readDecision: runActivity(readDecision),
    execute: reachOut(execute(handlers, bulkheads)),
    validate: runActivity(validate),
    record: runActivity(record),
    deliver: reachOut(deliver),
    settle: runActivity(settle),
    park: runActivity(park),
    backOff: runActivity(backOff),
    release: ({ self }) => {
      const session = sessionOf(self);
      // A journal entry under way still belongs to this session: released before it, it would be refused.
      const last = settlePendingWork(session, ports.clock, lastWriteMs);
      const released = last.then(() => releaseEntry(ports, session));
      session.track(released);
      binding.track(released);
    },
  };
  const abort = ({ self }: ActionArgs) => sessionOf(self).abort();
  const machine = stepMachine.provide({ actions: { ...bound, abort } });
  return options.chart === "interpreted" ? machine : compile(machine);
}

/** Gives the job back, uncounted; tried again while the store is away. */
async function releaseEntry(
  { queue, clock }: Pick<RuntimePorts, "queue" | "clock">,
  session: StepSession,
): Promise<void> {
  const giveUpAt = clock.monotonic() + releaseForMs;
  for (let tries = 1; ; tries += 1) {
    try {
      await queue.release([session.delivery.entryId]);
      return;
    } catch (error) {
      if (clock.monotonic() >= giveUpAt) {
        const text = "the job was not released: it comes again when its lease runs out";
        session.log.warn({ err: error }, text);
        return;
      }
      const delay = Math.min(50 * 2 ** tries, 1_000);
      await pause(clock, delay, new AbortController().signal);
    }
  }
}

async function perform(work: StepActivity, scope: Scope, actor: StepActor): Promise<void> {
  const { ongoing } = scope;
  // The transition that asked for this work must be over before its outcome arrives.
  await Promise.resolve();
  for (let faults = 1; !ongoing.isAborted; faults += 1) {
    try {
      const event = await work(scope);
      if (ongoing.isAborted) return;
      ongoing.isOver = isPlainlyOver(event) || isOursAlone(event, scope);
      actor.send(event);
      return;
    } catch (error) {
      if (ongoing.isAborted) return;
      const event = toEvent(scope, actor, error, faults);
      if (event !== null) {
        actor.send(event);
        return;
      }
      await pause(scope.ports.clock, 100 * 2 ** faults, scope.signal);
    }
  }
}

/**
 * Whether nothing of the work that ended so can still be listening to its signal. A handler is its author's, and at a
 * deadline it is still at work: whatever it left behind is told that the state is over.
 */
const isPlainlyOver = ({ type }: StepEvent): boolean =>
  /^(?:record|policy|output|result|delivery|step)\./u.test(type);

/** Whether a handler of ours ended that leaves nothing behind it: a retriever's searches end with it. */
const isOursAlone = (
  { type }: StepEvent,
  { context: { job }, options: { handlers } }: ActivityScope,
): boolean =>
  type === "execution.completed" &&
  job?.stepType === "retrieval" &&
  handlers?.retrieval === undefined;

/**
 * What a thrown error becomes. One that nobody expected is the step's failure where its state knows one; elsewhere
 * the work is begun again a few times (null), and then counts as the store's refusal of this step, which ends in
 * the dead letters.
 */
function toEvent(
  scope: ActivityScope,
  actor: ActorRefFrom<typeof stepMachine>,
  error: unknown,
  faults: number,
): StepEvent | null {
  const { session } = scope;
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof LeaseLost) {
    session.endedBy = message;
    return { type: "lease.lost" };
  }
  if (error instanceof Drained) {
    session.endedBy = `the worker drains while the step waits: ${message}`;
    return { type: "release.requested" };
  }
  if (error instanceof DeadlinePassed) return { type: "deadline.reached", which: "total" };
  if (error instanceof StoreError) {
    session.log.warn({ err: error }, "the store can't keep this step");
    const failure = terminal("refused", cutText(`the store can't keep this step: ${message}`, 500));
    return { type: "store.failed", failure };
  }
  session.log.error({ err: error }, "a step's work failed unexpectedly");
  const failure = terminal("internal", cutText(`unexpected: ${message}`, 500));
  const { costly } = scope.context;
  const failed: StepEvent = {
    type: "activity.failed",
    failure,
    costly,
    ...retryStamp(scope.ports),
  };
  if (actor.getSnapshot().can(failed)) return failed;
  return faults < maxFaults ? null : { type: "store.failed", failure };
}
