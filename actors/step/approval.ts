import { type } from "arktype";
import { once } from "../../machines/contracts/domain/once.ts";
import type { Ask, Edit, Grant, Refusal } from "../../machines/contracts/domain/action.ts";
import {
  type Failure,
  type Outcome,
  terminal,
  troubleOf,
} from "../../machines/contracts/domain/failure.ts";
import {
  confirmLease,
  retryStamp,
  storeNow,
  type StepActivity,
  type ActivityScope,
} from "./session.ts";
import {
  isJsonObject,
  isWrittenWithin,
  type Json,
  type JsonObject,
} from "../../machines/contracts/domain/json.ts";
import type { ApprovalView } from "../../machines/contracts/wire/views.ts";
import { actionDigest, digestOf } from "./approvals.ts";
import { redact } from "../../machines/contracts/domain/redact.ts";
import { cutText, wellFormed } from "../../machines/contracts/domain/text.ts";
import { isRunOver, isStepEnded } from "../../machines/contracts/domain/status.ts";
import type { StepEvent } from "../../machines/step/events.ts";

/*
 * A question is read where it was put, for ever, whatever the control plane advertises later.
 *
 *   place       put by                      a yes is                                      who ends it in time
 *   approval    a request of its own        `approved`, with the digest that was shown    the control plane's clock
 *   step        the step's own status       `running`, after `waiting_approval` was       this worker, at `expiresAt`
 *               (FerrumDeck)                taken from us
 *
 * A yes to a step is a yes to all that is shown with it: so each call stands there with its tool, its server and its
 * arguments, and no more of them than a person reads. The rest is asked about afterwards.
 *
 * Whatever is not plainly a yes is none: a step or run that has ended, a status that is out of place, another digest.
 */

/** Puts every open question to the control plane, and says there that the step waits. */
export const requestApproval: StepActivity = async (scope) => {
  const { ports, options, session, context, signal } = scope;
  const extensions = await ports.controlPlane.extensions(signal);
  if (!extensions.ok) return failed(scope, extensions.failure);

  const latest = storeNow(scope) + options.deadlines.approvalMs;
  const asks: Ask[] = [];
  let isAnswered = false;
  for (const ask of context.asks) {
    const isOfStep = ask.approvalId === null && !extensions.value.has("approvals");
    if (isOfStep || placeOf(ask, session.key.stepId) === "step") {
      if (asks.length >= maxShownAsks) continue;
      asks.push(onStep(ask, session.key.stepId, latest));
      continue;
    }
    const put = await putQuestion(scope, ask, latest);
    if (!put.ok) return failed(scope, put.failure);
    asks.push(put.value.ask);
    isAnswered ||= put.value.isAnswered;
  }
  // Somebody has decided already: the step need not be shown as waiting for that.
  if (isAnswered) return { type: "approval.requested", asks, isAnswered };
  const shown = extensions.value.has("idempotent-results") ? null : await alreadyShown(scope, asks);
  if (shown !== null) return shown;
  await confirmLease(scope);
  // People's time begins when the question is shown, however long it took until then.
  const until = storeNow(scope) + options.deadlines.approvalMs;
  asks.forEach((ask, at) => {
    if (ask.expiresHere === true && ask.expiresAt === latest)
      asks[at] = { ...ask, expiresAt: until };
  });
  const waiting = await scope.controlPlane.report(
    {
      ...session.key,
      fence: session.lease.fence,
      idempotencyKey: `${session.key.runId}/${session.key.stepId}/waiting/${asks.map((ask) => ask.digest.slice(0, 16)).join("+")}`,
      body: {
        status: "waiting_approval",
        output: questionOf(asks),
      },
    },
    signal,
  );
  if (!waiting.ok) {
    // Not repeated here: before it is said again, run and step are looked at again. A refused key is waited for there.
    const { failure } = waiting;
    return failed(scope, troubleOf(failure) === "ours" ? { ...failure, retryable: true } : failure);
  }
  if (waiting.value === "ended")
    return { type: "cancel.requested", reason: "the run has already ended" };
  return { type: "approval.requested", asks };
};

/** Questions that one yes may answer. */
const maxShownAsks = 10;
/** Characters of one call's arguments. Longer ones are shown from their beginning; the digest is that of all. */
const maxShownLength = 4_000;

