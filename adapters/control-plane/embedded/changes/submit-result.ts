import { createHash } from "node:crypto";
import {
  isJsonObject,
  type Json,
  type JsonObject,
} from "../../../../machines/contracts/domain/json.ts";
import { isRunEnded, isStepEnded } from "../../../../machines/contracts/domain/status.ts";
import { ApiError } from "../routes/request.ts";
import type { Held, Run, Step } from "../documents.ts";
import { countHeld, sumHeld } from "./reservations.ts";
import {
  brokenLimit,
  type Spent,
  readBudget,
} from "../../../../machines/contracts/domain/budget.ts";
import { resolveBudget } from "../budget.ts";
import type { Change } from "./change.ts";
import { closeApproval, endRun, progressRun, waitedUntil, withHeldStep } from "./run-state.ts";
import type { Rows } from "../rows.ts";

export interface Submission {
  runId: string;
  stepId: string;
  status: "completed" | "failed" | "waiting_approval";
  output: Json;
  error: Json;
  inputTokens: number | null;
  outputTokens: number | null;
  /** `Idempotency-Key` and `X-Stateplane-Fence`; null from a worker that sends none. */
  key: string | null;
  fence: number | null;
  /** What its worker told of its way; no part of what makes two reports the same. */
  trace?: JsonObject | null;
}

/** What a model's tokens cost in micro-dollars; null where no price is known. */
export type CostMicros = (
  model: string,
  inputTokens: number,
  outputTokens: number,
) => number | null;

/** A refusal is a value here: the change it comes with is kept. */
export type Submitted =
  | { kind: "accepted" | "replayed"; step: Step }
  | { kind: "refused"; error: ApiError };

/**
 * A worker's report of a step. A repeat (same key, same body) changes nothing; a step or run that has ended
 * takes no other result; a fence lower than one seen is a worker that lost its lease.
 *
 * @throws ApiError 404, or 400 when run and step do not go together
 */
export function submitResult(
  change: Change,
  submission: Submission,
  costMicros: CostMicros,
): Submitted {
  const { store } = change;
  const { run, step } = findStep(store, submission.runId, submission.stepId);
  const digest = digestOf(submission);
  if (
    submission.key !== null &&
    step.reportKey === submission.key &&
    step.reportDigest === digest
  ) {
    return { kind: "replayed", step };
  }
  const error = refusal(run, step, submission.fence);
  if (error !== null) {
    if (isRunEnded(run.status) && !isStepEnded(step.status))
      skipRest(change, run, step, submission);
    return { kind: "refused", error };
  }
  const held = Object.values(run.held ?? {}).filter(({ stepId }) => stepId === step.id);
  const reported = keepStep(change, step, submission, digest, held, costMicros);
  const counted = count(run, step, reported, change.now);
  change.audit(run.id, `step.${submission.status}`, { step_id: step.id, step_type: step.type });
  settle(change, counted, reported);
  return { kind: "accepted", step: reported };
}

function refusal(run: Run, step: Step, fence: number | null): ApiError | null {
  if (isStepEnded(step.status)) {
    return new ApiError(409, `step ${step.id} is already ${step.status}`);
  }
  if (isRunEnded(run.status)) return new ApiError(409, `run ${run.id} is already ${run.status}`);
  if (fence !== null && fence < step.fence) {
    const message = `fence ${fence} of step ${step.id} is behind ${step.fence}: the lease was lost`;
    return new ApiError(409, message, "FENCED");
  }
  return null;
}

/** The last worker of an ended run has been told; what it did is told, and that it was cut short. */
function skipRest(change: Change, run: Run, { id }: Step, submission: Submission): void {
  cutShort(change, run, id, (step) => {
    const { trace } = submission;
    const states = trace?.["states"];
    const hasBegun = Array.isArray(states) ? states.includes("executing") : step.startedAt !== null;
    return {
      ...(trace && { trace }),
      ...(hasBegun && {
        startedAt: beganAt(step, submission, change.now),
        ...atWork(run, ": what it did stands, and its result was not taken"),
      }),
    };
  });
}

