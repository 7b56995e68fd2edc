import { ApiError } from "../api-error.ts";
import type { Approval } from "../documents.ts";
import { seedIds } from "../seed-ids.ts";
import type { Change } from "./change.ts";
import { findStep } from "./find-step.ts";
import { stopWaiting } from "./stop-waiting.ts";

/**
 * A person's answer, taken once. Either way the step's job is enqueued again, so that a worker goes on with it
 * or ends it.
 *
 * @throws ApiError 404 for an unknown approval, 400 for one that is resolved or expired
 */
export function resolveApproval(
  change: Change,
  id: string,
  answer: { approved: boolean; note: string | null },
): Approval {
  const { now, store } = change;
  const approval = store.approvals.find(id);
  if (approval === undefined) throw new ApiError(404, `approval ${id} not found`);
  const late = approval.status === "pending" && approval.expiresAt <= now;
  if (late || approval.status === "expired") {
    throw new ApiError(400, `approval ${id} has expired`);
  }
  if (approval.status !== "pending") {
    throw new ApiError(400, `approval ${id} is already resolved: ${approval.status}`);
  }
  const status = answer.approved ? "approved" : "rejected";
  const { note } = answer;
  const resolved: Approval = {
    ...approval,
    status,
    note,
    resolvedAt: now,
    resolvedBy: seedIds.key,
  };
  store.approvals.put(resolved);
  stopWaiting(change, approval.runId, approval.stepId);
  const { run, step } = findStep(store, approval.runId, approval.stepId);
  change.enqueue(run, step);
  if (answer.approved && approval.actionType === "tool") {
    change.saveRun({ ...run, toolCalls: run.toolCalls + 1 });
  }
  change.audit(run.id, `approval.${status}`, { approval_id: id, resolved_by: seedIds.key, note });
  return resolved;
}
