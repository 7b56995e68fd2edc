import type { Ask, Grant } from "../../machines/contracts/domain/action.ts";
import { type Failure, type Outcome, terminal } from "../../machines/contracts/domain/failure.ts";
import { confirmLease, retryStamp, type StepActivity, type ActivityScope } from "./session.ts";
import { isStepEnded } from "../../machines/contracts/domain/status.ts";
import type { StepEvent } from "../../machines/step/events.ts";

/** Puts every open question to the control plane, and says there that the step waits. */
export const requestApproval: StepActivity = async (scope) => {
  const { ports, options, session, context, signal } = scope;
  const failed = (failure: Failure) =>
    ({ type: "activity.failed", failure, costly: context.costly, ...retryStamp(ports) }) as const;
  const extensions = await ports.controlPlane.extensions(signal);
  if (!extensions.ok) return failed(extensions.failure);

  const latest = ports.clock.now() + options.deadlines.approvalMs;
  const asks: Ask[] = [];
  for (const ask of context.asks) {
    const asked = extensions.value.has("approvals")
      ? await putQuestion(scope, ask, latest)
      : // FerrumDeck keeps no question: its step's own status is the decision.
        { ok: true as const, value: { ...ask, approvalId: session.key.stepId, expiresAt: latest } };
    if (!asked.ok) return failed(asked.failure);
    asks.push(asked.value);
  }
  await confirmLease(scope);
  const waiting = await ports.controlPlane.report(
    {
      ...session.key,
      fence: session.lease.fence,
      idempotencyKey: `${session.key.runId}/${session.key.stepId}/waiting/${asks.map((ask) => ask.digest.slice(0, 16)).join("+")}`,
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
  if (waiting.value === "ended")
    return { type: "cancel.requested", reason: "the run has already ended" };
  return { type: "approval.requested", asks };
};

async function putQuestion(scope: ActivityScope, ask: Ask, latest: number): Promise<Outcome<Ask>> {
  const { ports, session, signal } = scope;
  await confirmLease(scope);
  const put = await ports.controlPlane.requestApproval(session.key, ask, signal);
  if (!put.ok) return put;
  const expiry = put.value.expires_at == null ? latest : Date.parse(put.value.expires_at);
  const expiresAt = Number.isNaN(expiry) ? latest : Math.min(expiry, latest);
  return { ok: true, value: { ...ask, approvalId: put.value.id, expiresAt } };
}

type Decision =
  | { kind: "granted"; grant: Grant }
  | { kind: "pending" }
  | { kind: "rejected"; why: string }
  | { kind: "expired"; failure: Failure }
  | { kind: "failed"; failure: Failure };

/** Reads what people decided. A grant counts only for the digest that was shown, and only in time. */
export const readDecision: StepActivity = async (scope) => {
  const { ports, context, signal } = scope;
  const extensions = await ports.controlPlane.extensions(signal);
  if (!extensions.ok) return failed(scope, extensions.failure);
  const read = extensions.value.has("approvals") ? readApproval : readReferenceStep;
  const decisions: Decision[] = [];
  for (const ask of context.asks) decisions.push(await read(scope, ask));
  return decide(scope, decisions);
};

function decide(scope: ActivityScope, decisions: Decision[]): StepEvent {
  const grants: Grant[] = [];
  let isPending = false;
  for (const decision of decisions) {
    if (decision.kind === "failed") return failed(scope, decision.failure);
    if (decision.kind === "rejected") {
      return { type: "approval.rejected", failure: terminal("approval_rejected", decision.why) };
    }
    if (decision.kind === "expired") return { type: "approval.expired", failure: decision.failure };
    if (decision.kind === "pending") isPending = true;
    else grants.push(decision.grant);
  }
  if (!isPending) return { type: "approval.granted", grants };
  const now = scope.ports.clock.now();
  const expired = scope.context.asks.find((ask) => ask.expiresAt !== null && now >= ask.expiresAt);
  if (expired === undefined) return { type: "approval.pending" };
  return { type: "approval.expired", failure: expiry(expired) };
}

async function readApproval(scope: ActivityScope, ask: Ask): Promise<Decision> {
  const { ports, signal } = scope;
  const id = ask.approvalId ?? "";
  const found = await ports.controlPlane.findApproval(id, signal);
  if (!found.ok) return { kind: "failed", failure: found.failure };
  const { status, digest, resolved_by: resolvedBy = null, resolution_note: note } = found.value;
  switch (status) {
    case "pending":
      return { kind: "pending" };
    case "rejected":
      return {
        kind: "rejected",
        why: `rejected by ${resolvedBy ?? "someone"}${note ? `: ${note}` : ""}`,
      };
    case "expired":
      return { kind: "expired", failure: expiry(ask) };
    case "approved":
      return digest === ask.digest
        ? { kind: "granted", grant: { digest, approvalId: id, resolvedBy } }
        : { kind: "rejected", why: `approval ${id} was given for another action` };
  }
}

/**
 * FerrumDeck puts an approved step back on the stream without a marker, its status `running`; the parked
 * record is the grant. A mere second delivery finds it still waiting.
 */
async function readReferenceStep(
  { ports, session, signal }: ActivityScope,
  ask: Ask,
): Promise<Decision> {
  const steps = await ports.controlPlane.steps(session.key.runId, signal);
  if (!steps.ok) return { kind: "failed", failure: steps.failure };
  const step = steps.value.find(({ id }) => id === session.key.stepId);
  if (step === undefined || isStepEnded(step.status)) {
    return {
      kind: "rejected",
      why: `the control plane ended the step: ${step?.status ?? "unknown"}`,
    };
  }
  if (step.status !== "running") return { kind: "pending" };
  const grant = { digest: ask.digest, approvalId: session.key.stepId, resolvedBy: null };
  return { kind: "granted", grant };
}

const expiry = (ask: Ask): Failure =>
  terminal("approval_expired", `nobody decided on ${ask.action.name} before the approval expired`);

const failed = ({ ports, context }: ActivityScope, failure: Failure): StepEvent => ({
  type: "activity.failed",
  failure,
  costly: context.costly,
  ...retryStamp(ports),
});
