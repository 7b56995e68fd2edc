import { type } from "arktype";
import { once } from "../../machines/contracts/domain/once.ts";
import { terminal, fail, ok } from "../../machines/contracts/domain/failure.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type {
  ModelMessage,
  ModelPart,
  ModelProvider,
  ModelReply,
  ModelRequest,
} from "../../machines/contracts/ports/model-provider.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";

/**
 * Plays a declared script in place of a model. A call gets the first turn that fits and was not played; the same
 * idempotency key gets the same turn again. A turn whose reply already stands in the conversation counts as
 * played, so that a step taken up in a new process goes on where it was. A turn with `repeat` is played once in every
 * conversation. Every reply says that it is scripted.
 */
export function createScripted(script: ModelScript): ModelProvider {
  const played = new Map<number, string | null>();
  const isRepeated = (at: number) => script[at]?.repeat === true;
  return {
    async complete(request, signal, onPart) {
      if (signal.aborted) return fail(terminal("cancelled", "the model call was cancelled"));
      const heard = heardIn(script, request.messages);
      for (const at of heard) if (!played.has(at) && !isRepeated(at)) played.set(at, null);
      const again = [...played].find(([, key]) => key === request.idempotencyKey)?.[0];
      const at =
        again ??
        script.findIndex(
          (turn, index) => !played.has(index) && !heard.has(index) && fits(turn, request),
        );
      const turn = script[at];
      if (turn === undefined) return fail(unplanned(script, played, request));
      if (!isRepeated(at)) played.set(at, request.idempotencyKey);
      const reply = toReply(turn, at, request);
      for (const part of partsOf(reply)) await onPart?.(part);
      return ok(reply);
    },
  };
}

/**
 * Answers in place of every model where none can be asked, so that a first run has something to show; each answer says
 * what it is.
 */
export function createStandIn(): ModelProvider {
  return {
    async complete(request, signal, onPart) {
      if (signal.aborted) return fail(terminal("cancelled", "the model call was cancelled"));
      const asked = request.messages.findLast(({ role }) => role === "user")?.content ?? "";
      const content =
        "This is a scripted answer: no model was asked, because no key is set. " +
        `Set ANTHROPIC_API_KEY or OPENAI_API_KEY for a real one. The task was: ${cutText(asked, 200)}`;
      const reply = { ...toReply({ reply: { content } }, 0, request), standIn: true as const };
      for (const part of partsOf(reply)) await onPart?.(part);
      return ok(reply);
    },
  };
}

function fits({ expect }: ScriptedTurn, request: ModelRequest): boolean {
  if (expect?.model !== undefined && expect.model !== request.model) return false;
  const { contains } = expect ?? {};
  return (
    contains === undefined || request.messages.some(({ content }) => content.includes(contains))
  );
}

/** The turns whose replies the conversation holds, each message standing for one turn at most. */
function heardIn(script: ModelScript, messages: readonly ModelMessage[]): ReadonlySet<number> {
  const heard = new Set<number>();
  for (const message of messages) {
    if (message.role !== "assistant") continue;
    const at = script.findIndex((turn, index) => !heard.has(index) && says(turn, message));
    if (at >= 0) heard.add(at);
  }
  return heard;
}

function says({ reply }: ScriptedTurn, message: ModelMessage & { role: "assistant" }): boolean {
  return (
    (reply.content ?? "") === message.content &&
    joinNames(reply.toolCalls) === joinNames(message.toolCalls)
  );
}

function joinNames(calls: readonly { name: string }[] = []): string {
  return calls.map(({ name }) => name).join();
}

function toReply({ reply }: ScriptedTurn, at: number, request: ModelRequest): ModelReply {
  const toolCalls = (reply.toolCalls ?? []).map((call, number) => ({
    id: `scripted_${at}_${number}`,
    ...call,
  }));
  return {
    provider: "scripted",
    model: request.model,
    content: reply.content ?? "",
    toolCalls,
    finishReason: toolCalls.length > 0 ? "tool_calls" : "stop",
    usage: reply.usage ?? { inputTokens: 0, outputTokens: 0 },
    scripted: true,
  };
}

/** A reply that comes at once, as what would have come of it before. */
export function partsOf({ content, toolCalls }: ModelReply): ModelPart[] {
  const calls = toolCalls.map(({ id, name, arguments: given }, index): ModelPart => {
    return { type: "arguments", index, id, name, text: JSON.stringify(given ?? {}) };
  });
  return content === "" ? calls : [{ type: "text", text: content }, ...calls];
}

function unplanned(
  script: ModelScript,
  played: ReadonlyMap<number, string | null>,
  { model, messages }: ModelRequest,
) {
  const last = cutText(messages.at(-1)?.content ?? "", 120);
  const open = script.flatMap((turn, at) =>
    played.has(at) ? [] : [`turn ${at + 1} ${JSON.stringify(turn.expect ?? {})}`],
  );
  const expected =
    open.length === 0
      ? "every turn has been played, which happens once unless it says repeat: true"
      : `it expected ${open.slice(0, 3).join(" or ")}`;
  return terminal(
    "model_failed",
    `the script has no answer for ${JSON.stringify(model)} asked ${JSON.stringify(last)}; ${expected}`,
  );
}

/** One planned call and the answer it gets. Without `expect` any call fits. */
export interface ScriptedTurn {
  expect?: {
    /** The model asked for, without `scripted/`. */
    model?: string;
    /** Text that must occur in one of the messages. */
    contains?: string;
  };
  /** Played once in every conversation, not once in this process. */
  repeat?: boolean;
  reply: {
    content?: string;
    toolCalls?: { name: string; arguments: JsonObject }[];
    usage?: { inputTokens: number; outputTokens: number; costMicros?: number };
  };
}

export type ModelScript = readonly ScriptedTurn[];

const shape = once(() =>
  type({
    "expect?": { "model?": "string", "contains?": "string" },
    "repeat?": "boolean",
    reply: {
      "content?": "string",
      "toolCalls?": type({ name: "string > 0", arguments: "object" }).array(),
      "usage?": {
        inputTokens: "number.integer >= 0",
        outputTokens: "number.integer >= 0",
        "costMicros?": "number.integer >= 0",
      },
    },
  })
    .onDeepUndeclaredKey("reject")
    .array(),
);

/**
 * Checks a script that came from a file.
 *
 * @returns a message naming what was wrong when it is none
 */
export function readModelScript(value: unknown): ModelScript | string {
  const read = shape()(value);
  return read instanceof type.errors
    ? `model script: ${read.summary.replaceAll("\n", "; ")}`
    : (read as ModelScript);
}
