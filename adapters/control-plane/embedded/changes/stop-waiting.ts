import type { Change } from "./change.ts";

/** A question of the step is answered or expired: with none left open, step and run show `running` again. */
export function stopWaiting(change: Change, runId: string, stepId: string): void {
  const { store } = change;
  const open = store.approvals.pendingOfRun(runId).some((approval) => approval.stepId === stepId);
  const step = store.steps.find(stepId);
  if (open || step?.status !== "waiting_approval") return;
  store.steps.put({ ...step, status: "running" });
  const run = store.runs.find(runId);
  const others = store.steps.ofRun(runId).some((other) => other.status === "waiting_approval");
  if (run?.status === "waiting_approval" && !others) change.saveRun({ ...run, status: "running" });
}
