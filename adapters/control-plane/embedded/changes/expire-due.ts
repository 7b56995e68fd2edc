import type { Change } from "./change.ts";
import { closeApproval } from "./end-run.ts";
import { stopWaiting } from "./stop-waiting.ts";

/** Approvals whose time has come. Their steps are ended by the worker, whose own timer wakes them. */
export function expireDue(change: Change): void {
  for (const approval of change.store.approvals.due(change.now)) {
    closeApproval(change, approval, "expired");
    stopWaiting(change, approval.runId, approval.stepId);
  }
}
