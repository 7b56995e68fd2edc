import type { Run } from "../documents.ts";

/**
 * Keeps the time a run spends on people's decisions apart, when its status turns to or from waiting: an
 * approval given the next morning must not break the wall time budget.
 */
export function trackWaiting(run: Run, now: number): Run {
  const waits = run.status === "waiting_approval";
  if (waits === (run.waitingSince !== null)) return run;
  if (run.waitingSince === null) return { ...run, waitingSince: now };
  return { ...run, waitingSince: null, waitedMs: run.waitedMs + (now - run.waitingSince) };
}
