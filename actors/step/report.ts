import {
  isLeaseStale,
  type StepActivity,
  confirmLease,
  retryStamp,
  type ActivityScope,
} from "./session.ts";
import { Drained } from "../trouble.ts";
import {
  type Failure,
  ok,
  type Outcome,
  troubleOf,
} from "../../machines/contracts/domain/failure.ts";
import { keepJournal } from "./keep-journal.ts";
import { screenOf } from "./screening.ts";
import { withWorkDone } from "./work-done.ts";
import { keptOutput } from "../../machines/contracts/domain/kept-output.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import type { StepKey } from "../../machines/contracts/domain/record.ts";
import { type StepResult, toResultBody } from "../../machines/contracts/domain/step-result.ts";
import type { Report } from "../../machines/contracts/ports/control-plane.ts";
import { isRunEnded, isStepEnded, type RunStatus } from "../../machines/contracts/domain/status.ts";
import type { StepEvent } from "../../machines/step/events.ts";
import { traced } from "../tracing.ts";

/**
 * The outbox: a result that would cost anything to make again is kept before it is sent. A cheap one is not;
 * for it the lease is looked at by the clock, so that a worker paused past its lease reports nothing.
 */
export const record: StepActivity = async (scope) => {
  const { ports, options, session, context } = scope;
  if (context.result === null) throw new Error("a step without a result reached reported");
  const { maxReportBytes } = options;
  const all = hideInFailed(scope, await withWorkDone(scope, context.result));
  const result = await fitResult(ports, session.key, all, maxReportBytes);
  if ("refused" in result) return { type: "store.failed", failure: result.refused };
  const changed = result.fitted === context.result ? null : result.fitted;
  const isCostly = context.costly || session.hasSpent;
  if (!isCostly && !isLeaseStale(session, ports.clock, options)) {
    return { type: "result.recorded", result: changed };
  }
  const { stateHistory } = session;
  const written = await ports.store.record(session.lease, result.fitted, stateHistory);
  if (written === "lease-lost") return { type: "lease.lost" };
  return { type: "result.recorded", result: changed };
};

/** A completed step's output was screened as it was validated; what a failed one had stands beside its failure. */
function hideInFailed(scope: ActivityScope, result: StepResult): StepResult {
  if (result.status === "completed") return result;
  const { screen, hideInFailure } = screenOf(scope);
  return { ...result, failure: hideInFailure(result.failure), output: screen(result.output).value };
}

const previewLength = 2_000;

/**
 * A result that store and control plane will take: if its JSON is longer than `maxBytes`, its large parts move
 * to an artifact and a note stands in their place. Nothing is dropped, and the same result is always cut the
 * same way, so that a repeated report has the same body.
 *
 * @returns `refused` when there is no place for the artifact, and waiting will not make one
 */
export async function fitResult(
  ports: { readonly artifacts: ArtifactStore },
  step: StepKey,
  result: StepResult,
  maxBytes: number,
): Promise<{ fitted: StepResult } | { refused: Failure }> {
  const content = JSON.stringify(result);
  // A character takes three bytes at most: most results need not be counted.
  if (content.length * 3 <= maxBytes || Buffer.byteLength(content) <= maxBytes) {
    return { fitted: result };
  }
  const kept = await ports.artifacts.put(step, { name: "result.json", kind: "output", content });
  if (!kept.ok) {
    const message = `the result is longer than ${maxBytes} bytes and can't be kept as an artifact: ${kept.failure.message}`;
    return { refused: { ...kept.failure, message } };
  }
  const output = keptOutput(kept.value, result.output, maxBytes);
  if (result.status === "completed") return { fitted: { ...result, output } };
  return { fitted: { ...result, output, failure: brief(result.failure) } };
}

function brief({ kind, message, retryable }: Failure): Failure {
  return { kind, message: cutText(message, previewLength), retryable };
}

