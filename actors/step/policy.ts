import {
  type Failure,
  ok,
  troubleOf,
  type Outcome,
  terminal,
} from "../../machines/contracts/domain/failure.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import { stepInputProblem } from "../../machines/contracts/domain/step-input.ts";
import {
  type Action,
  deniedBy,
  stricter,
  type Verdict,
  verdict,
} from "../../machines/contracts/domain/action.ts";
import { coveringGrant, coveringRefusal, digestOf, toAsk, toldNo } from "./approvals.ts";
import { airlockVerdict, provenanceVerdict, untold, withFindings } from "./inspect-call.ts";
import { closed, isFailingOpen, lookAtRun, seeEnd } from "./run-end.ts";
import { traced } from "../tracing.ts";
import { type ActivityScope, retryStamp, type StepActivity } from "./session.ts";
import { screenOf } from "./screening.ts";
import { outputSchemaProblem } from "./validate.ts";
import { isSameEverywhere, localVerdict, spelledVerdict, usersVerdict } from "./verdicts.ts";
import type { StepEvent } from "../../machines/step/events.ts";
import type { HandlerResult, Permission } from "../handlers/handler.ts";

/*
 * A permission is used where it holds, not where it was given. Every action is judged here, by one function, in this
 * order, and the strictest answer stands:
 *
 *   1. its name is resolved to one tool of one server, with the digest of its schema; what is judged, shown to people
 *      and called is that, never a spelling
 *   2. the worker's own lists, which cost no round trip to deny, and the agent's, which only narrow them
 *   3. the user's policy function; an answer out of shape denies
 *   4. the run: nothing is done for one that has ended
 *   5. where the arguments came from
 *   6. the Airlock, where the control plane has none
 *   7. the control plane's check-tool
 *
 * The step's own action is judged in policy-check, which every session passes before it executes: after a yes, a wake,
 * a take-over, and from the dead letters. A verdict is good until the next wait of its session, however short
 * (`session.stretch`): what begins after a back-off, a repair, an effect, a neighbour's trouble or a wait for its turn
 * is judged again. What a handler does beyond the step's own action is judged when it is done. An approval answers
 * `ask`, and never `deny`.
 */

/** How old a verdict may be when the work that it allows begins, milliseconds: a paused process notices no wait. */
const verdictGoodMs = 5_000;

/** What came of judging an action: it may be done, people must be asked, or why not. */
export type Judgement =
  | { kind: "allow" | "ask" | "deny"; verdict: Verdict; action: Action }
  | { kind: "failed"; failure: Failure }
  | { kind: "ended"; reason: string };

/** Judges the step's own action. Closed when it can't be judged: a failure never passes as a yes. */
export const checkPolicy: StepActivity = async (scope) => {
  const { ports, session, context } = scope;
  const { job } = context;
  if (job === null) throw new Error("a job without content reached policy-check");
  const problem =
    stepInputProblem(job.stepType, job.input) ?? outputSchemaProblem(ports.schemas, job);
  if (problem !== null) {
    return { type: "activity.failed", failure: problem, costly: false, ...retryStamp(ports) };
  }
  const judged = await judge(scope, job, session.ownAction(job).action);
  if (judged.kind === "failed" || judged.kind === "ended") return toEvent(scope, judged);
  noteOwn(scope, judged);
  switch (judged.kind) {
    case "allow":
      return { type: "policy.allowed", verdict: judged.verdict };
    case "deny":
      return { type: "policy.denied", verdict: judged.verdict };
    case "ask": {
      // A person has said yes to exactly this: that answers the question, and nothing else.
      if (coveringGrant(context, judged.action) !== null) {
        return { type: "policy.allowed", verdict: judged.verdict };
      }
      const asks = [toAsk(session.key, judged.action, judged.verdict.reason)];
      return { type: "policy.asked", verdict: judged.verdict, asks };
    }
  }
};

/**
 * Whether the step's own work may begin now: null when it may. The verdict of policy-check is taken when it is fresh;
 * else the action is judged again.
 */
