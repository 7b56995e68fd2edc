import type { CallResult } from "../../machines/agent-loop/context.ts";
import type { Action, Grant } from "../../machines/contracts/domain/action.ts";
import {
  fail,
  type Failure,
  ok,
  type Outcome,
  terminal,
  troubleOf,
} from "../../machines/contracts/domain/failure.ts";
import { airlockViolation } from "../../machines/contracts/domain/step-result.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { ToolResult, ToolTarget } from "../../machines/contracts/ports/tool-host.ts";
import { keepAttachments } from "./attachments.ts";
import { actionDigest } from "../step/approvals.ts";
import { isForModel, problemOf, show, showFailure, toolless } from "./agent-results.ts";
import {
  actionOf,
  type Allowed,
  type CallEnd,
  type CallsScope,
  isInDoubt,
  type KeyedCall,
  type KeyedScope,
  resultOf,
  runHandler,
} from "./call-handler.ts";
import type { HandlerResult } from "./handler.ts";

/** Whether a try of this call that nobody knows the end of was made, now or before one that is known to have failed. */
const mayHaveRun = (each: KeyedCall): boolean => isInDoubt(each) || each.known === "unrepeated";

const doubtOf = (each: KeyedCall): string =>
  mayHaveRun(each) ? "; an earlier try of this call may have run" : "";

/** As the approval has it, where a person was asked: by it a reader sees that what ran is what was approved. */
const digestFor = ({ job }: KeyedScope, action: Action, grant: Grant | null | undefined): string =>
  grant?.digest ?? actionDigest(job, action);

const uncalled = (each: KeyedCall): string =>
  `the tool was not called${mayHaveRun(each) ? " again" : ""}${doubtOf(each)}`;

/**
 * Does one call, or reads from the journal what came of it.
 *
 * @param mayRun false where a call before it waits for a person: then it is only judged
 */
export async function doCall(
  scope: KeyedScope,
  each: KeyedCall,
  mayRun: boolean,
): Promise<CallEnd> {
  const { call, key, tool, known } = each;
  if (known === "completed") return conclude(await kept(scope, key, null), scope, each);
  const run = each.handler === null ? make : handOver;
  if (isInDoubt(each)) return mayRun ? run(scope, each, null) : { kind: "waits" };
  const bad = problemOf(scope, call, tool);
  if (bad !== null || tool === null) {
    const why = bad ?? "there is no such tool";
    return tell(scope, key, toolless(call, tool, "deny", why, `${why}; ${uncalled(each)}`));
  }
  const permitted = await scope.permission(actionOf(each));
  if (!permitted.allowed) {
    const { result } = permitted;
    return result.kind === "failed" ? refused(scope, each, result) : ended(result);
  }
  return mayRun ? run(scope, each, permitted) : { kind: "waits" };
}

/**
 * Makes the call as an effect.
 *
 * @param permitted null for one in doubt: the effect asks about the doubt first, and then whether it is allowed now
 */
async function make(
  scope: KeyedScope,
  each: KeyedCall,
  permitted: Allowed | null,
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
        digest: digestFor(scope, action, grant),
      };
      if (tool === null) {
        const gone = `there is no tool "${cutText(call.name, 100)}" any more; an earlier try of this call may have run`;
        return ok(toolless(call, null, "deny", gone, gone) as unknown as JsonObject);
      }
      const begun = ports.clock.monotonic();
      const called = answered(
        tool,
        await ports.tools.call(tool, action.input, signal, idempotencyKey),
      );
      const durationMs = Math.round(ports.clock.monotonic() - begun);
      if (called.ok) {
        const { content } = await keepAttachments(ports.artifacts, scope, called.value);
        const shown = await show(scope, content);
        return ok({
          ...allowed,
          ...shown,
          durationMs,
          ran: true,
        } as unknown as JsonObject);
      }
      const { failure } = called;
      if (!isForModel(failure, scope.isLastAttempt)) return called;
      const isSent = failure.kind !== "policy_denied" && failure.kind !== "invalid_input";
      const told = showFailure(scope, failure);
      const error = `${told.content}${doubtOf(each)}`;
      const decision = failure.kind === "policy_denied" ? "deny" : "allow";
      return ok({
        ...allowed,
        ...told,
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

/** Has the user's handler do the call: what it brings is kept under the call's key, as what a tool brings is. */
async function handOver(
  scope: KeyedScope,
  each: KeyedCall,
  permitted: Allowed | null,
): Promise<CallEnd> {
  const { ports } = scope;
  const begun = ports.clock.monotonic();
  const { result, action, grant, reason } = await runHandler(scope, each, permitted);
  const durationMs = Math.round(ports.clock.monotonic() - begun);
  const { name: tool, server = null } = action;
  const judged = { decision: "allow" as const, reason, tool, server, durationMs, ran: true };
  const digest = digestFor(scope, action, grant);
  const allowed = { ...judged, approvalId: grant?.approvalId ?? null, digest };
  if (result.kind === "asked") return ended(result);
  if (result.kind === "done") {
    const shown = await show(scope, resultOf(result.output, action));
    return keep(scope, each, { ...allowed, ...shown });
  }
  const { failure } = result;
  const isNo = isPersonsNo(failure) || failure.kind === "policy_denied";
  if (isNo || result.failsStep === true) return refused(scope, each, result);
  if (!isForModel(failure, scope.isLastAttempt)) return ended(result);
  const told = showFailure(scope, failure);
  const error = `${told.content}${doubtOf(each)}`;
  return keep(scope, each, { ...allowed, ...told, content: error, error });
}

const keep = async (scope: KeyedScope, each: KeyedCall, result: CallResult): Promise<CallEnd> =>
  conclude(await kept(scope, each.key, result), scope, each);

/** A model's call is over in its turn: a tool that asks a person before it goes on is one that failed. */
function answered(
  tool: Pick<ToolTarget, "name" | "server">,
  called: Outcome<ToolResult>,
): Outcome<ToolResult> {
  if (!called.ok || called.value.asks === undefined) return called;
  const said = `tool "${tool.name}" of MCP server "${tool.server}" asks a person in the middle of its work, which a model's call can't wait for; it can be called in a tool step`;
  return fail(terminal("tool_failed", said));
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
  const content = `${words}; ${uncalled(each)}`;
  const { approval_id: asked, digest: refusedDigest } = failure.details ?? {};
  const approvalId = typeof asked === "string" ? asked : null;
  const digest =
    typeof refusedDigest === "string" ? refusedDigest : actionDigest(scope.job, actionOf(each));
  const untold = toolless(call, tool, decision, failure.message, content);
  const violation = airlockViolation(failure.details);
  const found = violation === null ? {} : { airlock: violation };
  return tell(scope, key, { ...untold, approvalId, digest, ...found });
}
