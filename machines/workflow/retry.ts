import type { Failure, FailureKind } from "../contracts/domain/failure.ts";
import type { RetryPlan } from "./plan.ts";

const longestDelayMs = 24 * 3_600_000;

/** Doing the same again can't help, or must not be done unasked. */
const neverRetried: ReadonlySet<FailureKind> = new Set([
  "invalid_job",
  "invalid_input",
  "policy_denied",
  "approval_rejected",
  "approval_expired",
  "budget_exceeded",
  "cancelled",
  "in_doubt",
  "unauthorized",
  "forbidden",
  "too_large",
]);

/**
 * Whether there is another attempt after one that failed. Whether its worker would have tried again does not matter:
 * that is about one job, and whoever wrote the workflow asked for another.
 */
export const hasAttemptLeft = (
  retry: RetryPlan | null,
  attempt: number,
  { kind }: Failure,
): retry is RetryPlan =>
  retry !== null && attempt > 0 && attempt < retry.maxAttempts && !neverRetried.has(kind);

/** How long to wait before the attempt after this one: no shorter than a neighbour asked for, and at most a day. */
export function retryDelayMs(retry: RetryPlan, attempt: number, failure?: Failure): number {
  const own = Math.ceil(retry.delayMs * retry.multiplier ** (attempt - 1));
  return Math.min(longestDelayMs, Math.max(own, failure?.retryAfterMs ?? 0));
}
