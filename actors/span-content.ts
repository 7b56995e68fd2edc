import type { Attributes } from "@opentelemetry/api";
import { isJsonObject, type Json, type JsonObject } from "../machines/contracts/domain/json.ts";
import { redact } from "../machines/contracts/domain/redact.ts";
import { cutText } from "../machines/contracts/domain/text.ts";
import type {
  ModelMessage,
  ModelReply,
  ModelRequest,
  ToolCall,
} from "../machines/contracts/ports/model-provider.ts";

/*
 * What was said, as OpenTelemetry's conventions for generative AI write it down: messages with a role and parts, as
 * JSON text, since attributes of spans hold no objects. Only where a worker is told to: prompts and answers are people's.
 *
 * Secrets are taken out of each text before it becomes JSON, as from a log: within JSON text an `n` stands before what
 * began a line, and no pattern would know it. The span processor takes out this process's own, and cuts what is longer
 * than a log line's text; so the newest messages are kept that have room in one, long texts within them are cut, and the
 * JSON stays whole.
 */
const mostCharacters = 8_000;
/** Of a text that has to give way to others, at least. */
const leastCharacters = 16;

/** What a model was told and asked. */
export function requestContent({ messages }: Pick<ModelRequest, "messages">): Attributes {
  const system = messages.filter(({ role }) => role === "system");
  const others = messages.filter(({ role }) => role !== "system");
  const kept = newest(others);
  return {
    ...(system.length === 0
      ? {}
      : {
          "gen_ai.system_instructions": JSON.stringify(
            newest(system).flatMap(({ parts }) => parts),
          ),
        }),
    "gen_ai.input.messages": JSON.stringify(kept),
    ...(kept.length === others.length
      ? {}
      : { "stateplane.messages.left_out": others.length - kept.length }),
  };
}

/** What it answered. */
export const replyContent = ({ content, toolCalls, finishReason }: ModelReply): Attributes => ({
  "gen_ai.output.messages": JSON.stringify([
    {
      role: "assistant",
      parts: fittedParts([text(content), ...calls(toolCalls)]),
      finish_reason: finishReason,
    },
  ]),
});

export const argumentsContent = (input: JsonObject): Attributes => ({
  "gen_ai.tool.call.arguments": JSON.stringify(fitted(redact(input))),
});

export const resultContent = (content: Json): Attributes => ({
  "gen_ai.tool.call.result": JSON.stringify(fitted(redact(content))),
});

/** The last ones that have room together: one at least. */
function newest(messages: readonly ModelMessage[]): { role: string; parts: object[] }[] {
  let left = mostCharacters;
  const kept: { role: string; parts: object[] }[] = [];
  for (const message of messages.toReversed()) {
    const said = { role: message.role, parts: fittedParts(partsOf(message)) };
    left -= JSON.stringify(said).length;
    if (left < 0 && kept.length > 0) break;
    kept.unshift(said);
  }
  return kept;
}

/** With its texts cut to what has room beside each other; what is still too long, as the beginning of its JSON text. */
function fitted(value: unknown): unknown {
  for (let most = mostCharacters; most >= leastCharacters; most /= 2) {
    const said = withTextsCut(value, most);
    if (JSON.stringify(said).length <= mostCharacters) return said;
  }
  return cutText(JSON.stringify(value), mostCharacters / 2);
}

/** What it is given has been redacted, and is not deep any more. */
function withTextsCut(value: unknown, most: number): unknown {
  if (typeof value === "string") return cutText(value, most);
  if (Array.isArray(value)) return value.map((item) => withTextsCut(item, most));
  if (!isJsonObject(value)) return value;
  const entries = Object.entries(value).map(([key, item]) => [key, withTextsCut(item, most)]);
  return Object.fromEntries(entries);
}

function fittedParts(parts: readonly object[]): object[] {
  const said = fitted(parts);
  return Array.isArray(said) ? (said as object[]) : [text(String(said))];
}

const text = (content: string) => ({
  type: "text",
  content: cutText(String(redact(content)), mostCharacters),
});

const calls = (toolCalls: readonly ToolCall[] = []) =>
  toolCalls.map(({ id, name, arguments: given }) => ({
    type: "tool_call",
    id,
    name,
    arguments: redact(given),
  }));

function partsOf(message: ModelMessage): object[] {
  switch (message.role) {
    case "system":
      return [text(message.content)];
    case "user":
      return (message.parts ?? [{ type: "text", text: message.content } as const]).map((part) => {
        if (part.type === "text") return text(part.text);
        // The bytes of an image are no text; and what an address asks for may be a signature.
        return /^data:/iu.test(part.url)
          ? { type: "blob", modality: "image" }
          : { type: "uri", modality: "image", uri: redact(part.url.replace(/[?#].*$/su, "")) };
      });
    case "assistant":
      return [text(message.content), ...calls(message.toolCalls)];
    case "tool": {
      const response = text(message.content).content;
      return [{ type: "tool_call_response", id: message.toolCallId, response }];
    }
  }
}