/** Skips a step that its run's end met out with a worker. Calls of its that were never settled may have been paid. */
export function cutShort(
  change: Change,
  run: Run,
  id: string,
  told: (step: Step) => Partial<Step>,
): void {
  const { now, store } = change;
  if (run.held !== undefined) change.saveRun(countHeld(change, run, ({ stepId }) => stepId === id));
  const step = store.steps.find(id);
  if (step === undefined) return;
  store.steps.put({ ...step, status: "skipped", completedAt: now, ...told(step) });
}

/** The error of a step that had begun: the wire has one word for such a one and for one that never did. */
export function atWork({ status }: Run, what: string): Pick<Step, "error"> {
  const end = status === "cancelled" ? "cancelled" : `ended (${status})`;
  return {
    error: { kind: "cancelled", message: `the run was ${end} while this step was at work${what}` },
  };
}

function keepStep(
  { now, store }: Change,
  step: Step,
  submission: Submission,
  digest: string,
  held: readonly Held[],
  costMicros: CostMicros,
): Step {
  const { output, error, inputTokens, outputTokens, key, fence } = submission;
  const answered = submission.status === "waiting_approval" && isAnswered(store, step.id);
  const status = answered ? "running" : submission.status;
  const reported: Step = {
    ...step,
    status,
    output,
    error,
    ...(submission.trace && { trace: submission.trace }),
    ...(held.length === 0
      ? { inputTokens, outputTokens, costMicros: priceOf(step, submission, costMicros) }
      : usedBy(step, submission, held, isStepEnded(status))),
    startedAt: beganAt(step, submission, now),
    completedAt: isStepEnded(status) ? now : null,
    fence: Math.max(step.fence, fence ?? 0),
    heardAt: now,
    reportKey: key,
    reportDigest: digest,
  };
  store.steps.put(reported);
  return reported;
}

/** Most steps are first heard of when they end: the worker knows when it took them up. */
function beganAt({ startedAt, createdAt }: Step, { trace }: Submission, now: number): number {
  const entered = Array.isArray(trace?.["entered"]) ? trace["entered"] : [];
  const told = Date.parse(String(entered.find((at) => typeof at === "string")));
  const known = startedAt ?? now;
  return Number.isNaN(told) ? known : Math.min(known, Math.max(told, createdAt));
}

/** Where nothing was reserved, the tokens are priced as plain ones of the step's model. */
function priceOf({ model }: Step, submission: Submission, costMicros: CostMicros): number | null {
  const { inputTokens, outputTokens } = submission;
  if (model === null || (inputTokens === null && outputTokens === null)) return null;
  return costMicros(model, inputTokens ?? 0, outputTokens ?? 0);
}

/**
 * The numbers of a step whose calls were reserved. Their settlements know the provider's caches, and calls that failed
 * or were never settled, which the report does not: what is more counts. A step that has not ended keeps them apart.
 */
function usedBy(
  step: Step,
  submission: Submission,
  held: readonly Held[],
  isEnded: boolean,
): Pick<Step, "inputTokens" | "outputTokens" | "costMicros"> {
  if (!isEnded) return step;
  const sum = sumHeld(held);
  return {
    inputTokens: Math.max(submission.inputTokens ?? 0, sum.inputTokens ?? 0),
    outputTokens: Math.max(submission.outputTokens ?? 0, sum.outputTokens ?? 0),
    costMicros: held.every(({ costMicros }) => costMicros === null) ? null : (sum.costMicros ?? 0),
  };
}

/** A person may be quicker than the worker's word that it waits: after a yes to all, nothing is left to wait for. */
function isAnswered(store: Change["store"], stepId: string): boolean {
  const asked = store.approvals.ofStep(stepId);
  return asked.length > 0 && asked.every((approval) => approval.status === "approved");
}

