import { type StepResult, type Usage, usageOfFailure } from "../contracts/domain/step-result.ts";
import { deniedBy, type Grant } from "../contracts/domain/action.ts";
import type { Job } from "../contracts/domain/job.ts";
import { type Failure, terminal } from "../contracts/domain/failure.ts";
import { cutText } from "../contracts/domain/text.ts";
import type { StepContext } from "./context.ts";
import type { StepEvent } from "./events.ts";
import { attemptsAfter, delayAfter, heldSinceAfter, retryDelay } from "./rules.ts";

const usageParts = [
  "costMicros",
  "cacheReadTokens",
  "cacheWrite5mTokens",
  "cacheWrite1hTokens",
  "reasoningTokens",
] as const;

/** What two pieces of work used together: a repaired answer costs both tries. */
export function addUsage(first: Usage | null, second: Usage | null): Usage | null {
  if (first === null || second === null) return first ?? second;
  const sum: Usage = {
    inputTokens: first.inputTokens + second.inputTokens,
    outputTokens: first.outputTokens + second.outputTokens,
  };
  // A cost is that of all, or it is not claimed.
  const isPriced = [first, second].every(
    ({ costMicros, inputTokens, outputTokens }) =>
      costMicros !== undefined || inputTokens + outputTokens === 0,
  );
  for (const part of usageParts) {
    if (part === "costMicros" && !isPriced) continue;
    if (first[part] === undefined && second[part] === undefined) continue;
    sum[part] = (first[part] ?? 0) + (second[part] ?? 0);
  }
  if (first.estimated === true || second.estimated === true) sum.estimated = true;
  return sum;
}

export function completed(context: StepContext): StepResult {
  return { status: "completed", output: context.output, usage: context.usage };
}

export function failedWith(context: StepContext, failure: Failure): StepResult {
  return { status: "failed", failure, output: context.output, usage: context.usage };
}

const deadlines = {
  queue: "the step waited in the queue past its deadline",
  approval: "nobody decided before the approval's deadline",
  executing: "the step's work took longer than it may",
  total: "the step as a whole took longer than it may",
};

export function timedOut(which: keyof typeof deadlines): Failure {
  return terminal("timeout", deadlines[which], { deadline: which });
}

interface ActionArgs {
  context: StepContext;
  event: StepEvent;
}
type Change = Partial<StepContext>;

/** Goes on where the kept record left off, under the limits of today. */
const resumeFromRecord = ({ context, event }: ActionArgs): Change => {
  if (event.type !== "record.kept") return {};
  const { job = context.job, grants = context.grants } = event.kept;
  return { ...event.kept, job: withEdits(job, grants) };
};

/** The step's own call with the arguments that a person has put in place of those it was made with. */
function withEdits(job: Job | null, grants: readonly Grant[]): Job | null {
  const edit = grants.findLast((grant) => grant.edit?.isStep === true)?.edit;
  if (job === null || edit === undefined) return job;
  return { ...job, input: { ...job.input, tool_input: edit.input } };
}

function takeResult({ context, event }: ActionArgs): Change {
  const isKept = event.type === "record.recorded" || event.type === "result.recorded";
  return isKept ? { result: event.result ?? context.result } : {};
}

const keepVerdict = ({ event }: ActionArgs): Change =>
  "verdict" in event ? { verdict: event.verdict } : {};

const keepAsks = ({ event }: ActionArgs): Change =>
  "asks" in event ? { asks: event.asks, waitsFor: null } : {};

const keepGrants = ({ context, event }: ActionArgs): Change =>
  event.type === "approval.granted" || event.type === "approval.settled"
    ? {
        job: withEdits(context.job, event.grants),
        grants: [...context.grants, ...event.grants],
        refusals: [...context.refusals, ...("refusals" in event ? event.refusals : [])],
        asks: [],
      }
    : {};

const rememberCancel = ({ event }: ActionArgs): Change =>
  event.type === "cancel.requested" ? { cancelReason: event.reason } : {};

const startOver = (): Change => ({
  attempts: 0,
  heldSince: null,
  waitsFor: null,
  checks: 0,
  retryAt: null,
});

/**
 * Policy or people have answered. What was tried in executing before stays counted, and so does how long a neighbour was
 * waited for there: a look is no new start. A question to people is: they answer in their own time.
 */
const checked = ({ event }: ActionArgs): Change => ({
  checks: 0,
  retryAt: null,
  waitsFor: null,
  ...(event.type === "policy.asked" ? { heldSince: null } : {}),
});

const reasonOf = ({ kind, message }: Failure): string => cutText(`${kind}: ${message}`, 1_000);

