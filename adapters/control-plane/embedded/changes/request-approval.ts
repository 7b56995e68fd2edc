import { isRunEnded, isStepEnded } from "../../../../machines/contracts/status.ts";
import { ApiError } from "../api-error.ts";
import type { Approval } from "../documents.ts";
import { newId } from "../new-id.ts";
import type { Change } from "./change.ts";
import { findStep } from "./find-step.ts";

const dayMs = 24 * 60 * 60 * 1000;

export interface ApprovalRequest extends Pick<
  Approval,
  "runId" | "stepId" | "actionType" | "actionDetails" | "digest" | "reason"
> {
  /** Null for the agent version's, or a day. */
  expiresInMs: number | null;
}

/**
 * Puts a question to people. The same question of the same step (by its digest) is the same approval, whatever
 * became of it.
 *
 * @throws ApiError 404, 400 when run and step do not go together, 409 when either has ended
 */
export function requestApproval(
  change: Change,
  request: ApprovalRequest,
): { approval: Approval; created: boolean } {
  const { now, store } = change;
  const { run, step } = findStep(store, request.runId, request.stepId);
  const known = store.approvals.findByAction(step.id, request.digest);
  if (known !== undefined) return { approval: known, created: false };
  if (isRunEnded(run.status)) throw new ApiError(409, `run ${run.id} is already ${run.status}`);
  if (isStepEnded(step.status))
    throw new ApiError(409, `step ${step.id} is already ${step.status}`);
  const { expiresInMs, ...asked } = request;
  const version = store.versions.find(run.agentVersionId);
  const approval: Approval = {
    id: newId("apr", now),
    ...asked,
    status: "pending",
    createdAt: now,
    expiresAt: now + (expiresInMs ?? version?.approvalExpiresInMs ?? dayMs),
    resolvedBy: null,
    resolvedAt: null,
    note: null,
  };
  store.approvals.put(approval);
  store.steps.put({ ...step, status: "waiting_approval", startedAt: step.startedAt ?? now });
  change.saveRun({ ...run, status: "waiting_approval", startedAt: run.startedAt ?? now });
  const { id, actionType, digest } = approval;
  change.audit(run.id, "approval.requested", { approval_id: id, action_type: actionType, digest });
  return { approval, created: true };
}