/** A step's numbers are its totals: a later report of it replaces what an earlier one counted. */
function count(run: Run, before: Step, after: Step, now: number): Run {
  const more = (key: "inputTokens" | "outputTokens" | "costMicros") =>
    run[key] + (after[key] ?? 0) - (before[key] ?? 0);
  const { held, ...rest } = withHeldStep(run, after.id, false);
  const others = Object.entries(held ?? {}).filter(([, { stepId }]) => stepId !== after.id);
  const isEnded = isStepEnded(after.status);
  const kept = isEnded ? Object.fromEntries(others) : held;
  // Nobody looks at its calls again.
  const countedCalls = rest.countedCalls?.filter(
    (id) => !isEnded || !id.startsWith(`${after.id}/`),
  );
  return {
    ...rest,
    ...(countedCalls === undefined ? {} : { countedCalls }),
    ...(kept === undefined || Object.keys(kept).length === 0 ? {} : { held: kept }),
    startedAt: run.startedAt ?? after.startedAt ?? now,
    inputTokens: more("inputTokens"),
    outputTokens: more("outputTokens"),
    costMicros: more("costMicros"),
  };
}

function settle(change: Change, run: Run, step: Step): void {
  const { now, store } = change;
  if (isStepEnded(step.status)) {
    for (const approval of store.approvals.pendingOfRun(run.id)) {
      if (approval.stepId === step.id) closeApproval(change, approval, `step ${step.status}`);
    }
  }
  const version = store.versions.find(run.agentVersionId);
  const budget = resolveBudget(readBudget(run.config), version?.budget ?? {});
  const broken = brokenLimit(budget, spent(run, now))?.message ?? refusedBudget(step);
  if (broken !== null) {
    change.audit(run.id, "budget.exceeded", { reason: broken });
    endRun(change, run, { status: "budget_killed", reason: broken });
  } else if (isStepEnded(step.status)) progressRun(change, run, step);
  else if (step.workflow !== undefined && change.workflows !== null)
    change.workflows.asked(change, run, step, step.status === "running");
  else
    change.saveRun({ ...run, status: step.status === "running" ? "running" : "waiting_approval" });
}

/** Why a step ended before a call that its run's budget did not hold; null when it did not. */
function refusedBudget({ status, error }: Step): string | null {
  if (status !== "failed" || !isJsonObject(error) || error["kind"] !== "budget_exceeded")
    return null;
  const { message, details } = error;
  const isOfRun = isJsonObject(details) && details["scope"] === "run";
  return isOfRun ? String(message) : null;
}

export function spent(run: Run, now: number): Spent {
  const { inputTokens, outputTokens, toolCalls, costMicros } = run;
  return {
    inputTokens,
    outputTokens,
    toolCalls,
    costMicros,
    wallTimeMs: now - run.createdAt - waitedUntil(run, now),
  };
}

function digestOf({ status, output, error, inputTokens, outputTokens }: Submission): string {
  const body = JSON.stringify([status, output, error, inputTokens, outputTokens]);
  return createHash("sha256").update(body).digest("hex");
}

/** @throws ApiError 404 when the run is unknown */
export function findRun(store: Rows, runId: string): Run {
  const run = store.runs.find(runId);
  if (run === undefined) throw new ApiError(404, `run ${runId} not found`);
  return run;
}

/** @throws ApiError 404 when run or step is unknown, 400 when the step is another run's */
export function findStep(store: Rows, runId: string, stepId: string): { run: Run; step: Step } {
  const run = findRun(store, runId);
  const step = store.steps.find(stepId);
  if (step === undefined) throw new ApiError(404, `step ${stepId} not found`);
  if (step.runId !== run.id) throw new ApiError(400, `step ${stepId} is not in run ${runId}`);
  return { run, step };
}
