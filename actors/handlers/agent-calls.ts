import type { CallResult, CallTarget, Turn } from "../../machines/agent-loop/context.ts";
import { isWhole } from "../../machines/agent-loop/rules.ts";
import type { LoopEvent } from "../../machines/agent-loop/events.ts";
import type { Action, Ask } from "../../machines/contracts/domain/action.ts";
import {
  type Failure,
  ok,
  type Outcome,
  troubleOf,
} from "../../machines/contracts/domain/failure.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Recalled } from "../step/journal.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { ToolCall } from "../../machines/contracts/ports/model-provider.ts";
import type { RuntimePorts } from "../ports.ts";
import { digestOf } from "../step/approvals.ts";
import { isForModel, problemOf, show, shownLength, toolless } from "./agent-results.ts";
import type { OfferedTools } from "./agent-tools.ts";
import type { HandlerResult, Permission, StepScope } from "./handler.ts";

/*
 * The tool calls of one reply. Each has a key, `tool#<round>.<turn>.<call>`, which is the same in every session, and
 * under it the journal has one outcome: what the tool brought, or why it was not called. So what the model was told once
 * it is told for ever, whatever policy says later.
 *
 *   written badly, not offered             an error for the model; no tool hears of it
 *   of a message that the model itself     an error for the model; no tool hears of it
 *   did not end
 *   beyond the most calls of one reply     an error for the model; nothing is journalled or counted
 *   begun before and perhaps done          first of all what the journal says of doubt: a person is asked, or the step
 *                                          fails; whatever has become of the tool, its server or its permission
 *   denied, refused by a person            an error for the model, unless the verdict says that it ends the step
 *   no word on it that counts              an error for the model: closed
 *   to be asked about                      the question is put once the other calls are over; nothing is journalled
 *   the tool failed                        an error for the model
 *   passing trouble                        the step waits and comes back; the last attempt's is an error for the model
 *   in doubt after the call                a person is asked, or the step fails, as settings say
 *
 * A call goes to the tool that its name meant when the model was asked, which is kept with the reply: to that server,
 * with that schema, or nowhere.
 *
 * Calls that are all safe to repeat are made at once, others in order; behind a call that waits for a person only those
 * go on that are safe to repeat.
 */

type CallEnd =
  | { kind: "result"; result: CallResult }
  | { kind: "asked"; asks: Ask[] }
  | { kind: "waits" }
  | { kind: "failed"; failure: Failure };

export interface CallsScope extends Pick<
  StepScope,
  "job" | "signal" | "permission" | "recall" | "effect" | "budget" | "isLastAttempt" | "log"
> {
  ports: Pick<RuntimePorts, "tools" | "schemas" | "artifacts" | "clock">;
  /** The tools as they are now; asked for only where a call is new. */
  offer(): Promise<Outcome<OfferedTools>>;
}

/** One call, and what is known of it in every session. */
interface KeyedCall {
  call: ToolCall;
  key: string;
  tool: CallTarget | null;
  known: Recalled;
}

type KeyedScope = CallsScope & { offered: OfferedTools | null };

/** Calls of one reply that are done; a model that makes more is told so. The most parallel calls in use are some dozens. */
const maxCalls = 32;
const isMade = (at: number): boolean => at < maxCalls;

/** What the calls of a reply go to, to be kept with it. */
export const targetsOf = (toolCalls: readonly ToolCall[], offered: OfferedTools) =>
  toolCalls.filter((_, at) => isMade(at)).map(({ name }) => offered.target(name));

/** Does the calls of a turn, or reads from the journal what came of them. */
export async function runCalls(
  given: CallsScope,
  { reply, targets }: Turn,
  turnKey: string,
): Promise<LoopEvent> {
  const keys = reply.toolCalls
    .filter((_, at) => isMade(at))
    .map((_, at) => `tool#${turnKey}.${at + 1}`);
  // Servers are asked only where something is new: what is finished or in doubt needs none of them.
  const isNew = keys.some((key) => given.recall(key) === "nothing");
  const offered = isNew || targets === undefined ? await given.offer() : null;
  const scope: KeyedScope = { ...given, offered: offered?.ok === true ? offered.value : null };
  if (targets === undefined && offered?.ok === false) return toEvent(offered.failure);
  const calls = keys.map((key, at): KeyedCall => {
    const call = reply.toolCalls[at] as ToolCall;
    return {
      call: isWhole(reply) ? call : unfinished(call, reply),
      key,
      tool:
        targets === undefined ? (scope.offered?.target(call.name) ?? null) : (targets[at] ?? null),
      known: scope.recall(key),
    };
  });
  // Counted first and in order, so that every session counts the same.
  for (const { known } of calls) {
    const counted = await scope.budget.toolCall(scope.signal);
    if (!counted.ok && known === "nothing") return toEvent(counted.failure);
  }
  const ends: CallEnd[] = [];
  if (calls.every((each) => isRepeatable(each))) {
    ends.push(...(await Promise.all(calls.map((each) => one(scope, each, true)))));
  } else {
    let isAsking = false;
    for (const each of calls) {
      const end = await one(scope, each, !isAsking || isRepeatable(each));
      isAsking ||= end.kind === "asked" || end.kind === "waits";
      ends.push(end);
    }
  }
  for (const call of reply.toolCalls.filter((_, at) => !isMade(at))) {
    const why = `one message can make ${maxCalls} calls at most`;
    const result = toolless(call, null, "deny", why, `${why}; this tool was not called`);
    ends.push({ kind: "result", result });
  }
  return together(ends, reply.toolCalls);
}