function keepOutput({ context, event }: ActionArgs): Change {
  if (event.type === "output.valid") return { output: event.output };
  if (event.type !== "execution.completed") return {};
  const usage = addUsage(context.usage, event.usage);
  return { output: event.output, usage, costly: event.costly };
}

function countAttempt({ context, event }: ActionArgs): Change {
  if (event.type !== "activity.failed") return {};
  // Only what the failed call itself used: all before it is in the journal, and is told again by the next attempt.
  const usage = addUsage(context.usage, usageOfFailure(event.failure));
  return {
    attempts: attemptsAfter(context, event),
    heldSince: heldSinceAfter(context, event),
    waitsFor: reasonOf(event.failure),
    retryAt: event.at + delayAfter(context, event),
    usage,
  };
}

function countCheck({ context, event }: ActionArgs): Change {
  if (event.type !== "activity.failed") return {};
  const checks = context.checks + 1;
  return {
    checks,
    waitsFor: reasonOf(event.failure),
    retryAt: event.at + retryDelay(event.failure, checks, event.jitter, context.limits),
  };
}

function countDelivery({ context, event }: ActionArgs): Change {
  if (event.type !== "delivery.failed") return {};
  const deliveryAttempts = context.deliveryAttempts + 1;
  const delay = retryDelay(event.failure, deliveryAttempts, event.jitter, context.limits);
  return { deliveryAttempts, retryAt: event.at + delay };
}

const countRepair = ({ context, event }: ActionArgs): Change =>
  event.type === "output.invalid"
    ? {
        repairs: context.repairs + 1,
        repairNote: event.failure.message,
        repairAnswer: event.answer ?? null,
        output: null,
      }
    : {};

const complete = ({ context }: ActionArgs): Change => ({ result: completed(context) });

/** An invalid job, or one whose record can't be opened or read, is reported failed and kept as a dead letter. */
function refuse({ context, event }: ActionArgs): Change {
  const isOfTheRecord = event.type === "record.corrupt" || event.type === "store.failed";
  const failure = isOfTheRecord
    ? event.failure
    : (context.problem ?? terminal("internal", "the job was refused without a reason"));
  return { result: failedWith(context, failure), deadLetter: failure.message };
}

/** A later cause never takes the place of the first. */
function toDeadLetter({ context, event }: ActionArgs): Change {
  if (context.deadLetter !== null) return {};
  if (event.type === "store.failed") return { deadLetter: event.failure.message };
  return event.type === "delivery.refused"
    ? { deadLetter: `the control plane refused the report: ${event.failure.message}` }
    : {};
}

const reducedLength = 500;

/** A failure that no reader can stumble over: a sentence of visible ASCII, and what was used. */
function reduceResult({ context, event }: ActionArgs): Change {
  if (event.type !== "delivery.refused" && event.type !== "store.failed") return {};
  const { result } = context;
  const because =
    event.type === "store.failed"
      ? event.failure.message
      : `the control plane refused the step's ${result?.status ?? "missing"} result: ${event.failure.message}`;
  const kind = result?.status === "failed" ? result.failure.kind : "refused";
  const message = because.replaceAll(/[^ -~]+/g, "?").slice(0, reducedLength);
  return {
    undelivered: context.undelivered ?? result,
    result: {
      status: "failed",
      failure: terminal(kind, message),
      output: null,
      usage: result?.usage ?? null,
    },
  };
}

function fail({ context, event }: ActionArgs): Change {
  switch (event.type) {
    case "activity.failed": {
      const usage = addUsage(context.usage, event.usage ?? null);
      const left = { ...context, usage, output: event.output ?? context.output };
      return { result: failedWith(left, event.failure), costly: event.costly };
    }
    case "store.failed":
      return { result: failedWith({ ...context, output: null }, event.failure) };
    case "output.invalid":
    case "approval.rejected":
    case "approval.expired":
      return { result: failedWith(context, event.failure) };
    case "policy.denied":
      return { result: failedWith(context, deniedBy(event.verdict)) };
    case "record.fresh":
    case "record.kept":
      return {
        result: failedWith(context, terminal("cancelled", context.cancelReason ?? "cancelled")),
      };
    case "cancel.requested":
      return { result: failedWith(context, terminal("cancelled", event.reason)) };
    case "deadline.reached":
      return { result: failedWith(context, timedOut(event.which)) };
    default:
      return {};
  }
}

/** What each event leaves in the step's memory: pure, one function a word of the chart. */
export const updates = {
  resumeFromRecord,
  takeResult,
  keepVerdict,
  keepAsks,
  keepGrants,
  startOver,
  checked,
  rememberCancel,
  keepOutput,
  countAttempt,
  countCheck,
  countDelivery,
  countRepair,
  complete,
  refuse,
  toDeadLetter,
  reduceResult,
  fail,
};
