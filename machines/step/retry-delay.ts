import type { Failure } from "../contracts/failure.ts";
import type { StepLimits } from "./context.ts";

/**
 * How long to wait before trying again, in milliseconds: exponential with full jitter, drawn by `chance` in
 * [0, 1); never sooner than the neighbour asked for, and never later than `maxDelayMs` unless it asked.
 * Source of the jitter: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 *
 * @param attempts failed attempts so far, this one included
 */
export function retryDelay(
  failure: Failure,
  attempts: number,
  chance: number,
  limits: Pick<StepLimits, "baseDelayMs" | "maxDelayMs">,
): number {
  // Beyond 2^30 the bound is long reached; the cap keeps the product a safe integer.
  const ceiling = Math.min(limits.maxDelayMs, limits.baseDelayMs * 2 ** Math.min(attempts - 1, 30));
  return Math.max(Math.round(ceiling * chance), failure.retryAfterMs ?? 0);
}