/** A call of a message that ended before the model had ended it: however whole it looks, it may be cut. */
const unfinished = (call: ToolCall, { finishReason }: Turn["reply"]): ToolCall =>
  finishReason === "length" || call.cutOff === true
    ? { ...call, cutOff: true }
    : {
        ...call,
        arguments: null,
        problem: `the message ended before it was known to be whole (reason: ${finishReason}): make the call again`,
      };

/** Whether a call may have been made, and must not be made again unasked. */
const isInDoubt = ({ tool, known }: KeyedCall): boolean =>
  known === "in-doubt" || (known === "begun" && tool?.isSafe === false);

/** Whether the call is over, goes to no tool, or may be made as often as one likes. */
const isRepeatable = (each: KeyedCall): boolean =>
  each.known === "completed" || (!isInDoubt(each) && each.tool?.isSafe !== false);

/** What the calls of a turn came to, in order: what ends the step first, then what it waits for. */
function together(ends: readonly CallEnd[], calls: readonly ToolCall[]): LoopEvent {
  const failures = ends.flatMap((end) => (end.kind === "failed" ? [end.failure] : []));
  const final = failures.find(({ retryable }) => !retryable);
  if (final !== undefined) return toEvent(final);
  const [passing] = failures;
  if (passing !== undefined) return toEvent(passing);
  const asks = ends.flatMap((end) => (end.kind === "asked" ? end.asks : []));
  if (asks.length > 0) return { type: "approval.needed", asks };
  const results = ends.flatMap((end) => (end.kind === "result" ? [end.result] : []));
  const digest = digestOf({
    calls: calls.map(({ name, arguments: given }) => [name, given]),
    brought: results.map(({ content }) => content),
  });
  return { type: "results.received", results, digest };
}

function toEvent(failure: Failure): LoopEvent {
  if (failure.kind === "budget_exceeded") return { type: "budget.exceeded", failure };
  return failure.retryable ? { type: "trouble.met", failure } : { type: "calls.failed", failure };
}

/** @param mayRun false where a call before it waits for a person: then it is only judged */
async function one(scope: KeyedScope, each: KeyedCall, mayRun: boolean): Promise<CallEnd> {
  const { call, key, tool, known } = each;
  if (known === "completed") return conclude(await kept(scope, key, null), scope, each);
  if (isInDoubt(each)) return mayRun ? make(scope, each, null) : { kind: "waits" };
  const bad = problemOf(scope, call, tool);
  if (bad !== null || tool === null) {
    const why = bad ?? "there is no such tool";
    return tell(scope, key, toolless(call, tool, "deny", why, `${why}; the tool was not called`));
  }
  const permitted = await scope.permission(actionOf(each));
  if (!permitted.allowed) {
    const { result } = permitted;
    return result.kind === "failed" ? refused(scope, each, result) : ended(result);
  }
  return mayRun ? make(scope, each, permitted) : { kind: "waits" };
}

/** The call as policy and people see it. */
function actionOf({ call, key, tool }: KeyedCall): Action {
  const input = call.arguments ?? {};
  if (tool === null) return { kind: "tool", name: call.name, call: key, input };
  const { name, server, digest: schema } = tool;
  return { kind: "tool", name, server, schema, call: key, input };
}

/**
 * Makes the call as an effect.
 *
 * @param permitted null for one in doubt: the effect asks about the doubt first, and then whether it is allowed now
 */
