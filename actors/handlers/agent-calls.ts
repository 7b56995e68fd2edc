import type { CallResult, Turn } from "../../machines/agent-loop/context.ts";
import { isWhole } from "../../machines/agent-loop/rules.ts";
import type { LoopEvent } from "../../machines/agent-loop/events.ts";
import type { Action, Ask } from "../../machines/contracts/domain/action.ts";
import { type Failure, ok, troubleOf } from "../../machines/contracts/domain/failure.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { ToolCall } from "../../machines/contracts/ports/model-provider.ts";
import type { ToolDescription } from "../../machines/contracts/ports/tool-host.ts";
import type { RuntimePorts } from "../ports.ts";
import { digestOf } from "../step/approvals.ts";
import { isForModel, problemOf, show, shownLength, toolless } from "./agent-results.ts";
import type { OfferedTools } from "./agent-tools.ts";
import type { HandlerResult, StepScope } from "./handler.ts";

/*
 * The tool calls of one reply. Each has a key, `tool#<round>.<turn>.<call>`, which is the same in every session, and
 * under it the journal has one outcome: what the tool brought, or why it was not called. So what the model was told once
 * it is told for ever, whatever policy says later.
 *
 *   written badly, not offered             an error for the model; no tool hears of it
 *   of a message that the model itself     an error for the model; no tool hears of it
 *   did not end
 *   beyond the most calls of one reply     an error for the model; nothing is journalled or counted
 *   denied, refused by a person            an error for the model, unless the verdict says that it ends the step
 *   no word on it that counts              an error for the model: closed
 *   to be asked about                      the question is put once the other calls are over; nothing is journalled
 *   the tool failed                        an error for the model
 *   passing trouble                        the step waits and comes back; the last attempt's is an error for the model
 *   in doubt                               a person is asked, or the step fails, as settings say
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
  offered: OfferedTools;
}

/** Calls of one reply that are done; a model that makes more is told so. The most parallel calls in use are some dozens. */
const maxCalls = 32;

