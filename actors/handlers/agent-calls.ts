import type { Turn } from "../../machines/agent-loop/context.ts";
import type { LoopEvent } from "../../machines/agent-loop/events.ts";
import { isWhole } from "../../machines/agent-loop/rules.ts";
import type { Failure } from "../../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { ToolCall } from "../../machines/contracts/ports/model-provider.ts";
import { digestOf } from "../step/approvals.ts";
import type { Recalled } from "../step/journal.ts";
import { doCall } from "./agent-call.ts";
import {
  actionOf,
  type CallEnd,
  type CallsScope,
  isInDoubt,
  type KeyedCall,
  type KeyedScope,
} from "./call-handler.ts";
import { toolless } from "./agent-results.ts";
import type { OfferedTools } from "./agent-tools.ts";

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
 *   a tool with a handler of the user's    that does the call, see call-handler.ts
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
  const isNew = keys.some((key) => isOpen(given.recall(key)));
  const offered = isNew || targets === undefined ? await given.offer() : null;
  const scope: KeyedScope = { ...given, offered: offered?.ok === true ? offered.value : null };
  if (targets === undefined && offered?.ok === false) return toEvent(offered.failure);
  const calls = keys.map((key, at): KeyedCall => {
    const call = reply.toolCalls[at] as ToolCall;
    const tool =
      targets === undefined ? (scope.offered?.target(call.name) ?? null) : (targets[at] ?? null);
    const handler = tool === null ? null : given.handlerOf(call.name, tool);
    const asked = isWhole(reply) ? call : unfinished(call, reply);
    return {
      call:
        asked.arguments === null
          ? asked
          : { ...asked, arguments: edited(given, { ...asked, key, tool }) },
      key,
      // What a handler does in the tool's place says of each effect of its own whether it may be repeated.
      tool: tool === null || handler === null ? tool : { ...tool, isSafe: false },
      handler,
      known: scope.recall(key),
    };
  });
  // Counted first and in order, so that every session counts the same.
  for (const { known } of calls) {
    const counted = await scope.budget.toolCall(scope.signal);
    if (!counted.ok && isOpen(known)) return toEvent(counted.failure);
  }
  const ends: CallEnd[] = [];
  if (calls.every((each) => isRepeatable(each))) {
    ends.push(...(await Promise.all(calls.map((each) => doCall(scope, each, true)))));
  } else {
    let isAsking = false;
    for (const each of calls) {
      const end = await doCall(scope, each, !isAsking || isRepeatable(each));
      isAsking ||= end.kind === "asked" || end.kind === "waits";
      ends.push(end);
    }
  }
  const told = calls.flatMap((each, at) => {
    const end = ends[at];
    return end === undefined ? [] : [toldOfEdit(end, reply.toolCalls[at], each)];
  });
  for (const call of reply.toolCalls.filter((_, at) => !isMade(at))) {
    const why = `one message can make ${maxCalls} calls at most`;
    const result = toolless(call, null, "deny", why, `${why}; this tool was not called`);
    told.push({ kind: "result", result });
  }
  return together(told, reply.toolCalls, (at) => isMade(at) && calls[at]?.tool == null);
}

/** A result of a call whose arguments a person changed says so: else the model takes it for that of its own call. */
function toldOfEdit(end: CallEnd, asked: ToolCall | undefined, { call }: KeyedCall): CallEnd {
  if (end.kind !== "result" || call.arguments === null || asked?.arguments == null) return end;
  if (digestOf(asked.arguments) === digestOf(call.arguments)) return end;
  const made = cutText(JSON.stringify(call.arguments), 4_000);
  const note = `A person changed the arguments of this call before they approved it, to: ${made}`;
  return { ...end, result: { ...end.result, content: `${note}\n\n${end.result.content}` } };
}

/** The arguments of a call: the model's, or those that a person put in their place. */
const edited = (
  scope: CallsScope,
  { key, tool, ...call }: ToolCall & Pick<KeyedCall, "key" | "tool">,
): JsonObject => scope.edited(actionOf({ call, key, tool })).input;

/** Whether there is nothing that must be said or asked of a call before it is made. */
const isOpen = (known: Recalled): boolean => known === "nothing" || known === "unrepeated";

/** A call of a message that ended before the model had ended it: however whole it looks, it may be cut. */
const unfinished = (call: ToolCall, { finishReason }: Turn["reply"]): ToolCall =>
  finishReason === "length" || call.cutOff === true
    ? { ...call, cutOff: true }
    : {
        ...call,
        arguments: null,
        problem: `the message ended before it was known to be whole (reason: ${finishReason}): make the call again`,
      };

/** Whether the call is over, goes to no tool, or may be made as often as one likes. */
const isRepeatable = (each: KeyedCall): boolean =>
  each.known === "completed" || (!isInDoubt(each) && each.tool?.isSafe !== false);

/**
 * What the calls of a turn came to, in order: what ends the step first, then what it waits for. A model that makes up
 * names learns nothing by it: one call to no tool is like any other.
 */
function together(
  ends: readonly CallEnd[],
  calls: readonly ToolCall[],
  isToNone: (at: number) => boolean,
): LoopEvent {
  const failures = ends.flatMap((end) => (end.kind === "failed" ? [end.failure] : []));
  const final = failures.find(({ retryable }) => !retryable);
  if (final !== undefined) return toEvent(final);
  const [passing] = failures;
  if (passing !== undefined) return toEvent(passing);
  const asks = ends.flatMap((end) => (end.kind === "asked" ? end.asks : []));
  if (asks.length > 0) return { type: "approval.needed", asks };
  const results = ends.flatMap((end) => (end.kind === "result" ? [end.result] : []));
  const digest = digestOf({
    calls: calls.map(({ name, arguments: given }, at) => (isToNone(at) ? [] : [name, given])),
    brought: results.map(({ content }, at) => (isToNone(at) ? "" : content)),
  });
  return { type: "results.received", results, digest };
}

function toEvent(failure: Failure): LoopEvent {
  if (failure.kind === "budget_exceeded") return { type: "budget.exceeded", failure };
  return failure.retryable ? { type: "trouble.met", failure } : { type: "calls.failed", failure };
}