async function make(
  scope: KeyedScope,
  each: KeyedCall,
  permitted: Extract<Permission, { allowed: true }> | null,
): Promise<CallEnd> {
  const { call, key, tool } = each;
  const { ports } = scope;
  const action = permitted?.action ?? actionOf(each);
  const { name, server = null, schema } = action;
  const reason =
    permitted?.verdict.reason ??
    "a person has said that it may be made again, and policy allows it";
  const text = permitted === null ? "the agent's call is in doubt" : "the agent calls a tool";
  scope.log.info({ tool: name, server, call: key, reason }, text);
  const done = await scope.effect({
    name: `tool:${name}`,
    key,
    input: { tool: name, server, input: action.input },
    // Even what may be repeated for nothing is kept: the model has been told of it.
    repeat: tool?.isSafe === true ? "safe" : "unsafe",
    ...(server === null || schema === undefined ? {} : { target: { server, schema } }),
    action,
    ...(permitted === null || permitted.grant === null ? {} : { grant: permitted.grant }),
    run: async (signal, idempotencyKey, grant) => {
      const allowed = {
        decision: "allow" as const,
        reason,
        tool: name,
        server,
        approvalId: grant?.approvalId ?? null,
        digest: digestOf(action),
      };
      if (tool === null) {
        const gone = `there is no tool "${cutText(call.name, 100)}" any more; an earlier try of this call may have run`;
        return ok(toolless(call, null, "deny", gone, gone) as unknown as JsonObject);
      }
      const begun = ports.clock.monotonic();
      const called = await ports.tools.call(tool, action.input, signal, idempotencyKey);
      const durationMs = Math.round(ports.clock.monotonic() - begun);
      if (called.ok) {
        const shown = await show(scope, called.value.content);
        return ok({
          ...allowed,
          ...shown,
          error: null,
          durationMs,
          ran: true,
        } as unknown as JsonObject);
      }
      const { failure } = called;
      if (!isForModel(failure, scope.isLastAttempt)) return called;
      const isSent = failure.kind !== "policy_denied" && failure.kind !== "invalid_input";
      const doubt =
        permitted === null && !isSent ? "; an earlier try of this call may have run" : "";
      const error = `${cutText(failure.message, shownLength)}${doubt}`;
      const decision = failure.kind === "policy_denied" ? "deny" : "allow";
      return ok({
        ...allowed,
        decision,
        content: error,
        error,
        durationMs,
        ran: isSent,
      } as unknown as JsonObject);
    },
  });
  return conclude(done, scope, each);
}

type Kept = { ok: true; value: Json } | { ok: false; result: HandlerResult };

/** Keeps what the model is told under the call's key, or reads what it was told before. */
function kept(scope: CallsScope, key: string, result: CallResult | null): Promise<Kept> {
  return scope.effect<Json>({
    name: "tool",
    key,
    input: {},
    repeat: "safe",
    concludes: true,
    run: async () => ok(result as unknown as JsonObject),
  });
}

async function tell(scope: CallsScope, key: string, result: CallResult): Promise<CallEnd> {
  const { tool, server, decision, reason } = result;
  scope.log.info(
    { tool, server, call: key, decision, reason },
    "the agent's tool call was not made",
  );
  const told = await kept(scope, key, result);
  return told.ok
    ? { kind: "result", result: told.value as unknown as CallResult }
    : ended(told.result);
}

function ended(result: HandlerResult): CallEnd {
  if (result.kind === "asked") return { kind: "asked", asks: result.asks };
  if (result.kind === "failed") return { kind: "failed", failure: result.failure };
  throw new Error("an effect that did not succeed has no output");
}

/** What came of a call: a no to it or to its repetition, whosesoever, is told to the model; what else went wrong is not. */
async function conclude(done: Kept, scope: KeyedScope, each: KeyedCall): Promise<CallEnd> {
  if (done.ok) return { kind: "result", result: done.value as unknown as CallResult };
  const { result } = done;
  if (result.kind !== "failed") return ended(result);
  const isNo = isPersonsNo(result.failure) || result.failure.kind === "policy_denied";
  return isNo ? refused(scope, each, result) : ended(result);
}

const isPersonsNo = ({ kind }: Failure): boolean =>
  kind === "approval_rejected" || kind === "approval_expired";

/** What is not done: told to the model where it may go on without. */
async function refused(
  scope: KeyedScope,
  each: KeyedCall,
  { failure, failsStep }: Extract<HandlerResult, { kind: "failed" }>,
): Promise<CallEnd> {
  const { call, key, tool } = each;
  const isPassing = troubleOf(failure) !== "step" && !scope.isLastAttempt;
  // No other call would be within the run's budget either.
  const endsStep = failure.kind === "cancelled" || failure.kind === "budget_exceeded";
  if (endsStep || failsStep === true || isPassing) return { kind: "failed", failure };
  const isNo = isPersonsNo(failure);
  const isDenied = failure.kind === "policy_denied";
  const decision = isNo ? "requires_approval" : isDenied ? "deny" : "fail_closed";
  const words = isNo
    ? `A person did not approve this call: ${failure.message}`
    : isDenied
      ? `This call is not allowed: ${failure.message}`
      : `It can't be known whether this call is allowed: ${failure.message}`;
  const content = isInDoubt(each)
    ? `${words}. The tool was not called again; an earlier try of this call may have run.`
    : `${words}. The tool was not called.`;
  const digest = digestOf(actionOf(each));
  return tell(scope, key, { ...toolless(call, tool, decision, failure.message, content), digest });
}
