import type { Run, Step, Approval } from "../documents.ts";
import type { Change } from "./change.ts";
import { maxHeldMs } from "../../../../machines/contracts/domain/failure.ts";
import type { Json } from "../../../../machines/contracts/domain/json.ts";
import {
  isStepEnded,
  type RunStatus,
  isRunEnded,
} from "../../../../machines/contracts/domain/status.ts";
import { ApiError } from "../routes/request.ts";
import { brokenBudgets } from "../spending.ts";
import { countHeld } from "./reservations.ts";
import { atWork, cutShort, findRun } from "./submit-result.ts";

/** A worker was heard of: the run and its step show `running`, with the time it was first known. */
export function markStarted(change: Change, run: Run, step: Step | undefined): Run {
  if (step !== undefined) {
    const status = step.status === "pending" ? "running" : step.status;
    const startedAt = step.startedAt ?? change.now;
    change.store.steps.put({ ...step, status, startedAt, heardAt: change.now });
  }
  const fresh = run.status === "created" || run.status === "queued";
  if (!fresh && run.startedAt !== null) return run;
  const status = fresh ? "running" : run.status;
  return change.saveRun({ ...run, status, startedAt: run.startedAt ?? change.now });
}

/** A step of the run has ended: the next one is enqueued, or the run ends. */
export function progressRun(change: Change, run: Run, ended: Step): Run {
  const { store, workflows } = change;
  if (ended.workflow !== undefined && workflows !== null) {
    const after = workflows.ended(change, run, ended);
    return isRunEnded(after.status) ? after : (endOverBudget(change, after) ?? after);
  }
  const { steps } = store;
  // Not all of them: what those brought that have ended may be long.
  const open = steps.open(run.id);
  const looked = [...steps.failed(run.id), ...open];
  const last = open.length === 0 ? steps.lastCompleted(run.id) : undefined;
  if (last !== undefined) looked.push(last);
  const move = nextMove(looked.toSorted((one, other) => one.number - other.number));
  switch (move.kind) {
    case "wait":
      return change.saveRun({ ...run, status: "running" });
    case "enqueue": {
      change.saveRun(run);
      const over = endOverBudget(change, run);
      if (over !== null) return over;
      const next = store.steps.find(move.stepId);
      if (next !== undefined) change.enqueue(run, next);
      return change.saveRun({ ...run, status: "running" });
    }
    case "fail": {
      const error = store.steps.find(move.stepId)?.error ?? null;
      return endRun(change, run, { status: "failed", reason: "Step failed", error });
    }
    case "complete":
      return endRun(change, run, { status: "completed", reason: null, output: move.output });
  }
}

/** Workers that reserve nothing are stopped between two steps, at the limits of agent and tenant; null within them. */
function endOverBudget(change: Change, run: Run): Run | null {
  const broken = brokenBudgets(change, run, {});
  if (broken === null) return null;
  change.audit(run.id, "budget.exceeded", { reason: broken.message });
  return endRun(change, run, { status: "budget_killed", reason: broken.message });
}

export type Move =
  | { kind: "wait" }
  | { kind: "enqueue"; stepId: string }
  | { kind: "fail"; stepId: string }
  | { kind: "complete"; output: Json };

type Progress = Pick<Step, "id" | "status" | "onError" | "enqueuedAt" | "output">;

/**
 * What a run does now, from its steps in their order: one step at a time; a failed step fails the run unless it
 * said `continue`; a run whose steps have all ended completes with the last completed step's output.
 */
export function nextMove(steps: readonly Progress[]): Move {
  const failed = steps.find((step) => step.status === "failed" && step.onError === "fail");
  if (failed !== undefined) return { kind: "fail", stepId: failed.id };
  const open = steps.find((step) => !isStepEnded(step.status));
  if (open === undefined) {
    const last = steps.findLast((step) => step.status === "completed");
    return { kind: "complete", output: last?.output ?? null };
  }
  return open.enqueuedAt === null ? { kind: "enqueue", stepId: open.id } : { kind: "wait" };
}

/**
 * Keeps the time that a run waits apart, when it begins or ends: an approval given the next morning, or a provider that
 * refused the key for a while, must not break the wall time budget.
 */
export function trackWaiting(run: Run, now: number): Run {
  const isAsking = run.status === "waiting_approval";
  const isHeld = !isAsking && run.heldSteps !== undefined;
  if (isAsking === (run.waitingSince !== null) && isHeld === (run.heldSince !== undefined)) {
    return run;
  }
  const { heldSince: _, ...rest } = run;
  return {
    ...rest,
    waitedMs: waitedUntil(run, now),
    waitingSince: isAsking ? now : null,
    ...(isHeld ? { heldSince: now } : {}),
  };
}

/** How long a run has waited. A provider is waited for as long as a step may be, and no longer: a worker may be gone. */
export function waitedUntil({ waitedMs, waitingSince, heldSince }: Run, now: number): number {
  const forPeople = waitingSince === null ? 0 : now - waitingSince;
  const forProviders = heldSince === undefined ? 0 : Math.min(now - heldSince, maxHeldMs);
  return waitedMs + forPeople + forProviders;
}