/**
 * Sends the report once; the chart sends it again until it is acknowledged.
 *
 * Where the control plane recognises repeated results, it is simply sent. Where it does not, it guards no ended run or
 * step either, so all but the first result of work just done is preceded by a look at both, and what has ended is
 * settled here without a word. A look that fails is a delivery that failed: not knowing is not "not there".
 *
 *   accepted, repeated, ended                              `delivery.accepted`
 *   passing trouble, a refused key, a look that failed     `delivery.failed`: sent again, for as long as it takes
 *   a newer fence                                          `lease.lost`
 *   refused by the control plane itself                    `delivery.refused`: once more as a short failure
 */
export const deliver: StepActivity = async (scope) => {
  const { controlPlane, session, context, signal } = scope;
  const { result } = context;
  if (result === null) throw new Error("a step without a result reached reported");
  const extensions = await controlPlane.extensions(signal);
  // What answers here may be anybody: it is no word on the report.
  if (!extensions.ok) return delayed(scope, extensions.failure);
  if (!extensions.value.has("idempotent-results") && !isFirstOfWork(scope, result)) {
    const ended = await hasEnded(scope, result);
    if (!ended.ok) return delayed(scope, ended.failure);
    if (ended.value) {
      session.log.debug({}, "the step or its run has already ended at the control plane");
      return { type: "delivery.accepted" };
    }
  }
  const body = toResultBody(result, session.job?.stepType);
  // Last, so that nothing that takes time stands between the look and the sending.
  await confirmLease(scope);
  const report: Report = {
    ...session.key,
    // A record that could not be opened gives no fence; any worker that opens it has a higher one.
    fence: session.isOpened ? session.lease.fence : 0,
    idempotencyKey: `${session.key.runId}/${session.key.stepId}`,
    body,
    trace: {
      states: session.stateHistory,
      entered: session.enteredAt,
      effects: session.journal.times(),
    },
  };
  const received = await traced(session, "report", () => controlPlane.report(report, signal));
  if (!received.ok) return notReceived(scope, received.failure);
  scope.trouble.well("control plane");
  if (received.value === "ended") {
    session.log.debug({ status: body.status }, "the step had already ended at the control plane");
  }
  return { type: "delivery.accepted" };
};

/** Whether nobody can have reported the step before, and nobody can have ended it but by the way. */
function isFirstOfWork({ session, context }: ActivityScope, result: StepResult): boolean {
  if (session.isResumed || context.deliveryAttempts > 0 || !session.hasWorked) return false;
  if (result.status === "completed") return true;
  const { kind } = result.failure;
  return kind !== "cancelled" && kind !== "timeout";
}

const blockedRuns: ReadonlySet<RunStatus> = new Set(["policy_blocked", "airlock_blocked"]);

/** Where neither repeats nor ends are recognised, run and step are looked at. */
async function hasEnded(scope: ActivityScope, result: StepResult): Promise<Outcome<boolean>> {
  const { controlPlane, session, signal, runs } = scope;
  const { runId, stepId } = session.key;
  const run = await runs.look(controlPlane, runId, signal, 0);
  if (!run.ok && troubleOf(run.failure) !== "step") return run;
  if (run.ok && isRunEnded(run.value) && !isBlockedByUs(scope, result, run.value)) return ok(true);
  const steps = await controlPlane.steps(runId, signal);
  // What the control plane itself refuses to show (no such run, another tenant's) is for the report to find out.
  if (!steps.ok) return troubleOf(steps.failure) === "step" ? ok(false) : steps;
  const step = steps.value.find(({ id }) => id === stepId);
  return ok(step !== undefined && isStepEnded(step.status));
}

/**
 * FerrumDeck blocks the run in the very answer that denies this step or asks for its approval, and says so of a run
 * whose approved work is done; the step's own report is still owed. What another step's answer has blocked, and what
 * this worker denied without asking, is none of ours.
 */
