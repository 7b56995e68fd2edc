import type { Approval } from "../documents.ts";
import { rfc3339 } from "./rfc3339.ts";

/** ApprovalResponse (wire contract 1.3), with the digest of what was shown. */
export function approvalResponse(approval: Approval) {
  return {
    id: approval.id,
    run_id: approval.runId,
    step_id: approval.stepId,
    action_type: approval.actionType,
    action_details: approval.actionDetails,
    digest: approval.digest,
    reason: approval.reason,
    status: approval.status,
    created_at: rfc3339(approval.createdAt),
    expires_at: rfc3339(approval.expiresAt),
    resolved_by: approval.resolvedBy,
    resolved_at: rfc3339(approval.resolvedAt),
    resolution_note: approval.note,
  };
}
