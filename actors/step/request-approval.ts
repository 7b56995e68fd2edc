import type { Ask } from "../../machines/contracts/action.ts";
import type { Failure } from "../../machines/contracts/failure.ts";
import type { Outcome } from "../../machines/contracts/outcome.ts";
import { confirmLease } from "./confirm-lease.ts";
import { occasion, type StepWork, type WorkScope } from "./work.ts";

/** Puts every open question to the control plane, and says there that the step waits. */
export const requestApproval: StepWork = async (scope) => {
  const { ports, options, life, context, signal } = scope;
  const failed = (failure: Failure) =>
    ({ type: "failed", failure, costly: context.costly, ...occasion(ports) }) as const;
  const extensions = await ports.controlPlane.extensions(signal);
  if (!extensions.ok) return failed(extensions.failure);

  const latest = ports.clock.now() + options.deadlines.approvalMs;
  const asks: Ask[] = [];
  for (const ask of context.asks) {
    const asked = extensions.value.has("approvals")
      ? await putQuestion(scope, ask, latest)
      : // The reference keeps no question: its step's own status is the decision.
        { ok: true as const, value: { ...ask, approvalId: life.key.stepId, expiresAt: latest } };
    if (!asked.ok) return failed(asked.failure);
    asks.push(asked.value);
  }
  await confirmLease(scope);
  const waiting = await ports.controlPlane.report(
    {
      ...life.key,
      fence: life.lease.fence,
      idempotencyKey: `${life.key.runId}/${life.key.stepId}/waiting/${asks.map((ask) => ask.digest.slice(0, 16)).join("+")}`,
      body: {
        status: "waiting_approval",
        output: {
          requires_approval: true,
          asks: asks.map(({ action, reason, approvalId }) => ({
            action: { kind: action.kind, name: action.name },
            reason,
            approval_id: approvalId,
          })),
        },
      },
    },
    signal,
  );
  if (!waiting.ok) return failed(waiting.failure);
  if (waiting.value === "ended") return { type: "cancel", reason: "the run has already ended" };
  return { type: "approval.requested", asks };
};

async function putQuestion(scope: WorkScope, ask: Ask, latest: number): Promise<Outcome<Ask>> {
  const { ports, life, signal } = scope;
  await confirmLease(scope);
  const put = await ports.controlPlane.requestApproval(life.key, ask, signal);
  if (!put.ok) return put;
  const expiry = put.value.expires_at == null ? latest : Date.parse(put.value.expires_at);
  const expiresAt = Number.isNaN(expiry) ? latest : Math.min(expiry, latest);
  return { ok: true, value: { ...ask, approvalId: put.value.id, expiresAt } };
}