function isBlockedByUs({ session }: ActivityScope, result: StepResult, status: RunStatus): boolean {
  if (!blockedRuns.has(status)) return false;
  const isDenied = result.status === "failed" && result.failure.kind === "policy_denied";
  if (status === "airlock_blocked" || isDenied) return session.hasChecked;
  return result.status === "completed" || session.hasWorked;
}

function notReceived(scope: ActivityScope, failure: Failure): StepEvent {
  const { session, context } = scope;
  if (failure.kind === "conflict") {
    session.endedBy = `the control plane knows of a newer worker: ${failure.message}`;
    return { type: "lease.lost" };
  }
  if (troubleOf(failure) !== "step") return delayed(scope, failure);
  const next =
    context.undelivered === null
      ? "a short failure is sent in its place, and the job becomes a dead letter"
      : "the job becomes a dead letter";
  session.log.warn(
    { kind: failure.kind, reason: failure.message },
    `the report was refused; ${next}`,
  );
  return { type: "delivery.refused", failure };
}

const delaySaidMs = 60_000;

/** The report waits. Said at the first failure and then each minute, so that no result waits unseen. */
function delayed({ ports, session, trouble, context }: ActivityScope, failure: Failure): StepEvent {
  const kind = troubleOf(failure);
  if (kind !== "step") trouble.met("control plane", kind, failure.message);
  const now = ports.clock.monotonic();
  if (session.delaySaidAt === null || now - session.delaySaidAt >= delaySaidMs) {
    session.delaySaidAt = now;
    session.log.warn(
      { kind: failure.kind, reason: failure.message, tries: context.deliveryAttempts + 1 },
      "the report is delayed: it is sent again until it is received",
    );
  }
  return { type: "delivery.failed", failure, ...retryStamp(ports) };
}

/**
 * Acknowledges the job and closes its record in one atomic move; an unmendable job becomes a dead letter. Where the
 * record itself can't be written, the letter is kept past it, with less and less until the store takes it.
 */
export const settle: StepActivity = async (scope) => {
  const { ports, session, context, persist } = scope;
  const { stateHistory } = session;
  const { fields } = session.delivery;
  const at = ports.clock.now();
  const letter =
    context.deadLetter === null
      ? null
      : {
          fields,
          reason: screenOf(scope).hideInText(context.deadLetter),
          snapshot: persist(),
          at,
          // The result that was given up: a retry sends it, it does not do the work again.
          ...(context.undelivered === null ? {} : { result: context.undelivered }),
        };
  if (letter !== null) {
    session.log.warn({ reason: letter.reason }, "the job becomes a dead letter");
  }
  if (session.isOpened) {
    await keepJournal(scope);
    try {
      const written = await ports.store.settle(session.lease, { stateHistory, deadLetter: letter });
      return written === "lease-lost" ? { type: "lease.lost" } : { type: "step.settled" };
    } catch (error) {
      // Trouble that may pass is waited out below this; what comes here is of this step's own data.
      if (error instanceof Drained || scope.signal.aborted) throw error;
      session.log.warn(
        { err: error },
        "the step's record can't be closed; the job is kept past it",
      );
    }
  }
  const reason = letter?.reason ?? "the step's record could not be closed";
  return keepPastRecord(scope, { fields, reason, stateHistory, at });
};

/** The letter alone, first with the snapshot, then without. */
async function keepPastRecord(
  { ports, session, persist, signal }: ActivityScope,
  what: { fields: Record<string, string>; reason: string; stateHistory: string[]; at: number },
): Promise<StepEvent> {
  const { entryId, deliveries } = session.delivery;
  for (const snapshot of [persist(), null]) {
    try {
      const kept = await ports.queue.deadLetter(entryId, { ...what, snapshot, deliveries });
      return kept ? { type: "step.settled" } : { type: "lease.lost" };
    } catch (error) {
      if (error instanceof Drained || signal.aborted || snapshot === null) throw error;
      session.log.warn({ err: error }, "the dead letter was not kept with its snapshot");
    }
  }
  throw new Error("a dead letter was neither kept nor refused");
}
