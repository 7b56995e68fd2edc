import type { Approval } from "../documents.ts";
import type { Change } from "./change.ts";
import { closeApproval } from "./end-run.ts";
import { stopWaiting } from "./stop-waiting.ts";

/** Approvals whose time has come. Their steps are ended by the worker, whose own timer wakes them. */
export function expireDue(change: Change, due: Approval[]): void {
  for (const approval of due) {
    closeApproval(change, approval, "expired");
    stopWaiting(change, approval.runId, approval.stepId);
  }
}
