import type { CallResult, LoopContext, Turn } from "../../machines/agent-loop/context.ts";
import type { LoopEnd } from "../../machines/agent-loop/machine.ts";
import { type Failure, terminal } from "../../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { airlockMarker, type Usage } from "../../machines/contracts/domain/step-result.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import { addUsage } from "../../machines/step/updates.ts";
import type { ToolCall } from "../../machines/contracts/ports/model-provider.ts";

/** Characters of a result that the output shows, as FerrumDeck's worker does; the journal and the artifacts have more. */
const previewLength = 200;
/** Longer arguments are named by their digest: each call's stand in the report, which has its limit. */
const argumentsLength = 4_000;

/** An id is a few dozen characters long, but where a provider puts more into it. */
const idLength = 200;

/** A turn of which some calls may have brought nothing. */
export type OutputTurn = Omit<Turn, "results"> & { results: readonly (CallResult | null)[] };

/**
 * The output of every llm step, however often its model was asked. FerrumDeck's dashboard reads `response`,
 * `tool_calls`, `iterations` and `status`, and of each call `tool_name`, `arguments`, `success`, `output_preview` and
 * `error`.
 */
export function toOutput(
  turns: readonly OutputTurn[],
  { folded }: Pick<LoopContext, "folded">,
  end: LoopEnd,
  usage: Usage | null,
  cause: Failure | null = null,
): JsonObject {
  const last = turns.at(-1)?.reply;
  const isAnswer = last !== undefined && last.finishReason !== "refusal" && end !== "paused";
  const leftOut = Math.max(0, ...turns.map(({ toolsLeftOut = 0 }) => toolsLeftOut));
  const cut = turns.flatMap(({ results, mostShown = Number.POSITIVE_INFINITY }) =>
    results.filter((result) => result !== null && result.content.length > mostShown),
  );
  const dropped = [...new Set(turns.flatMap(({ reply }) => reply.droppedParams ?? []))];
  return {
    response: isAnswer ? last.content : "",
    tool_calls: turns.flatMap(({ reply, results }) =>
      results.flatMap((result, at) =>
        result === null ? [] : [toCall(reply.toolCalls[at], result)],
      ),
    ),
    iterations: turns.length,
    status: end,
    model: last?.model ?? null,
    provider: last?.provider ?? null,
    finish_reason: last?.finishReason ?? null,
    usage: usage === null ? null : { ...usage },
    cost_micros: usage?.costMicros ?? null,
    ...(turns.some(({ reply }) => reply.scripted === true) ? { scripted: true } : {}),
    ...(turns.some(({ reply }) => reply.standIn === true) ? { stand_in: true } : {}),
    ...(cause === null ? {} : { cause: toCause(cause) }),
    ...airlockMarker(blockedIn(turns)),
    ...(folded === 0 ? {} : { folded_turns: folded }),
    ...(leftOut === 0 ? {} : { tools_left_out: leftOut }),
    ...(cut.length === 0 ? {} : { cut_results: cut.length }),
    ...(dropped.length === 0 ? {} : { dropped_params: dropped }),
    ...(last?.attempts === undefined ? {} : { attempts: last.attempts as unknown as JsonObject[] }),
  };
}

/** What the Airlock found in the first call that it blocked. */
const blockedIn = (turns: readonly OutputTurn[]): JsonObject | null =>
  turns.flatMap(({ results }) => results).find((result) => result?.airlock !== undefined)
    ?.airlock ?? null;

/** What an answer used, its failed attempts' included. */
export const usageOfReply = ({ usage, attempts = [] }: Turn["reply"]): Usage | null =>
  attempts.reduce<Usage | null>((sum, attempt) => addUsage(sum, attempt.usage ?? null), usage);

/** What kept a loop that had met a bound from its last answer. */
const toCause = ({ kind, message }: Failure): JsonObject => ({
  kind,
  message: cutText(message, 1_000),
});

function toCall(call: ToolCall | undefined, result: CallResult): JsonObject {
  const { content, error, decision, reason, tool, server, approvalId, digest, durationMs } = result;
  const text = JSON.stringify(call?.arguments ?? null);
  return {
    id: cutText(call?.id ?? "", idLength),
    tool_name: call?.name ?? tool,
    server,
    arguments:
      text.length <= argumentsLength
        ? (call?.arguments ?? null)
        : { cut: cutText(text, argumentsLength), characters: text.length },
    success: error === null,
    output_preview: error === null ? cutText(content, previewLength) : null,
    error: error === null ? null : cutText(error, 2_000),
    decision,
    reason,
    approval_id: approvalId,
    digest,
    duration_ms: durationMs,
    ...(result.artifact === undefined ? {} : { artifact: result.artifact }),
    ...(result.screening === undefined
      ? {}
      : { screening_findings: result.screening as unknown as JsonObject[] }),
  };
}

/** Why a loop that has ended without an answer of its own is a failure. */
export function toFailure(
  end: LoopEnd,
  { failure, turns }: Pick<LoopContext, "failure" | "turns">,
  { maxIterations, maxTokens }: { maxIterations: number; maxTokens: number },
): Failure {
  const iterations = turns.length;
  const because =
    failure === null ? "" : `; the last answer, without tools, did not come: ${failure.message}`;
  const cause = failure === null ? {} : { cause: toCause(failure) };
  if (end === "max_iterations") {
    const message = `the agent had no answer after ${maxIterations} iterations, its limit${because}`;
    return terminal("incomplete", message, { iterations, ...cause });
  }
  if (end === "no_progress") {
    const message = `the agent repeated the same calls with the same results and made no progress${because}`;
    return terminal("incomplete", message, { iterations, ...cause });
  }
  if (end === "cut_off") {
    const reason = turns.at(-1)?.reply.finishReason ?? "other";
    const message =
      reason === "length"
        ? `the model's answer was cut off at a limit of tokens (this step asks for at most ${maxTokens}): raise max_tokens, or ask for less`
        : reason === "tool_calls"
          ? "the model ended its message to call tools, and its provider's answer holds no call that can be read"
          : `the model's answer ended, and its provider did not say that it is whole (reason: ${reason})`;
    return terminal("incomplete", message, { iterations, finish_reason: reason });
  }
  return failure ?? terminal("internal", `the agent's loop ended as ${end} without a reason`);
}