export async function confirmPermission(scope: ActivityScope, job: Job): Promise<StepEvent | null> {
  const { ports, session, context } = scope;
  const own = session.judged;
  if (own !== null && ports.clock.monotonic() - own.at <= verdictGoodMs) {
    notePermitted(scope, null, own.at);
    return null;
  }
  const judged = await judge(scope, job, session.ownAction(job).action);
  if (judged.kind === "failed" || judged.kind === "ended") return toEvent(scope, judged);
  noteOwn(scope, judged);
  notePermitted(scope, null, ports.clock.monotonic());
  if (judged.kind === "deny") return { type: "policy.denied", verdict: judged.verdict };
  if (judged.kind === "allow" || coveringGrant(context, judged.action) !== null) return null;
  const asks = [toAsk(session.key, judged.action, judged.verdict.reason)];
  return { type: "approval.needed", asks };
}

/**
 * Whether exactly this action may be done now: a fresh verdict of policy-check on the step's own action, or a verdict
 * given now on any other, or a person's yes to a question that policy asks.
 */
export async function permission(
  scope: ActivityScope,
  job: Job,
  asked: Action,
  occurrences: Map<string, number>,
): Promise<Permission> {
  const { options, context } = scope;
  if (asked.kind === "tool" && asked.server === undefined && options.judge === undefined) {
    const hopeless = spelledVerdict(asked.name, options.allowlist, agentToolsOf(job));
    if (hopeless !== null) {
      options.onVerdict?.(hopeless, asked);
      return refused(asked, deniedBy(hopeless), hopeless);
    }
  }
  const resolved = await resolve(scope, asked, job);
  if (!resolved.ok) return refused(asked, resolved.failure);
  const action = resolved.value;
  const no = coveringRefusal(context, action);
  if (no !== null) return refused(action, toldNo(no));
  const digest = digestOf(action);
  const occurrence = (occurrences.get(digest) ?? 0) + 1;
  occurrences.set(digest, occurrence);
  return permitted(scope, job, action, occurrence);
}

/**
 * Whether an action that this walk through the handler was allowed before may still be done, after a wait: null when
 * it may. Without an action of its own, what is asked about is the step's.
 */
export async function withdrawn(
  scope: ActivityScope,
  job: Job,
  action: Action | undefined,
  occurrences: ReadonlyMap<string, number>,
): Promise<HandlerResult | null> {
  const asked = action ?? scope.session.ownAction(job).action;
  const still = await permitted(scope, job, asked, occurrences.get(digestOf(asked)) ?? 1);
  const { session } = scope;
  const noted = session.permitted(asked);
  if (action === undefined && noted !== undefined) session.notePermitted(null, noted);
  return still.allowed ? null : still.result;
}

/**
 * Whether what was said of an action is still good: nothing was waited for since, and it is not old. Without an action
 * of its own, what is asked about is the step's.
 */
export function isPermitted(
  { ports, session }: Pick<ActivityScope, "ports" | "session">,
  action: Action | undefined,
): boolean {
  const noted = session.permitted(action ?? null);
  if (noted === undefined) return false;
  return noted.stretch === session.stretch && ports.clock.monotonic() - noted.at <= verdictGoodMs;
}

const notePermitted = (
  { session }: Pick<ActivityScope, "session">,
  action: Action | null,
  at: number,
): void => {
  session.notePermitted(action, { stretch: session.stretch, at });
};

async function permitted(
  scope: ActivityScope,
  job: Job,
  action: Action,
  occurrence: number,
): Promise<Permission> {
  const { session, context, ports } = scope;
  const grant = coveringGrant(context, action);
  const digest = digestOf(action);
  const own = session.judged;
  const isOwn = own !== null && occurrence === 1 && own.digest() === digest;
  const isFresh = isOwn && ports.clock.monotonic() - own.at <= verdictGoodMs;
  const judged = isFresh
    ? { kind: own.verdict.kind, verdict: own.verdict, action }
    : await judge(scope, job, action, occurrence);
  const at = isFresh ? own.at : ports.clock.monotonic();
  notePermitted(scope, action, at);
  switch (judged.kind) {
    case "failed":
      return refused(action, judged.failure);
    case "ended":
      return refused(action, terminal("cancelled", judged.reason));
    case "deny":
      return refused(action, deniedBy(judged.verdict), judged.verdict);
    case "allow":
      return { allowed: true, grant, action, verdict: judged.verdict };
    case "ask": {
      const { verdict: said } = judged;
      if (grant !== null) return { allowed: true, grant, action, verdict: said };
      const asks = [toAsk(session.key, action, said.reason)];
      return { allowed: false, result: { kind: "asked", asks }, action, verdict: said };
    }
  }
}