/** The run with the step among those that wait for a provider, or no longer so. */
export function withHeldStep(
  { heldSteps = [], ...run }: Run,
  stepId: string,
  isHeld: boolean,
): Run {
  const others = heldSteps.filter((id) => id !== stepId);
  const all = isHeld ? [...others, stepId] : others;
  return all.length === 0 ? run : { ...run, heldSteps: all };
}

export interface RunEnding {
  status: RunStatus;
  reason: string | null;
  output?: Json;
  error?: Json;
}

/** Steps and questions of an ended run that one change ends: some twenty milliseconds. */
const mostEnded = 200;

/**
 * Ends a run for good. Its open questions expire; steps never enqueued are skipped. A step out with a worker stays as it is
 * until that worker reports and is told of the end, or was silent for too long; one that waits as data is enqueued again,
 * so that a worker hears of it and lets go. What their model calls have used so far counts. Of a run that has very many
 * of them the run ends at once, and what there is no room for in this change in others after it.
 */
export function endRun(change: Change, run: Run, ending: RunEnding): Run {
  const { now, workflows } = change;
  const counted = countHeld(change, run, ({ isSettled }) => isSettled);
  const { status, reason, output = null, error = null } = ending;
  const ended = { ...counted, status, statusReason: reason, output, error, completedAt: now };
  if (workflows !== null) workflows.end(change, ended);
  else for (let after: number | null = -1; after !== null;) after = endSteps(change, ended, after);
  change.audit(run.id, `run.${status}`, { reason });
  return change.saveRun(ended);
}

/**
 * Ends what an ended run left open, as much as there is room for in one change.
 *
 * @param after the number of the last waiting step that was enqueued again; -1 for none
 * @returns likewise, for the next change; null when nothing is left
 */
export function endSteps(change: Change, run: Run, after: number): number | null {
  const { now, store } = change;
  const asked = store.approvals.pendingOfRun(run.id, mostEnded);
  for (const approval of asked) closeApproval(change, approval, `run ${run.status}`);
  const held = store.steps.heldBack(run.id, mostEnded - asked.length);
  for (const step of held) store.steps.put({ ...step, status: "skipped", completedAt: now });
  const room = mostEnded - asked.length - held.length;
  const waiting = store.steps.waiting(run.id, after, room);
  for (const step of waiting) change.enqueue(run, step);
  return waiting.length < room ? null : (waiting.at(-1)?.number ?? after);
}

/** So long a step may be silent: longer than nearly all that work, and soon enough for one that nobody has. */
export const silentMs = 10 * 60_000;

/**
 * Enqueues again what was enqueued and never heard of since: a stream that lost its last entries, or was trimmed, must not
 * leave a run queued for ever. Where a worker has the step all the same, its store knows the second entry for a duplicate
 * and drops it. What a run that has ended still has out is given up.
 */
export function enqueueSilent(change: Change): void {
  const { now, store } = change;
  for (const step of store.steps.silentSince(now - silentMs)) {
    const run = store.runs.find(step.runId);
    if (run !== undefined && isRunEnded(run.status)) {
      const endedAt = run.completedAt ?? now;
      // Its worker has to hear of the end first, and to report.
      if (endedAt > now - silentMs) store.steps.put({ ...step, heardAt: endedAt });
      else skipSilent(change, run, step);
      continue;
    }
    // A question that is open is waited for; one that is answered, and nobody came, is not.
    const isAsked = store.approvals
      .pendingOfRun(step.runId)
      .some((approval) => approval.stepId === step.id);
    if (run === undefined || isAsked) {
      store.steps.put({ ...step, heardAt: now });
      continue;
    }
    change.enqueue(run, step);
    change.audit(run.id, "step.enqueued_again", { step_id: step.id });
  }
}

/** Nobody has told of a step since its run ended: its worker is gone. */
function skipSilent(change: Change, run: Run, { id }: Step): void {
  cutShort(change, run, id, (step) =>
    step.startedAt === null
      ? {}
      : atWork(run, ", and nothing has been heard of its worker since: what it did is not known"),
  );
  change.audit(run.id, "step.given_up", { step_id: id });
}

/** Nobody needs the answer any more. */
export function closeApproval(change: Change, approval: Approval, note: string): void {
  const { now, store } = change;
  store.approvals.put({ ...approval, status: "expired", resolvedAt: now, note });
  change.audit(approval.runId, "approval.expired", { approval_id: approval.id, note });
}

/** @throws ApiError 404 for an unknown run, 400 for one that has ended */
export function cancelRun(change: Change, runId: string): Run {
  const run = findRun(change.store, runId);
  if (isRunEnded(run.status)) throw new ApiError(400, `run ${runId} is already ${run.status}`);
  return endRun(change, run, { status: "cancelled", reason: "Cancelled by user" });
}
