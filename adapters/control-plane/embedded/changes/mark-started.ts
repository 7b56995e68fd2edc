import type { Run, Step } from "../documents.ts";
import type { Change } from "./change.ts";

/** A worker was heard of: the run and its step show `running`, with the time it was first known. */
export function markStarted(change: Change, run: Run, step: Step | undefined): Run {
  if (step?.status === "pending") {
    change.store.steps.put({ ...step, status: "running", startedAt: step.startedAt ?? change.now });
  }
  const fresh = run.status === "created" || run.status === "queued";
  if (!fresh && run.startedAt !== null) return run;
  const status = fresh ? "running" : run.status;
  return change.saveRun({ ...run, status, startedAt: run.startedAt ?? change.now });
}