const refused = (action: Action, failure: Failure, said: Verdict | null = null): Permission => ({
  allowed: false,
  result: { kind: "failed", failure, ...(said?.failsStep === true ? { failsStep: true } : {}) },
  action,
  verdict: said,
});

/** The verdict that the work of this session goes by, and when it was given. */
function noteOwn(
  { ports, session }: ActivityScope,
  { verdict: said, action }: Extract<Judgement, { verdict: Verdict }>,
): void {
  const { kind, reason, decisionId, details } = said;
  const { job } = session;
  const digest = () => (job === null ? digestOf(action) : session.ownAction(job).digestOf(action));
  session.judged = { digest, verdict: said, at: ports.clock.monotonic() };
  session.judgedAction = action;
  const what = action.server === undefined ? action.name : `${action.server}/${action.name}`;
  session.log.debug(
    { verdict: kind, reason, action: what, decisionId, ...details },
    "policy gave its verdict",
  );
  if (!session.span.isRecording()) return;
  session.span.setAttributes({
    "ferrumdeck.decision": kind,
    "ferrumdeck.decision.reason": reason,
    ...(details === undefined ? {} : { "ferrumdeck.decision.details": JSON.stringify(details) }),
  });
}

function toEvent(
  { ports, context }: ActivityScope,
  judged: Extract<Judgement, { kind: "failed" | "ended" }>,
): StepEvent {
  if (judged.kind === "ended") return { type: "cancel.requested", reason: judged.reason };
  const { failure } = judged;
  return { type: "activity.failed", failure, costly: context.costly, ...retryStamp(ports) };
}

/**
 * Judges within one stretch: where a neighbour was waited for, what the others had said by then is asked again.
 *
 * @param occurrence which of the same calls in one walk through the handler, from 1: each counts in a budget
 */
async function judge(
  scope: ActivityScope,
  job: Job,
  asked: Action,
  occurrence = 1,
): Promise<Judgement> {
  for (;;) {
    const { stretch } = scope.session;
    const judged = await judgeOnce(scope, job, asked, occurrence);
    const isGood = scope.session.stretch === stretch || !("verdict" in judged);
    if (isGood || judged.kind === "deny") {
      if ("verdict" in judged) scope.options.onVerdict?.(judged.verdict, judged.action);
      return judged;
    }
    scope.signal.throwIfAborted();
  }
}