/** What the step's own view shows while it waits: whose reader finds there what exactly is asked. */
const questionOf = (asks: readonly Ask[]): JsonObject => ({
  requires_approval: true,
  asks: asks.map(({ action, reason, digest, approvalId }) => ({
    action: {
      kind: action.kind,
      name: action.name,
      ...(action.server === undefined ? {} : { server: action.server }),
      input: shownInput(action.input),
    },
    reason,
    digest,
    approval_id: approvalId,
  })),
});

/** Arguments as a person is shown them: without what looks like a secret, and within bounds. */
function shownInput(input: JsonObject): Json {
  const safe = redact(wellFormed(input)) as Json;
  const text = JSON.stringify(safe);
  return text.length <= maxShownLength
    ? safe
    : { cut: cutText(text, maxShownLength), characters: text.length };
}

const shownQuestion = once(() => type({ asks: type({ digest: "string" }).array() }));

/** Whether a step's output is the question about exactly these actions. */
function asksExactly(output: unknown, asks: readonly Ask[]): boolean {
  const shown = shownQuestion()(output);
  if (shown instanceof type.errors) return false;
  const digests = new Set(shown.asks.map(({ digest }) => digest));
  const wanted = new Set(asks.map(({ digest }) => digest));
  return digests.size === wanted.size && wanted.isSubsetOf(digests);
}

/**
 * FerrumDeck's gateway takes this report whatever has become of the run, and however often: sent again after a lost
 * answer, or by the worker after one that died before it had parked the step, it would undo an end, a no or a yes. So
 * run and step are looked at first. The step keeps what it was asked when somebody says yes; what it was asked before,
 * or in other words, is no answer to this. Null when the question is to be put.
 */
async function alreadyShown(scope: ActivityScope, asks: Ask[]): Promise<StepEvent | null> {
  const { ports, session, signal } = scope;
  const { runId, stepId } = session.key;
  const run = await ports.controlPlane.run(runId, signal);
  if (!run.ok) return failed(scope, run.failure);
  const steps = await ports.controlPlane.steps(runId, signal);
  if (!steps.ok) return failed(scope, steps.failure);
  const step = steps.value.find(({ id }) => id === stepId);
  if (isRunOver(run.value.status)) {
    const reason = `the run has already ended: ${run.value.status}`;
    return { type: "cancel.requested", reason };
  }
  if (step === undefined) return null;
  if (isStepEnded(step.status)) {
    return { type: "cancel.requested", reason: `the step has already ended: ${step.status}` };
  }
  // The same question once more is a new one: its last answer is spent.
  const isNew = asks.some(({ digest }) => session.journal.spentBy(digest) !== undefined);
  if (isNew || !asksExactly(step.output, asks)) return null;
  if (step.status === "waiting_approval") return { type: "approval.requested", asks };
  return step.status === "running" ? { type: "approval.requested", asks, isAnswered: true } : null;
}

/** FerrumDeck keeps no question: its step's own status is the decision, and only we know when it is too late. */
const onStep = (ask: Ask, stepId: string, latest: number): Ask => ({
  ...ask,
  approvalId: stepId,
  expiresAt: ask.expiresAt ?? latest,
  place: "step",
  expiresHere: true,
});

/** Where a question was put; in what version 1 parked, the id alone tells. */
const placeOf = ({ place, approvalId }: Ask, stepId: string): "approval" | "step" =>
  place ?? (approvalId === stepId ? "step" : "approval");

async function putQuestion(
  scope: ActivityScope,
  ask: Ask,
  latest: number,
): Promise<Outcome<{ ask: Ask; isAnswered: boolean }>> {
  const { ports, session, signal } = scope;
  await confirmLease(scope);
  const inputSchema = await schemaOf(scope, ask);
  const asked = inputSchema === null ? ask : { ...ask, inputSchema };
  const put = await ports.controlPlane.requestApproval(session.key, asked, signal);
  if (!put.ok) return put;
  const { id, status, expires_at: until } = put.value;
  const expiry = until == null ? Number.NaN : Date.parse(withZone(until));
  const expiresHere = Number.isNaN(expiry);
  const expiresAt = expiresHere ? latest : expiry;
  const placed: Ask = { ...ask, approvalId: id, expiresAt, place: "approval", expiresHere };
  return { ok: true, value: { ask: placed, isAnswered: status !== "pending" } };
}

