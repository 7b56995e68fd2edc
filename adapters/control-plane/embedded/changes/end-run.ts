import type { Json } from "../../../../machines/contracts/json.ts";
import { isStepEnded, type RunStatus } from "../../../../machines/contracts/status.ts";
import type { Approval, Run } from "../documents.ts";
import type { Change } from "./change.ts";

export interface RunEnding {
  status: RunStatus;
  reason: string | null;
  output?: Json;
  error?: Json;
}

/**
 * Ends a run for good. Its open questions expire; steps never enqueued are skipped. A step out with a worker
 * stays as it is until that worker reports and is told of the end; one that waits as data is enqueued again, so
 * that a worker hears of it and lets go.
 */
export function endRun(change: Change, run: Run, ending: RunEnding): Run {
  const { now, store } = change;
  const note = `run ${ending.status}`;
  for (const approval of store.approvals.pendingOfRun(run.id))
    closeApproval(change, approval, note);
  for (const step of store.steps.ofRun(run.id)) {
    if (isStepEnded(step.status)) continue;
    if (step.enqueuedAt === null) store.steps.put({ ...step, status: "skipped", completedAt: now });
    else if (step.status === "waiting_approval")
      change.enqueue(run, { ...step, status: "running" });
  }
  const { status, reason, output = null, error = null } = ending;
  change.audit(run.id, `run.${status}`, { reason });
  return change.saveRun({ ...run, status, statusReason: reason, output, error, completedAt: now });
}

/** Nobody needs the answer any more. */
export function closeApproval(change: Change, approval: Approval, note: string): void {
  const { now, store } = change;
  store.approvals.put({ ...approval, status: "expired", resolvedAt: now, note });
  change.audit(approval.runId, "approval.expired", { approval_id: approval.id, note });
}
