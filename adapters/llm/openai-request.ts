import type OpenAI from "openai";
import type { ModelMessage, ModelRequest } from "../../machines/contracts/ports/model-provider.ts";
import type { ToolNames } from "./tool-names.ts";

/** @param compatible true when another server than OpenAI's own is asked */
export function toOpenaiRequest(
  request: ModelRequest,
  names: ToolNames,
  compatible: boolean,
): OpenAI.ChatCompletionCreateParamsNonStreaming {
  const { model, messages, temperature, tools } = request;
  return {
    model,
    messages: messages.map((message) => toMessage(message, names)),
    ...limit(request, compatible),
    ...(temperature === undefined ? {} : { temperature }),
    ...(tools === undefined || tools.length === 0
      ? {}
      : {
          tools: tools.map(({ name, description, inputSchema }) => ({
            type: "function" as const,
            function: { name: names.outward(name), description, parameters: inputSchema },
          })),
        }),
  };
}

/**
 * OpenAI's reasoning models refuse the old name of the limit; other servers often know only that one, and
 * pass over what they don't know.
 */
function limit({ model, maxTokens }: ModelRequest, compatible: boolean) {
  return compatible && !/^(?:o\d|gpt-5)/u.test(model)
    ? { max_tokens: maxTokens }
    : { max_completion_tokens: maxTokens };
}

function toMessage(message: ModelMessage, names: ToolNames): OpenAI.ChatCompletionMessageParam {
  if (message.role === "tool") {
    // The API has no field for a tool's failure.
    const content = message.isError === true ? `Error: ${message.content}` : message.content;
    return { role: "tool", tool_call_id: message.toolCallId, content };
  }
  if (message.role !== "assistant") return message;
  const calls = message.toolCalls ?? [];
  if (calls.length === 0) return { role: "assistant", content: message.content };
  return {
    role: "assistant",
    content: message.content === "" ? null : message.content,
    tool_calls: calls.map(({ id, name, arguments: args }) => ({
      id,
      type: "function",
      function: { name: names.outward(name), arguments: JSON.stringify(args ?? {}) },
    })),
  };
}