/** A longer one is kept by nobody beside a question: the worker holds an edit to it. */
const longestSchema = 32_768;

/** What the arguments of the tool that is asked about must be, so that a person's edit is refused while it can be mended. */
async function schemaOf(
  { ports, signal }: ActivityScope,
  { action: { kind, name, server } }: Ask,
): Promise<JsonObject | null> {
  if (kind !== "tool" || server === undefined) return null;
  const described = await ports.tools.describe(`${server}/${name}`, signal);
  if (!described.ok) return null;
  const { inputSchema } = described.value;
  return isWrittenWithin(inputSchema, longestSchema) ? inputSchema : null;
}

/** A time that names no zone is UTC, wherever this worker stands. */
const withZone = (time: string) => (/(?:z|[+-]\d\d:?\d\d)$/iu.test(time) ? time : `${time}Z`);

type Decision =
  | { kind: "granted"; grant: Grant }
  | { kind: "pending" }
  | { kind: "rejected"; why: string }
  | { kind: "expired"; failure: Failure }
  | { kind: "ended"; reason: string }
  | { kind: "failed"; failure: Failure };

/** Reads what people decided. A yes counts only for the digest that was shown, and only in time. */
export const readDecision: StepActivity = async (scope) => {
  const decisions: Decision[] = [];
  const { asks } = scope.context;
  for (const ask of asks) {
    const isOfStep = placeOf(ask, scope.session.key.stepId) === "step";
    decisions.push(await (isOfStep ? readStep(scope, ask) : readApproval(scope, ask)));
  }
  // Open longer than it should be: perhaps since nobody closed it when its run ended.
  const isLate = asks.some((ask, at) => decisions[at]?.kind === "pending" && isPast(scope, ask));
  const ended = isLate ? await readRun(scope) : null;
  return decide(scope, ended === null ? inTime(scope, decisions) : [ended]);
};

/** What is still open when its time is over, and nobody but this worker ends, is over. */
function inTime(scope: ActivityScope, decisions: Decision[]): Decision[] {
  const { stepId } = scope.session.key;
  return decisions.map((decision, at) => {
    const ask = scope.context.asks[at];
    if (ask === undefined || decision.kind !== "pending" || !isPast(scope, ask)) return decision;
    const endsHere = ask.expiresHere ?? placeOf(ask, stepId) === "step";
    return endsHere ? { kind: "expired", failure: expiry(ask) } : decision;
  });
}

const isPast = (scope: ActivityScope, { expiresAt }: Ask): boolean =>
  expiresAt !== null && storeNow(scope) >= expiresAt;

/** That the run has ended, or why that can't be seen; null while it goes on. */
async function readRun({ ports, session, signal }: ActivityScope): Promise<Decision | null> {
  const run = await ports.controlPlane.run(session.key.runId, signal);
  if (!run.ok) return { kind: "failed", failure: run.failure };
  if (!isRunOver(run.value.status)) return null;
  return { kind: "ended", reason: `the run has already ended: ${run.value.status}` };
}

/** How long after the time that the control plane gave the question is looked at again, when it is still open then. */
const lookAgainMs = 60_000;

function decide(scope: ActivityScope, decisions: Decision[]): StepEvent {
  const grants: Grant[] = [];
  const refusals: Refusal[] = [];
  let isPending = false;
  for (const [at, decision] of decisions.entries()) {
    const ask = scope.context.asks[at];
    if (decision.kind === "failed") return failed(scope, decision.failure);
    if (decision.kind === "ended") return { type: "cancel.requested", reason: decision.reason };
    const refusal = ask === undefined ? null : refusalOf(ask, decision);
    if (refusal !== null) {
      refusals.push(refusal);
      continue;
    }
    if (decision.kind === "rejected") {
      return { type: "approval.rejected", failure: terminal("approval_rejected", decision.why) };
    }
    if (decision.kind === "expired") return { type: "approval.expired", failure: decision.failure };
    if (decision.kind === "pending") isPending = true;
    if (decision.kind === "granted") grants.push(decision.grant);
  }
  if (!isPending && refusals.length > 0) return { type: "approval.settled", grants, refusals };
  if (!isPending) return { type: "approval.granted", grants };
  const now = storeNow(scope);
  // Open at the control plane past its time, by our clock: then ours is ahead, and its word counts.
  const asks = scope.context.asks.map((ask) =>
    isPast(scope, ask) ? { ...ask, expiresAt: now + lookAgainMs } : ask,
  );
  return { type: "approval.pending", asks };
}

