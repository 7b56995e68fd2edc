import { type Failure, ok, retryable, troubleOf } from "../../machines/contracts/domain/failure.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import { isRunOver } from "../../machines/contracts/domain/status.ts";
import type { Action } from "../../machines/contracts/domain/action.ts";
import { lookGoodMs } from "../run-looks.ts";
import type { ActivityScope } from "./session.ts";

/** That the step's run has ended, or why that can't be seen. */
export type RunEnd = { kind: "failed"; failure: Failure } | { kind: "ended"; reason: string };

/** Whether a call of an agent is made on the worker's word alone while the control plane is away. */
export const isFailingOpen = ({ options }: ActivityScope, action: Action): boolean =>
  options.failClosed === false && action.call !== undefined;

/**
 * Nothing is done for a run that has ended. Where results are recognised by their key, the control plane guards ended
 * runs, and its check-tool denies their tools: one call says both.
 */
export async function lookAtRun(
  scope: ActivityScope,
  { runId }: Job,
  action: Action,
): Promise<RunEnd | null> {
  const isOpen = isFailingOpen(scope, action);
  const { controlPlane } = isOpen ? scope : scope.ports;
  if (action.kind === "tool") {
    const extensions = await controlPlane.extensions(scope.signal);
    if (!extensions.ok && isOpen) return null;
    if (!extensions.ok) return { kind: "failed", failure: closed(extensions.failure) };
    if (extensions.value.has("idempotent-results")) return null;
  }
  const end = await seeEnd(scope, runId, { controlPlane });
  if (end?.kind === "failed" && isOpen && troubleOf(end.failure) === "passing") return null;
  return end?.kind === "failed" ? { kind: "failed", failure: closed(end.failure) } : end;
}

/** Whether the run has ended, or why that can't be seen; null where it goes on. */
export async function seeEnd(
  { runs, session, ports, signal }: ActivityScope,
  runId: string,
  { controlPlane }: Pick<ActivityScope["ports"], "controlPlane">,
): Promise<RunEnd | null> {
  // One look serves all steps of a run for a moment, and a step that waited looks anew.
  const sinceWait = ports.clock.monotonic() - session.waitedUntil;
  const maxAgeMs = session.isResumed ? 0 : Math.min(lookGoodMs, sinceWait);
  const seen = runs.seen(runId, maxAgeMs);
  const run = seen === null ? await runs.look(controlPlane, runId, signal, maxAgeMs) : ok(seen);
  if (!run.ok) return { kind: "failed", failure: run.failure };
  const status = run.value;
  if (!isRunOver(status)) return null;
  return { kind: "ended", reason: `the run has already ended: ${status}` };
}

/** A failure of the control plane as policy's: closed, and tried again where it may pass. */
export function closed(failure: Failure): Failure {
  if (!failure.retryable) return failure;
  const message = `policy can't be asked: ${failure.message}`;
  return retryable("policy_unavailable", message, failure.retryAfterMs);
}
