import {
  stored,
  isLeaseStale,
  type StepActivity,
  StoreFailure,
  confirmLease,
  retryStamp,
  type ActivityScope,
} from "./session.ts";
import type { Failure } from "../../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import type { StepKey } from "../../machines/contracts/domain/record.ts";
import { type StepResult, toResultBody } from "../../machines/contracts/domain/step-result.ts";
import type { Report } from "../../machines/contracts/ports/control-plane.ts";
import { isStepEnded } from "../../machines/contracts/domain/status.ts";
import type { StepEvent } from "../../machines/step/events.ts";
import { traced } from "../tracing.ts";

/**
 * The outbox: a result that would cost anything to make again is kept before it is sent. A cheap one is not;
 * for it the lease is looked at by the clock, so that a worker paused past its lease reports nothing.
 */
export const record: StepActivity = async ({ ports, options, session, context }) => {
  if (context.result === null) throw new Error("a step without a result reached reported");
  const { maxReportBytes } = options;
  const result = await fitResult(ports.artifacts, session.key, context.result, maxReportBytes);
  const changed = result === context.result ? null : result;
  if (!context.costly && !isLeaseStale(session, ports.clock, options)) {
    return { type: "result.recorded", result: changed };
  }
  const written = await stored(ports.store.record(session.lease, result, session.stateHistory));
  if (written === "lease-lost") return { type: "lease.lost" };
  return { type: "result.recorded", result: changed };
};

const previewLength = 2_000;

/**
 * A result that store and control plane will take: if its JSON is longer than `maxBytes`, its large parts move
 * to an artifact and a note stands in their place. Nothing is dropped, and the same result is always cut the
 * same way, so that a repeated report has the same body.
 *
 * @throws StoreFailure when the artifact can't be kept: the step is let go rather than its result lost
 */
export async function fitResult(
  artifacts: ArtifactStore,
  step: StepKey,
  result: StepResult,
  maxBytes: number,
): Promise<StepResult> {
  if (Buffer.byteLength(JSON.stringify(result)) <= maxBytes) return result;
  const content = JSON.stringify(result);
  const kept = await artifacts.put(step, { name: "result.json", kind: "output", content });
  if (!kept.ok) throw new StoreFailure(kept.failure.message);
  const { id, sha256, size } = kept.value;
  const output: JsonObject = {
    note: `the result was longer than ${maxBytes} bytes and is kept as an artifact`,
    artifact: { id, sha256, size },
    preview: JSON.stringify(result.output).slice(0, previewLength),
  };
  if (result.status === "completed") return { ...result, output };
  return { ...result, output, failure: brief(result.failure) };
}

function brief({ kind, message, retryable }: Failure): Failure {
  return { kind, message: message.slice(0, previewLength), retryable };
}

/** Sends the report once; the chart sends it again until it is acknowledged. */
export const deliver: StepActivity = async (scope) => {
  const { ports, session, context, signal } = scope;
  const { result } = context;
  if (result === null) throw new Error("a step without a result reached reported");
  const extensions = await ports.controlPlane.extensions(signal);
  if (!extensions.ok) return toEvent(scope, extensions.failure);
  const isAgain = session.isResumed || context.deliveryAttempts > 0;
  if (isAgain && !extensions.value.has("idempotent-results") && (await isKnown(scope))) {
    return { type: "delivery.accepted" };
  }
  const body = toResultBody(result);
  // Last, so that nothing that takes time stands between the look and the sending.
  await confirmLease(scope);
  const report: Report = {
    ...session.key,
    fence: session.lease.fence,
    idempotencyKey: `${session.key.runId}/${session.key.stepId}`,
    body,
  };
  const received = await traced("report", () => ports.controlPlane.report(report, signal));
  if (!received.ok) return toEvent(scope, received.failure);
  if (received.value === "ended") {
    session.log.warn({ status: body.status }, "the step had already ended at the control plane");
  }
  return { type: "delivery.accepted" };
};

/** Where repeats are not recognised, the step's status tells whether an earlier report arrived. */
async function isKnown({ ports, session, signal }: ActivityScope): Promise<boolean> {
  const steps = await ports.controlPlane.steps(session.key.runId, signal);
  const step = steps.ok && steps.value.find(({ id }) => id === session.key.stepId);
  return step !== false && step !== undefined && isStepEnded(step.status);
}

/** A key that is refused is the worker's trouble, not the job's: the report waits until it is mended. */
function toEvent({ ports }: ActivityScope, failure: Failure): StepEvent {
  if (failure.kind === "conflict") return { type: "lease.lost" };
  const isPassing = failure.retryable || failure.kind === "unauthorized";
  return isPassing
    ? { type: "delivery.failed", failure, ...retryStamp(ports) }
    : { type: "delivery.refused", failure };
}

/** Acknowledges the job and closes its record in one atomic move; an unmendable job becomes a dead letter. */
export const settle: StepActivity = async ({ ports, session, context, persist }) => {
  const { deadLetter } = context;
  const letter =
    deadLetter === null
      ? null
      : {
          fields: session.delivery.fields,
          reason: deadLetter,
          snapshot: persist(),
          at: ports.clock.now(),
        };
  const written = await stored(
    ports.store.settle(session.lease, { stateHistory: session.stateHistory, deadLetter: letter }),
  );
  return written === "lease-lost" ? { type: "lease.lost" } : { type: "step.settled" };
};