/** A no to a call that the handler makes on its way is news for the handler: whatever else is no, the step ends by it. */
function refusalOf({ digest, approvalId, action }: Ask, decision: Decision): Refusal | null {
  if (action.call === undefined) return null;
  const said = { digest, approvalId };
  if (decision.kind === "rejected") {
    return { ...said, kind: "approval_rejected", reason: decision.why };
  }
  return decision.kind === "expired"
    ? { ...said, kind: "approval_expired", reason: decision.failure.message }
    : null;
}

async function readApproval(scope: ActivityScope, ask: Ask): Promise<Decision> {
  const { ports, signal } = scope;
  const id = ask.approvalId ?? "";
  const found = await ports.controlPlane.findApproval(id, signal);
  if (!found.ok) return { kind: "failed", failure: found.failure };
  const { status, digest, resolved_by: resolvedBy = null, resolution_note: note } = found.value;
  switch (status) {
    case "pending":
      return { kind: "pending" };
    case "rejected":
      return {
        kind: "rejected",
        why: `rejected by ${resolvedBy ?? "someone"}${note ? `: ${note}` : ""}`,
      };
    case "expired":
      return { kind: "expired", failure: expiry(ask) };
    case "approved": {
      if (digest === ask.digest)
        return { kind: "granted", grant: { digest, approvalId: id, resolvedBy } };
      const edit = editOf(scope, ask, found.value);
      return edit === null
        ? { kind: "rejected", why: `approval ${id} was given for another action` }
        : { kind: "granted", grant: { digest: edit.digest, approvalId: id, resolvedBy, edit } };
    }
  }
}

/**
 * A yes to exactly the call that was asked about, with other arguments, whose digest is the one that was approved; null
 * for whatever else. The tool step's own call is known by what its job says; any other by the digest of its question.
 */
function editOf(
  { context, session }: ActivityScope,
  { action, digest: asked }: Ask,
  { digest, asked_digest: of, edited_input: given }: ApprovalView,
): (Edit & { digest: string }) | null {
  const input = given as JsonObject | null | undefined;
  if (action.kind !== "tool" || of !== asked || !isJsonObject(input)) return null;
  const edited = actionDigest(session.key, { ...action, input });
  if (edited !== digest) return null;
  if (action.call !== undefined) return { asked, isStep: false, input, digest };
  const { job } = context;
  if (job?.stepType !== "tool") return null;
  const own = session.ownAction(job).action;
  const names = [action.name, `${action.server}/${action.name}`];
  const isOwn = names.includes(own.name) && digestOf(own.input) === digestOf(action.input);
  return isOwn ? { asked, isStep: true, input, digest } : null;
}

/**
 * FerrumDeck puts an approved step back on the stream without a marker, its status `running`; that it was
 * `waiting_approval` before is known, since no question is parked before that report was taken. A rejected step is
 * failed there, of an expired question only the run.
 */
async function readStep(scope: ActivityScope, ask: Ask): Promise<Decision> {
  const { ports, session, signal } = scope;
  const { runId, stepId } = session.key;
  const ended = await readRun(scope);
  if (ended !== null) return ended;
  const steps = await ports.controlPlane.steps(runId, signal);
  if (!steps.ok) return { kind: "failed", failure: steps.failure };
  const status = steps.value.find(({ id }) => id === stepId)?.status;
  if (status === "waiting_approval") return { kind: "pending" };
  if (status !== "running") {
    const why = `the control plane shows the step as ${status ?? "unknown"}, which is no approval`;
    return { kind: "rejected", why };
  }
  return { kind: "granted", grant: { digest: ask.digest, approvalId: stepId, resolvedBy: null } };
}

const expiry = (ask: Ask): Failure =>
  terminal("approval_expired", `nobody decided on ${ask.action.name} before the approval expired`);

const failed = ({ ports, context }: ActivityScope, failure: Failure): StepEvent => ({
  type: "activity.failed",
  failure,
  costly: context.costly,
  ...retryStamp(ports),
});
