import {
  addSpent,
  type BrokenLimit,
  brokenLimit,
  type Budget,
  nothingSpent,
  readBudget,
  type Spent,
} from "../../../../machines/contracts/domain/budget.ts";
import { isRunEnded, isStepEnded } from "../../../../machines/contracts/domain/status.ts";
import { resolveBudget } from "../budget.ts";
import type { Held, Run } from "../documents.ts";
import { ApiError } from "../routes/request.ts";
import { brokenBudgets } from "../spending.ts";
import type { Change } from "./change.ts";
import { withHeldStep } from "./run-state.ts";
import { findStep, spent } from "./submit-result.ts";

/*
 * A run's budget across many workers. A worker reserves what a model call may use at most, makes the call, and settles
 * the reservation by what was used. Each reservation is one transaction: it is granted only while all that was spent,
 * all that is reserved, and itself are within every limit. So the spending of a run can pass its budget only by as much
 * as a call uses beyond its own reservation.
 *
 *   reserved   counts in full, also when its worker died: the call may have been made, and paid
 *   settled    counts as used
 *   step over  the step's own numbers take the place of its reservations: see `submit-result.ts`
 *   run over   no report counts any more: settlements are added to the numbers of step and run, those that come later
 *              too; what is not settled when the worker lets go is added in full
 */

export interface Asked {
  id: string;
  stepId: string;
  inputTokens: number;
  outputTokens: number;
  /** Null where no price is known: only its tokens count. */
  costMicros: number | null;
}

export type Reserved = { granted: true } | ({ granted: false } & BrokenLimit);

/** Reservations of one run that are kept at most; a loop of so many calls is no run any more. */
const maxHeld = 10_000;

/**
 * @throws ApiError 404 for an unknown run or step, 409 when the run or the step has ended
 */
export function reserve(change: Change, runId: string, asked: Asked): Reserved {
  const { store, now } = change;
  const { run, step } = findStep(store, runId, asked.stepId);
  if (isRunEnded(run.status)) throw new ApiError(409, `run ${run.id} is already ${run.status}`);
  if (isStepEnded(step.status))
    throw new ApiError(409, `step ${step.id} is already ${step.status}`);
  const { id, stepId, inputTokens, outputTokens, costMicros } = asked;
  if (heldBy(run, id) !== undefined) return { granted: true };
  const version = store.versions.find(run.agentVersionId);
  const more = { ...nothingSpent, inputTokens, outputTokens, costMicros: costMicros ?? 0 };
  const broken =
    brokenLimit(budgetOf(run, version?.budget), addSpent(withHeld(run, now), more)) ??
    brokenBudgets(change, run, more);
  if (broken !== null) {
    change.audit(run.id, "budget.refused", { step_id: stepId, reason: broken.message });
    return { granted: false, ...broken };
  }
  const held: Held = { stepId, inputTokens, outputTokens, costMicros, isSettled: false };
  const all = run.held ?? {};
  if (Object.keys(all).length >= maxHeld) throw new ApiError(409, `run ${run.id}: too many calls`);
  change.saveRun({ ...withHeldStep(run, stepId, false), held: { ...all, [id]: held } });
  return { granted: true };
}

/**
 * What was used in place of what was reserved; where the provider could not be asked, the run waits for it from now on,
 * until the step reserves again or ends. A reservation that is gone with its step changes nothing, and one that
 * is settled keeps its first amounts.
 *
 * @throws ApiError 404 for an unknown run or step
 */
export function settleReservation(
  change: Change,
  runId: string,
  used: Asked,
  isUntried = false,
): void {
  const { run } = findStep(change.store, runId, used.stepId);
  const held = heldBy(run, used.id);
  if (held === undefined || held.isSettled) return;
  const { inputTokens, outputTokens, costMicros } = used;
  const { isCounted: _, ...rest } = held;
  const settled: Held = { ...rest, inputTokens, outputTokens, costMicros, isSettled: true };
  const all = { ...run.held, [used.id]: settled };
  if (isRunEnded(run.status)) {
    const uncounted = held.isCounted === true ? addUsed(change, run, held, -1) : run;
    change.saveRun(countHeld(change, { ...uncounted, held: all }, ({ isSettled }) => isSettled));
  } else change.saveRun({ ...withHeldStep(run, used.stepId, isUntried), held: all });
}

/** Adds reservations of a run that ends, or has ended, to its numbers and its steps': no report will. */
export function countHeld(change: Change, run: Run, isMeant: (held: Held) => boolean): Run {
  const { held = {}, ...rest } = run;
  let counted: Run = rest;
  const left: Record<string, Held> = {};
  for (const [id, each] of Object.entries(held)) {
    const isNow = isMeant(each) && each.isCounted !== true;
    if (isNow) counted = addUsed(change, counted, each, 1);
    if (!isMeant(each) || !each.isSettled) left[id] = isNow ? { ...each, isCounted: true } : each;
  }
  return Object.keys(left).length === 0 ? counted : { ...counted, held: left };
}

/** Adds a call to the numbers of its step and its run, or takes it out of them. */
function addUsed({ store }: Change, run: Run, { stepId, ...call }: Held, times: 1 | -1): Run {
  const inputTokens = call.inputTokens * times;
  const outputTokens = call.outputTokens * times;
  const costMicros = (call.costMicros ?? 0) * times;
  const step = store.steps.find(stepId);
  if (step !== undefined) {
    store.steps.put({
      ...step,
      inputTokens: (step.inputTokens ?? 0) + inputTokens,
      outputTokens: (step.outputTokens ?? 0) + outputTokens,
      costMicros: call.costMicros === null ? step.costMicros : (step.costMicros ?? 0) + costMicros,
    });
  }
  return {
    ...run,
    inputTokens: run.inputTokens + inputTokens,
    outputTokens: run.outputTokens + outputTokens,
    costMicros: run.costMicros + costMicros,
  };
}

const heldBy = ({ held = {} }: Run, id: string): Held | undefined =>
  Object.hasOwn(held, id) ? held[id] : undefined;

/** Every limit of a run. */
export const budgetOf = (run: Run, version: Partial<Budget> | undefined): Budget =>
  resolveBudget(readBudget(run.config), version ?? {});

/** What a run has spent and reserved. */
export function withHeld(run: Run, now: number): Spent {
  return addSpent(spent(run, now), sumHeld(Object.values(run.held ?? {})));
}

export function sumHeld(held: readonly Held[]): Partial<Spent> {
  return {
    inputTokens: held.reduce((sum, each) => sum + each.inputTokens, 0),
    outputTokens: held.reduce((sum, each) => sum + each.outputTokens, 0),
    costMicros: held.reduce((sum, each) => sum + (each.costMicros ?? 0), 0),
  };
}
