import type { Failure } from "../../machines/contracts/failure.ts";
import type { Report } from "../../machines/contracts/ports/control-plane.ts";
import { isStepEnded } from "../../machines/contracts/status.ts";
import { toResultBody } from "../../machines/contracts/step-result.ts";
import type { StepEvent } from "../../machines/step/events.ts";
import { confirmLease } from "./confirm-lease.ts";
import { traced } from "./traced.ts";
import { occasion, type StepWork, type WorkScope } from "./work.ts";

/** Sends the report once; the chart sends it again until it is acknowledged. */
export const deliver: StepWork = async (scope) => {
  const { ports, life, context, signal } = scope;
  const { result } = context;
  if (result === null) throw new Error("a step without a result reached reported");
  const extensions = await ports.controlPlane.extensions(signal);
  if (!extensions.ok) return toEvent(scope, extensions.failure);
  const isAgain = life.isTakenUp || context.deliveryAttempts > 0;
  if (isAgain && !extensions.value.has("idempotent-results") && (await isKnown(scope))) {
    return { type: "delivered" };
  }
  const body = toResultBody(result);
  // Last, so that nothing that takes time stands between the look and the sending.
  await confirmLease(scope);
  const report: Report = {
    ...life.key,
    fence: life.lease.fence,
    idempotencyKey: `${life.key.runId}/${life.key.stepId}`,
    body,
  };
  const received = await traced("report", () => ports.controlPlane.report(report, signal));
  if (!received.ok) return toEvent(scope, received.failure);
  if (received.value === "ended") {
    life.log.warn({ status: body.status }, "the step had already ended at the control plane");
  }
  return { type: "delivered" };
};

/** Where repeats are not recognised, the step's status tells whether an earlier report arrived. */
async function isKnown({ ports, life, signal }: WorkScope): Promise<boolean> {
  const steps = await ports.controlPlane.steps(life.key.runId, signal);
  const step = steps.ok && steps.value.find(({ id }) => id === life.key.stepId);
  return step !== false && step !== undefined && isStepEnded(step.status);
}

/** A key that is refused is the worker's trouble, not the job's: the report waits until it is mended. */
function toEvent({ ports }: WorkScope, failure: Failure): StepEvent {
  if (failure.kind === "conflict") return { type: "lease.lost" };
  const isPassing = failure.retryable || failure.kind === "unauthorized";
  return isPassing
    ? { type: "delivery.failed", failure, ...occasion(ports) }
    : { type: "delivery.refused", failure };
}
