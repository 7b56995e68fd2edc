import { type EventObject, fromCallback, type AnyActorRef } from "xstate";
import {
  INVALID_TRACEID,
  ROOT_CONTEXT,
  type Span,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import { parseJob, type Job } from "../../machines/contracts/domain/job.ts";
import type { Delivery } from "../../machines/contracts/ports/step-backend.ts";
import type { StepEnd, stepMachine } from "../../machines/step/machine.ts";
import type { SpawnerCommand, SupervisorEvent } from "../../machines/supervisor/machine.ts";
import { BoxedMap } from "../../machines/contracts/domain/boxed-map.ts";
import { settlePendingWork, StepActor, StepSession, topLevel } from "./session.ts";
import { type Failure, terminal } from "../../machines/contracts/domain/failure.ts";
import type { Clock, Log } from "../../machines/contracts/ports/clock.ts";
import { StoreError } from "../../machines/contracts/domain/errors.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { StepKey } from "../../machines/contracts/domain/record.ts";
import type { StepContext } from "../../machines/step/context.ts";
import type { StepEvent } from "../../machines/step/events.ts";
import { leastHoldMs } from "../../machines/step/rules.ts";
import type { RuntimeOptions, StepEndNotice, StepEventNotice } from "../options.ts";
import type { RuntimePorts } from "../ports.ts";
import type { RunLooks } from "../run-looks.ts";
import type { TroubleWatch } from "../trouble.ts";
import { inertSpan, isTracingOn, remoteContext } from "../tracing.ts";

/**
 * Creates the step actors with itself as their parent (one system, one inspection stream), observes how they
 * end, and tells the supervisor. No error of a step gets past it. Of every delivery exactly one of these comes:
 *
 *   can't be named, or taken up  kept as a dead letter at once, past any record; then `steps.ended`
 *   delivered far too often      the same: whatever was tried with its record did not end it
 *   else                         one step actor; when it has ended and its last work has settled, `steps.ended`,
 *                                or `step.crashed` when the actor itself threw
 *
 * How a session ends decides what becomes of its delivery:
 *
 *   settled, parked   acknowledged by the same move that wrote the end
 *   released          given back by us, uncounted: whoever claims next takes it at once
 *   abandoned         another worker has the job, or it is a duplicate: nothing is done about it here
 *   crashed           left to its lease: the only end beside a death of the process that counts as a delivery
 *
 * A job that comes again while its step is alive here has lost its lease: the earlier session is told, and only the
 * later one is in `alive` from then on, where the heartbeat finds it.
 */
export function spawner(worker: WorkerContext) {
  return fromCallback<SpawnerCommand, undefined>(({ receive, self, sendBack }) => {
    const tell = (event: SupervisorEvent) => sendBack(event as EventObject);
    let ended = 0;
    // Of the many that end in one turn of the loop the supervisor is told once.
    const tellEnded = () => {
      ended += 1;
      if (ended > 1) return;
      process.nextTick(() => {
        const count = ended;
        ended = 0;
        tell({ type: "steps.ended", count });
      });
    };
    const putAway = (delivery: Delivery, reason: string) => {
      worker.track(toDeadLetter(worker, delivery, reason).then(tellEnded));
    };
    const spawn = (delivery: Delivery) => {
      const parsed = parseJob(delivery.fields);
      const to = { parent: self, tell, tellEnded, delivery };
      if (parsed.valid) {
        const { job } = parsed;
        spawnStep(worker, { ...to, key: job, job, problem: null });
        return;
      }
      const { runId, stepId, failure } = parsed.invalid;
      if (runId === null || stepId === null) putAway(delivery, failure.message);
      else spawnStep(worker, { ...to, key: { runId, stepId }, job: null, problem: failure });
    };
    const admit = (delivery: Delivery) => {
      // Looked at before anything is read: what was delivered so often may be what ended those workers.
      if (delivery.deliveries > 2 * worker.options.maxDeliveries) {
        const reason = `delivered ${delivery.deliveries} times without an end, and neither a report nor its record ended it; an effect that was begun may have run`;
        putAway(delivery, reason);
        return;
      }
      try {
        spawn(delivery);
      } catch (error) {
        // Thrown on, it would end the supervisor and with it every step of this worker, and then of the next one.
        worker.ports.log.error(
          { err: error, entryId: delivery.entryId },
          "a job can't be taken up",
        );
        const message = error instanceof Error ? error.message : String(error);
        putAway(delivery, cutText(`the job can't be taken up: ${message}`, 500));
      }
    };
    receive((command) => {
      if (command.type === "steps.spawn") command.deliveries.forEach(admit);
      if (command.type === "drain.requested") {
        for (const step of worker.alive.values()) {
          step.tell({ type: "drain.requested" });
          // What waits for a neighbour gives up; what does not goes on.
          step.session.drain();
        }
      }
    });
    return () => {
      // XState refuses to stop an actor that has a parent; without its work it is silent anyway.
      for (const { session } of worker.alive.values()) {
        session.abort();
        const over = settlePendingWork(session, worker.ports.clock);
        worker.track(over.then(() => endSpan(session.span, "abandoned")));
      }
    };
  });
}

/** A job that can't even be named, or that nothing ends, is kept where a person can look at it. */
async function toDeadLetter(
  { ports }: WorkerContext,
  delivery: Delivery,
  reason: string,
): Promise<StepEnd> {
  const { entryId, fields, deliveries } = delivery;
  const letter = { fields, reason, stateHistory: ["pending"], snapshot: null, deliveries };
  ports.log.warn({ entryId, reason }, "the job becomes a dead letter without having been run");
  try {
    const at = ports.clock.now();
    return (await ports.queue.deadLetter(entryId, { ...letter, at })) ? "settled" : "abandoned";
  } catch (error) {
    ports.log.warn({ err: error, entryId }, "the dead letter was not kept; the job comes again");
    // Not a death of ours: the store's trouble must not count. The job's own is left to its lease: it would be back at
    // once, and again.
    const isOfTheJob = !(error instanceof StoreError) || error.trouble === "step";
    if (!isOfTheJob) await ports.queue.release([entryId]).catch(() => {});
    return "released";
  }
}

/** A step alive in this worker. */
export interface RunningStep {
  actor: StepActor;
  session: StepSession;
  /** Tells the step, unless it has already ended and only its last work is unwinding. */
  tell: (event: StepEvent) => void;
}

/** What the spawner and the sources share. */
export interface WorkerContext {
  ports: RuntimePorts;
  options: RuntimeOptions;
  /** The step chart with real work behind its names. */
  machine: typeof stepMachine;
  /** The steps alive, by entry id. */
  alive: BoxedMap<string, RunningStep>;
  trouble: TroubleWatch;
  runs: RunLooks;
  /** Work that must end before the store may be closed. */
  track: (work: Promise<unknown>) => void;
  log: (key: StepKey, traceId: string | null) => Log;
}

interface SpawnRequest {
  parent: AnyActorRef;
  tell: (event: SupervisorEvent) => void;
  /** Told once, when the step has ended and its last work has settled. */
  tellEnded: (how: StepEnd) => void;
  delivery: Delivery;
  key: StepKey;
  job: Job | null;
  problem: Failure | null;
}

const tracer = trace.getTracer("stateplane");

/** Creates one step actor, observes it, starts it. Its end is told once, after its last work has settled. */
export function spawnStep(worker: WorkerContext, request: SpawnRequest): void {
  const { options, ports, alive } = worker;
  const { delivery, job, tell, tellEnded } = request;
  const { runId, stepId } = request.key;
  const key = { runId, stepId };
  const span = startSpan(request);
  const traced = span === inertSpan ? null : span.spanContext().traceId;
  const log = worker.log(key, traced ?? job?.traceId ?? null);
  const leaseSeen = ports.clock.monotonic();
  const session = new StepSession({ key, job, delivery, log, span, leaseSeen });
  const problem = request.problem ?? deliveredTooOften(delivery, options);
  const actor = new StepActor(session, worker.machine, {
    id: stepId,
    parent: request.parent,
    input: { runId, stepId, job, problem, limits: options.limits },
  });
  // A job that comes again while its step is alive here has lost its lease: this worker took it from itself.
  const earlier = alive.get(delivery.entryId);
  if (earlier !== undefined) {
    earlier.session.endedBy = "this worker's own lease ran out, and it took the job again";
    earlier.tell({ type: "lease.lost" });
  }
  const own: RunningStep = {
    actor,
    session,
    tell: (event) => {
      if (actor.getSnapshot().status === "active") actor.send(event);
    },
  };
  alive.set(delivery.entryId, own);

  const notice = { runId, stepId, stepType: job?.stepType ?? null };
  let isTold = false;
  const end = (how: StepEnd | "crashed", tellOfIt: () => void) => {
    if (isTold) return;
    isTold = true;
    session.abort();
    const over = settlePendingWork(session, ports.clock).then(() => {
      // The entry may have a later session by now, whose lease must go on being renewed.
      if (alive.get(delivery.entryId) === own) alive.delete(delivery.entryId);
      endSpan(span, how);
      const { onStepEvent, onStepEnd } = options;
      if (onStepEvent !== undefined || onStepEnd !== undefined) {
        const now = ports.clock.monotonic();
        const told: StepEndNotice = {
          ...notice,
          actorId: actor.sessionId,
          kind: "ended",
          how,
          left: leftAt(session, now),
          tookMs: now - session.startedAt,
          deliveries: delivery.deliveries,
          stateHistory: session.stateHistory,
          snapshot: actor.getSnapshot(),
        };
        onStepEvent?.(told);
        onStepEnd?.(told);
      }
      tellOfIt();
    });
    worker.track(over);
  };
  // Subscribed before the start: an actor that errors unobserved throws in a later tick.
  actor.subscribe({
    next: (snapshot) => {
      const isNew = note(session, String(topLevel(snapshot.value)), worker, notice);
      if (isNew) keepLast(session.enteredAt, ports.clock.now());
    },
    complete: () => {
      const how = topLevel(actor.getSnapshot().value) as StepEnd;
      sayEnd(session, job, actor.getSnapshot().context, how, ports.clock);
      end(how, () => tellEnded(how));
    },
    error: (error) => {
      const message = error instanceof Error ? error.message : String(error);
      log.error({ err: error }, "step actor crashed; its job will be delivered again");
      worker.track(noteCrash(worker, session, message));
      end("crashed", () => tell({ type: "step.crashed", stepId, message }));
    },
  });
  actor.start();
}

/** The first cause, for the dead letter that this may become. */
async function noteCrash(
  { ports }: WorkerContext,
  session: StepSession,
  message: string,
): Promise<void> {
  if (!session.isOpened) return;
  const entry = { event: "abandoned", at: ports.clock.now(), message } as const;
  await ports.store.append(session.lease, [entry]).catch(() => {});
}

/** The one line of a step's end, or of why it did not end here. */
function sayEnd(
  session: StepSession,
  job: Job | null,
  { result, attempts, asks, deadLetter, heldSince }: StepContext,
  how: StepEnd,
  clock: Clock,
): void {
  const { log, stateHistory, startedAt, endedBy, isDuplicate } = session;
  const common = {
    stepType: job?.stepType ?? null,
    ms: Math.round(clock.monotonic() - startedAt),
    attempts: attempts + 1,
    ...(session.isOpened ? { fence: session.lease.fence } : {}),
  };
  switch (how) {
    case "settled": {
      if (result === null) {
        log.info(common, "the step had already ended; its job is acknowledged");
      } else if (result.status === "completed") {
        log.info({ ...common, outcome: "completed" }, "the step completed");
      } else {
        const { kind, message } = result.failure;
        const fields = { ...common, outcome: "failed", kind, reason: message, deadLetter };
        log.info(fields, `the step failed: ${kind}: ${message}`);
      }
      return;
    }
    case "parked": {
      // What looks again every few seconds says so once.
      const isKnown = heldSince !== null && clock.now() - heldSince >= leastHoldMs;
      log[isKnown ? "debug" : "info"]({ ...common, asks: asks.length }, "the step waits, parked");
      return;
    }
    case "released":
      log.info({ ...common, reason: endedBy ?? "the worker drains" }, "the job was given back");
      return;
    case "abandoned": {
      if (isDuplicate) {
        log.debug({ ...common, stateHistory }, "another entry of this step is being worked on");
        return;
      }
      const reason = endedBy ?? "a write was refused, because another worker has the step by now";
      log.warn({ ...common, reason }, `this attempt was abandoned: ${reason}`);
    }
  }
}

/** Adds a state to the path when it is entered, and says whether it was; the ends are no states of the story. */
function note(
  session: StepSession,
  state: string,
  { ports, options: { onStepEvent } }: WorkerContext,
  notice: Pick<StepEventNotice, "runId" | "stepId" | "stepType">,
): boolean {
  if (ends.has(state) || session.stateHistory.at(-1) === state) return false;
  // A step taken up again begins at pending: that is the worker's business, not the step's.
  if (state === "pending" && session.stateHistory.length > 0) return false;
  keepLast(session.stateHistory, state);
  if (session.span.isRecording()) session.span.addEvent(state);
  if (onStepEvent === undefined) return true;
  const now = ports.clock.monotonic();
  const left = leftAt(session, now);
  session.stay = { state, since: now };
  // Spelled out: five of them a step.
  const { runId, stepId, stepType } = notice;
  onStepEvent({ kind: "entered", runId, stepId, stepType, state, left });
  return true;
}

function leftAt({ stay }: StepSession, now: number): StepEventNotice["left"] {
  return stay === null ? null : { state: stay.state, stayedMs: now - stay.since };
}

const ends = new Set<string>(["settled", "parked", "released", "abandoned"] satisfies StepEnd[]);
/** States kept of a step's path: enough for every retry and repair a sane setting allows. */
const maxPath = 64;

function keepLast<T>(list: T[], item: T): void {
  list.push(item);
  if (list.length > maxPath) list.shift();
}

function deliveredTooOften(delivery: Delivery, { maxDeliveries }: RuntimeOptions): Failure | null {
  if (delivery.deliveries <= maxDeliveries) return null;
  const message = `delivered ${delivery.deliveries} times without an end; ${maxDeliveries} are allowed`;
  return terminal("delivered_too_often", message);
}

function startSpan({ key, job, delivery }: SpawnRequest): Span {
  const remote = remoteContext(job);
  if (remote === ROOT_CONTEXT && !isTracingOn()) return inertSpan;
  const span = tracer.startSpan(`step.execute.${job?.stepType ?? "unknown"}`, {}, remote);
  // Most steps are not sampled where there are many.
  if (!span.isRecording()) {
    // Without a provider a trace that nobody named has no ids.
    return span.spanContext().traceId === INVALID_TRACEID ? inertSpan : span;
  }
  return span.setAttributes({
    "ferrumdeck.run.id": key.runId,
    "ferrumdeck.step.id": key.stepId,
    "ferrumdeck.step.type": job?.stepType ?? "unknown",
    "stateplane.deliveries": delivery.deliveries,
    ...(job?.tenantId == null ? {} : { "ferrumdeck.tenant.id": job.tenantId }),
    ...(job?.agentId == null ? {} : { "ferrumdeck.agent.id": job.agentId }),
  });
}

function endSpan(span: Span, how: StepEnd | "crashed"): void {
  if (!span.isRecording()) return;
  span.setAttribute("step.status", how);
  if (how === "crashed") span.setStatus({ code: SpanStatusCode.ERROR });
  span.end();
}
