import type { Attributes } from "@opentelemetry/api";
import type { Json, JsonObject } from "../machines/contracts/domain/json.ts";
import type {
  ModelMessage,
  ModelReply,
  ModelRequest,
  ToolCall,
} from "../machines/contracts/ports/model-provider.ts";

/*
 * What was said, as OpenTelemetry's conventions for generative AI write it down: messages with a role and parts, as
 * JSON text, since attributes of spans hold no objects. Only where a worker is told to: prompts and answers are people's.
 * The span processor takes secrets out of it and cuts it, as it does with every attribute.
 */

/** What a model was told and asked. */
export function requestContent({ messages }: Pick<ModelRequest, "messages">): Attributes {
  const system = messages.filter(({ role }) => role === "system");
  const others = messages.filter(({ role }) => role !== "system");
  return {
    ...(system.length === 0
      ? {}
      : {
          "gen_ai.system_instructions": JSON.stringify(system.map(({ content }) => text(content))),
        }),
    "gen_ai.input.messages": JSON.stringify(
      others.map((message) => ({ role: message.role, parts: partsOf(message) })),
    ),
  };
}

/** What it answered. */
export const replyContent = ({ content, toolCalls, finishReason }: ModelReply): Attributes => ({
  "gen_ai.output.messages": JSON.stringify([
    { role: "assistant", parts: [text(content), ...calls(toolCalls)], finish_reason: finishReason },
  ]),
});

export const argumentsContent = (input: JsonObject): Attributes => ({
  "gen_ai.tool.call.arguments": JSON.stringify(input),
});

export const resultContent = (content: Json): Attributes => ({
  "gen_ai.tool.call.result": JSON.stringify(content),
});

const text = (content: string) => ({ type: "text", content });

const calls = (toolCalls: readonly ToolCall[] = []) =>
  toolCalls.map(({ id, name, arguments: given }) => ({
    type: "tool_call",
    id,
    name,
    arguments: given,
  }));

function partsOf(message: ModelMessage): object[] {
  switch (message.role) {
    case "system":
      return [text(message.content)];
    case "user":
      return (message.parts ?? [{ type: "text", text: message.content } as const]).map((part) => {
        if (part.type === "text") return text(part.text);
        // The bytes of an image are no text, and longer than any span may be.
        return part.url.startsWith("data:")
          ? { type: "blob", modality: "image" }
          : { type: "uri", modality: "image", uri: part.url };
      });
    case "assistant":
      return [text(message.content), ...calls(message.toolCalls)];
    case "tool":
      return [{ type: "tool_call_response", id: message.toolCallId, response: message.content }];
  }
}