/** Does the calls of a turn, or reads from the journal what came of them. */
export async function runCalls(
  scope: CallsScope,
  { reply }: Turn,
  turnKey: string,
): Promise<LoopEvent> {
  const isMade = (at: number) => at < maxCalls;
  const calls = reply.toolCalls
    .filter((_, at) => isMade(at))
    .map((call, at) => ({
      call: isWhole(reply) ? call : unfinished(call, reply),
      key: `tool#${turnKey}.${at + 1}`,
      tool: scope.offered.find(call.name),
    }));
  // Counted first and in order, so that every session counts the same.
  for (const { key } of calls) {
    const counted = await scope.budget.toolCall(scope.signal);
    if (counted.ok || scope.recall(key) === "completed") continue;
    return toEvent(counted.failure);
  }
  const ends: CallEnd[] = [];
  const areSafe = calls.every(({ tool, key }) => isSafe(tool) || scope.recall(key) === "completed");
  if (areSafe) {
    ends.push(
      ...(await Promise.all(calls.map(({ call, key, tool }) => one(scope, call, key, tool)))),
    );
  } else {
    let isAsking = false;
    for (const { call, key, tool } of calls) {
      const mayRun = !isAsking || isSafe(tool);
      const end = await one(scope, call, key, tool, mayRun);
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

const isSafe = (tool: ToolDescription | null): boolean =>
  tool === null || tool.safeToRepeat || tool.readOnly;

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
async function one(
  scope: CallsScope,
  call: ToolCall,
  key: string,
  tool: ToolDescription | null,
  mayRun = true,
): Promise<CallEnd> {
  const { recall, ports } = scope;
  if (recall(key) === "completed") return conclude(await kept(scope, key, null), scope, key, call);
  const bad = problemOf(scope, call, tool);
  if (bad !== null || tool === null) {
    const why = bad ?? "there is no such tool";
    return tell(scope, key, toolless(call, tool, "deny", why, `${why}; the tool was not called`));
  }
  const input = call.arguments ?? {};
  const { name, server, digest: schema } = tool;
  const action: Action = { kind: "tool", name, server, schema, call: key, input };
  const permitted = await scope.permission(action);
  const about = { tool: name, server, call: key };
  if (!permitted.allowed) {
    const { result, verdict } = permitted;
    if (result.kind === "asked") return { kind: "asked", asks: result.asks };
    if (result.kind !== "failed") throw new Error("a permission that is refused has no output");
    // No other call would be within the run's budget either.
    if (result.failure.kind === "budget_exceeded")
      return { kind: "failed", failure: result.failure };
    return refused(
      scope,
      call,
      key,
      tool,
      result.failure,
      verdict?.failsStep === true,
      digestOf(action),
    );
  }
  if (!mayRun) return { kind: "waits" };
  const { verdict, grant } = permitted;
  scope.log.info(
    { ...about, decision: verdict.kind, reason: verdict.reason },
    "the agent calls a tool",
  );
  const allowed = {
    decision: "allow" as const,
    reason: verdict.reason,
    tool: name,
    server,
    approvalId: grant?.approvalId ?? null,
    digest: digestOf(permitted.action),
  };
  const done = await scope.effect({
    name: `tool:${name}`,
    key,
    input: { tool: name, server, input },
    // Even what may be repeated for nothing is kept: the model has been told of it.
    repeat: tool.safeToRepeat || tool.readOnly ? "safe" : "unsafe",
    target: { server, schema },
    action: permitted.action,
    ...(grant === null ? {} : { grant }),
    run: async (signal, idempotencyKey) => {
      const begun = ports.clock.monotonic();
      const called = await ports.tools.call(tool, input, signal, idempotencyKey);
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
      const error = cutText(failure.message, shownLength);
      const decision = failure.kind === "policy_denied" ? "deny" : "allow";
      const ran = failure.kind !== "policy_denied" && failure.kind !== "invalid_input";
      return ok({
        ...allowed,
        decision,
        content: error,
        error,
        durationMs,
        ran,
      } as unknown as JsonObject);
    },
  });
  return conclude(done, scope, key, call, tool);
}

type Kept = { ok: true; value: Json } | { ok: false; result: HandlerResult };

/** Keeps what the model is told under the call's key, or reads what it was told before. */
function kept(scope: CallsScope, key: string, result: CallResult | null): Promise<Kept> {
  return scope.effect<Json>({
    name: "tool",
    key,
    input: {},
    repeat: "safe",
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

/** A person's no to a call, or to its repetition, is told to the model; what else went wrong, ends or pauses the step. */
async function conclude(
  done: Kept,
  scope: CallsScope,
  key: string,
  call: ToolCall,
  tool: ToolDescription | null = null,
): Promise<CallEnd> {
  if (done.ok) return { kind: "result", result: done.value as unknown as CallResult };
  const end = ended(done.result);
  if (end.kind !== "failed") return end;
  return isPersonsNo(end.failure) ? refused(scope, call, key, tool, end.failure, false, null) : end;
}

const isPersonsNo = ({ kind }: Failure): boolean =>
  kind === "approval_rejected" || kind === "approval_expired";

/** What is not done: told to the model where it may go on without. */
async function refused(
  scope: CallsScope,
  call: ToolCall,
  key: string,
  tool: ToolDescription | null,
  failure: Failure,
  failsStep: boolean,
  digest: string | null,
): Promise<CallEnd> {
  const isNo = isPersonsNo(failure);
  const isDenied = failure.kind === "policy_denied";
  const isPassing = troubleOf(failure) !== "step" && !scope.isLastAttempt;
  if (failure.kind === "cancelled" || failsStep || isPassing) return { kind: "failed", failure };
  const decision = isNo ? "requires_approval" : isDenied ? "deny" : "fail_closed";
  const doubt =
    scope.recall(key) === "begun" && !isNo ? "; an earlier try of this call may have run" : "";
  const words = isNo
    ? `A person did not approve this call: ${failure.message}`
    : isDenied
      ? `This call is not allowed: ${failure.message}`
      : `It can't be known whether this call is allowed: ${failure.message}`;
  const content = `${words}. The tool was not called${doubt}.`;
  return tell(scope, key, { ...toolless(call, tool, decision, failure.message, content), digest });
}
