import type Anthropic from "@anthropic-ai/sdk";
import type { ModelMessage, ModelRequest } from "../../machines/contracts/ports/model-provider.ts";
import type { ToolNames } from "./tool-names.ts";

export function toAnthropicRequest(
  request: ModelRequest,
  names: ToolNames,
): Anthropic.MessageCreateParamsNonStreaming {
  const { model, messages, maxTokens, temperature, tools } = request;
  const system = messages.filter(({ role }) => role === "system").map(({ content }) => content);
  return {
    model,
    max_tokens: maxTokens,
    messages: toMessages(messages, names),
    ...(system.length === 0 ? {} : { system: system.join("\n\n") }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(tools === undefined || tools.length === 0
      ? {}
      : {
          tools: tools.map(({ name, description, inputSchema }) => ({
            name: names.outward(name),
            description,
            input_schema: { ...inputSchema, type: "object" as const },
          })),
        }),
  };
}

/** All results of one turn's tool calls must stand in one user message: neighbours of a role are joined. */
function toMessages(messages: readonly ModelMessage[], names: ToolNames) {
  const joined: { role: "user" | "assistant"; content: Anthropic.ContentBlockParam[] }[] = [];
  for (const message of messages) {
    if (message.role === "system") continue;
    const role = message.role === "assistant" ? "assistant" : "user";
    const content = toBlocks(message, names);
    const last = joined.at(-1);
    if (last?.role === role) last.content.push(...content);
    else if (content.length > 0) joined.push({ role, content });
  }
  return joined;
}

function toBlocks(message: ModelMessage, names: ToolNames): Anthropic.ContentBlockParam[] {
  if (message.role === "tool") {
    const { toolCallId, content, isError } = message;
    const result = { type: "tool_result" as const, tool_use_id: toolCallId, content };
    return [isError === true ? { ...result, is_error: true } : result];
  }
  // The API refuses an empty text block.
  const text = message.content === "" ? [] : [{ type: "text" as const, text: message.content }];
  const calls = message.role === "assistant" ? (message.toolCalls ?? []) : [];
  return [
    ...text,
    ...calls.map(({ id, name, arguments: input }) => ({
      type: "tool_use" as const,
      id,
      name: names.outward(name),
      input: input ?? {},
    })),
  ];
}
