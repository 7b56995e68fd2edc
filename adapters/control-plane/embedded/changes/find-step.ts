import { ApiError } from "../api-error.ts";
import type { Run, Step } from "../documents.ts";
import type { Store } from "../store.ts";

/** @throws ApiError 404 when the run is unknown */
export function findRun(store: Store, runId: string): Run {
  const run = store.runs.find(runId);
  if (run === undefined) throw new ApiError(404, `run ${runId} not found`);
  return run;
}

/** @throws ApiError 404 when run or step is unknown, 400 when the step is another run's */
export function findStep(store: Store, runId: string, stepId: string): { run: Run; step: Step } {
  const run = findRun(store, runId);
  const step = store.steps.find(stepId);
  if (step === undefined) throw new ApiError(404, `step ${stepId} not found`);
  if (step.runId !== run.id) throw new ApiError(400, `step ${stepId} is not in run ${runId}`);
  return { run, step };
}
