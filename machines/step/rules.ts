import { type Failure, maxHeldMs } from "../contracts/domain/failure.ts";
import type { StepLimits, StepContext } from "./context.ts";
import type { StepEvent } from "./events.ts";

/**
 * How long to wait before trying again, in milliseconds: exponential with full jitter, drawn by `jitter` in
 * [0, 1); never sooner than the neighbour asked for, and never later than `maxDelayMs` unless it asked.
 * Source of the jitter: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 *
 * @param attempts failed attempts so far, this one included
 */
export function retryDelay(
  failure: Failure,
  attempts: number,
  jitter: number,
  limits: Pick<StepLimits, "baseDelayMs" | "maxDelayMs">,
): number {
  // Beyond 2^30 the bound is long reached; the cap keeps the product a safe integer.
  const ceiling = Math.min(limits.maxDelayMs, limits.baseDelayMs * 2 ** Math.min(attempts - 1, 30));
  return Math.max(Math.round(ceiling * jitter), failure.retryAfterMs ?? 0);
}

interface ActionArgs {
  context: StepContext;
  event: StepEvent;
}

/** A kept record may say more: it has the job that an unreadable delivery lacks. */
const isInvalid = ({ context, event }: ActionArgs): boolean => {
  const kept = event.type === "record.kept" ? event.kept.problem : undefined;
  return (kept === undefined ? context.problem : kept) !== null;
};

const isCancelled = ({ context }: ActionArgs): boolean => context.cancelReason !== null;

const leftAwaiting = ({ event }: ActionArgs): boolean =>
  event.type === "record.kept" && event.left === "awaiting-approval";

/** Whether the control plane already has every question. */
const isAsked = ({ context }: ActionArgs): boolean =>
  context.asks.every((ask) => ask.approvalId !== null);

/** An ask without a question would wait for ever. */
const hasAsks = ({ event }: ActionArgs): boolean => "asks" in event && event.asks.length > 0;

/** Whether somebody has already answered one of the questions that were just put. */
const isAnswered = ({ event }: ActionArgs): boolean =>
  event.type === "approval.requested" && event.isAnswered === true;

const mayCheckAgain = ({ context, event }: ActionArgs): boolean =>
  event.type === "activity.failed" &&
  event.failure.retryable &&
  context.checks + 1 < context.limits.maxAttempts;

type Failed = Extract<StepEvent, { type: "activity.failed" }>;

/** Between two looks at such a neighbour at least, whatever it said. Milliseconds. */
export const leastHoldMs = 1_000;

/** Failed attempts with this one. What was not even tried is none. */
export const attemptsAfter = (
  { attempts }: Pick<StepContext, "attempts">,
  { failure, hasProgressed }: Pick<Failed, "failure" | "hasProgressed">,
): number => (hasProgressed === true ? 0 : attempts) + (failure.untried === true ? 0 : 1);

/** Since when the step has waited for a neighbour that it could not ask; null where something was tried. */
export const heldSinceAfter = (
  { heldSince }: Pick<StepContext, "heldSince">,
  { failure, hasProgressed, at }: Pick<Failed, "failure" | "hasProgressed" | "at">,
): number | null => {
  if (failure.untried !== true) return null;
  return hasProgressed === true ? at : (heldSince ?? at);
};

/** How long to wait after a failure of the step's own work. Those that are held come back at different times. */
export function delayAfter(context: StepContext, event: Failed): number {
  const { failure, jitter } = event;
  const attempts = Math.max(attemptsAfter(context, event), 1);
  const delay = retryDelay(failure, attempts, jitter, context.limits);
  return failure.untried === true
    ? Math.round(Math.max(delay, leastHoldMs) * (1 + jitter / 4))
    : delay;
}

const mayRetry = ({ context, event }: ActionArgs): boolean => {
  if (event.type !== "activity.failed" || !event.failure.retryable) return false;
  const heldSince = heldSinceAfter(context, event);
  return heldSince === null
    ? attemptsAfter(context, event) < context.limits.maxAttempts
    : event.at - heldSince < maxHeldMs;
};

/** A wait this long leaves the worker; one for a neighbour that is not asked does so at once, to hold up nobody. */
const mayRetryLater = (moment: ActionArgs): boolean => {
  const { context, event } = moment;
  if (event.type !== "activity.failed" || !mayRetry(moment)) return false;
  return event.failure.untried === true || delayAfter(context, event) > context.limits.parkAfterMs;
};

/** Nothing was asked of a neighbour that will not be asked for now: the step waits for it elsewhere. */
const isHeld = (moment: ActionArgs): boolean =>
  moment.event.type === "activity.failed" &&
  moment.event.failure.untried === true &&
  mayRetry(moment);

const mayRepair = ({ context, event }: ActionArgs): boolean =>
  event.type === "output.invalid" &&
  event.repairable &&
  context.repairs < context.limits.maxRepairs;

/** Whether the result was already given up for a short failure: there is nothing shorter to try. */
const isReduced = ({ context }: ActionArgs): boolean => context.undelivered !== null;

const isDraining = ({ context }: ActionArgs): boolean => context.draining;

/** What decides between two arrows of the chart: pure, one function a guard. */
export const rules = {
  isInvalid,
  isCancelled,
  leftAwaiting,
  isAsked,
  hasAsks,
  isAnswered,
  mayCheckAgain,
  isHeld,
  mayRetry,
  mayRetryLater,
  mayRepair,
  isReduced,
  isDraining,
};