async function judgeOnce(
  scope: ActivityScope,
  job: Job,
  asked: Action,
  occurrence: number,
): Promise<Judgement> {
  const { options } = scope;
  const agentTools = agentToolsOf(job);
  if (asked.kind === "tool" && asked.server === undefined && options.judge === undefined) {
    const hopeless = spelledVerdict(asked.name, options.allowlist, agentTools);
    if (hopeless !== null) return { kind: "deny", verdict: hopeless, action: asked };
  }
  const resolved = await resolve(scope, asked, job);
  if (!resolved.ok) {
    // Before a wait for a tool's server: the control plane, which ends a cancelled run's steps, was not asked yet.
    const ended = resolved.failure.retryable ? await seeEnd(scope, job.runId, scope) : null;
    return ended?.kind === "ended" ? ended : { kind: "failed", failure: resolved.failure };
  }
  const action = resolved.value;
  if (options.judge !== undefined) {
    const said = options.judge(action, job);
    return { kind: said.kind, verdict: said, action };
  }
  const worker = workerVerdict(scope, job, action, agentTools);
  const users = usersVerdict(options.policy, action, job);
  const listed = users === null ? worker : stricter(worker, withoutSecrets(scope, users));
  if (listed.kind === "deny") return { kind: "deny", verdict: listed, action };
  const run = await lookAtRun(scope, job, action);
  if (run !== null) return run;
  if (action.kind !== "tool") return { kind: listed.kind, verdict: listed, action };
  const callId = `${job.stepId}/${digestOf(action).slice(0, 16)}#${occurrence}`;
  const outside = await provenanceVerdict(scope, job, action, callId);
  const found = await airlockVerdict(scope, action, { runId: job.runId, callId });
  const own = withFindings(withFindings(listed, outside), found);
  if (own.kind === "deny") return { kind: "deny", verdict: own, action };
  const check = {
    runId: job.runId,
    callId,
    toolName: action.name,
    ...(action.server === undefined ? {} : { server: action.server }),
    toolInput: action.input,
    ...(outside?.details === undefined ? {} : { provenance: untold(outside.details) }),
  };
  if (options.toolPolicy === "worker") {
    return {
      kind: own.kind,
      verdict: { ...own, reason: `${own.reason}; ${aloneByChoice}` },
      action,
    };
  }
  scope.session.hasChecked = true;
  const isOpen = isFailingOpen(scope, action);
  const { controlPlane } = isOpen ? scope : scope.ports;
  const checked = await traced(scope.session, "check-tool", () =>
    controlPlane.checkTool(check, scope.signal),
  );
  if (!checked.ok && isOpen && troubleOf(checked.failure) === "passing") {
    const reason = `${own.reason}; ${aloneByTrouble}: ${checked.failure.message}`;
    return { kind: own.kind, verdict: withoutSecrets(scope, { ...own, reason }), action };
  }
  if (!checked.ok) return { kind: "failed", failure: closed(checked.failure) };
  const said = withFindings(stricter(own, withoutSecrets(scope, checked.value)), outside);
  return { kind: said.kind, verdict: said, action };
}

/** What others say of an action, or throw, quotes what they hold; people read it, and it is kept with the step. */
function withoutSecrets(scope: ActivityScope, said: Verdict): Verdict {
  const reason = screenOf(scope).hideInText(said.reason);
  return reason === said.reason ? said : { ...said, reason };
}

/** Said in every verdict that the control plane had no part in. */
const aloneByChoice =
  "the control plane was not asked: STATEPLANE_TOOL_POLICY=worker lets this worker's lists decide alone";
const aloneByTrouble =
  "the control plane could not be asked, and AGENTIC_FAIL_CLOSED is off: this worker's lists decided alone";

/**
 * A tool's name resolved to the tool that it means. What no server has keeps its name: it is a user's own, done by a
 * handler of theirs, or nobody's, which our own handler finds. A user's own keeps it, too, while a server can't be asked,
 * unless the lists would say another thing of it on some server.
 */
async function resolve(scope: ActivityScope, action: Action, job: Job): Promise<Outcome<Action>> {
  if (action.kind !== "tool" || action.server !== undefined) return ok(action);
  const described = await scope.ports.tools.describe(action.name, scope.signal);
  if (described.ok) {
    const { server, name, digest } = described.value;
    return ok({ ...action, server, name, schema: digest });
  }
  const { failure } = described;
  if (failure.kind === "not_found") return ok(action);
  const { handlers = {}, allowlist } = scope.options;
  const isUsers = Object.hasOwn(handlers, `tool:${action.name}`);
  const isSame = () => isSameEverywhere(action, allowlist, agentToolsOf(job));
  return isUsers && failure.retryable && isSame() ? ok(action) : described;
}

function workerVerdict(
  { options, session }: ActivityScope,
  job: Job,
  action: Action,
  agentTools: readonly string[] | null,
): Verdict {
  if (action.kind === "tool") {
    return localVerdict(
      { server: action.server ?? null, name: action.name, input: action.input },
      options.allowlist,
      agentTools,
    );
  }
  const isOwn = session.ownAction(job).is(action);
  if (isOwn && job.stepType !== "approval") {
    return verdict.allow(`${job.stepType} steps run on this worker`);
  }
  return verdict.ask(isOwn ? "an approval step asks a person" : "nobody has allowed this action");
}

function agentToolsOf(job: Job): readonly string[] | null {
  const tools = job.input["allowed_tools"];
  return Array.isArray(tools) ? tools.filter((tool) => typeof tool === "string") : null;
}
