/**
 * The control plane's statuses. Requests and its database spell them in snake_case; FerrumDeck
 * gateway's responses drop the underscores (`waitingapproval`). We write the first and read both.
 */
export const runStatuses = [
  "created",
  "queued",
  "running",
  "waiting_approval",
  "completed",
  "failed",
  "cancelled",
  "timeout",
  "budget_killed",
  "policy_blocked",
  "airlock_blocked",
] as const;
export type RunStatus = (typeof runStatuses)[number];

export const stepStatuses = [
  "pending",
  "running",
  "waiting_approval",
  "completed",
  "failed",
  "skipped",
] as const;
export type StepStatus = (typeof stepStatuses)[number];

export const approvalStatuses = ["pending", "approved", "rejected", "expired"] as const;
export type ApprovalStatus = (typeof approvalStatuses)[number];

const endedRuns: ReadonlySet<RunStatus> = new Set([
  "completed",
  "failed",
  "cancelled",
  "timeout",
  "budget_killed",
  "policy_blocked",
  "airlock_blocked",
]);
const endedSteps: ReadonlySet<StepStatus> = new Set(["completed", "failed", "skipped"]);

export const isRunEnded = (status: RunStatus): boolean => endedRuns.has(status);

/**
 * Whether nothing more is to be done for the run. Not for one that is `policy_blocked`: FerrumDeck's check-tool sets a
 * run to that when an approval is needed, goes on after the yes, and blocks it again when the approved call is checked.
 */
export const isRunOver = (status: RunStatus): boolean =>
  isRunEnded(status) && status !== "policy_blocked";

export const isStepEnded = (status: StepStatus): boolean => endedSteps.has(status);

/** Reads a status in either spelling and any case; `undefined` when it is none of `known`. */
function readStatus<S extends string>(known: readonly S[], text: string): S | undefined {
  const bare = text.toLowerCase().replaceAll("_", "");
  return known.find((status) => status.replaceAll("_", "") === bare);
}

export const readRunStatus = (text: string): RunStatus | undefined => readStatus(runStatuses, text);
export const readStepStatus = (text: string): StepStatus | undefined =>
  readStatus(stepStatuses, text);
export const readApprovalStatus = (text: string): ApprovalStatus | undefined =>
  readStatus(approvalStatuses, text);
