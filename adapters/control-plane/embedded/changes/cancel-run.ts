import { isRunEnded } from "../../../../machines/contracts/status.ts";
import { ApiError } from "../api-error.ts";
import type { Run } from "../documents.ts";
import type { Change } from "./change.ts";
import { endRun } from "./end-run.ts";
import { findRun } from "./find-step.ts";

/** @throws ApiError 404 for an unknown run, 400 for one that has ended */
export function cancelRun(change: Change, runId: string): Run {
  const run = findRun(change.store, runId);
  if (isRunEnded(run.status)) throw new ApiError(400, `run ${runId} is already ${run.status}`);
  return endRun(change, run, { status: "cancelled", reason: "Cancelled by user" });
}
