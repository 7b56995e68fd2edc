import OpenAI, { APIError } from "openai";
import { terminal, fail, ok, type Outcome } from "../../machines/contracts/domain/failure.ts";
import type {
  ModelProvider,
  ModelReply,
  ModelMessage,
  ModelRequest,
} from "../../machines/contracts/ports/model-provider.ts";
import { askVendor, type VendorError } from "./vendor.ts";
import { pricedUsage, tokenCount } from "./prices.ts";
import { readAnsweredArguments, createToolNames, type ToolNames } from "./tool-calls.ts";

export interface OpenaiOptions {
  apiKey: string;
  /** Another server that speaks the same API; the official one when left out. */
  baseUrl?: string;
  timeoutMs: number;
}

/** OpenAI's chat completions, and whatever else speaks them. The SDK's retries and logging are off. */
export function createOpenai({ apiKey, baseUrl, timeoutMs }: OpenaiOptions): ModelProvider {
  const client = new OpenAI({
    apiKey,
    baseURL: baseUrl ?? "https://api.openai.com/v1",
    timeout: timeoutMs,
    maxRetries: 0,
    logLevel: "off",
  });
  const vendor = { name: "openai", keyVariable: "OPENAI_API_KEY", timeoutMs, isVendorError };
  return {
    async complete(request, signal) {
      const names = createToolNames((request.tools ?? []).map((tool) => tool.name));
      const body = toOpenaiRequest(request, names, baseUrl !== undefined);
      const headers = { "Idempotency-Key": request.idempotencyKey };
      const answer = await askVendor(vendor, signal, (limited) =>
        client.chat.completions.create(body, { signal: limited, headers }),
      );
      return answer.ok ? toReply(answer.value, names, request.model) : answer;
    },
  };
}

function isVendorError(error: unknown): error is VendorError {
  return error instanceof APIError;
}

function toReply(
  answer: OpenAI.ChatCompletion,
  names: ToolNames,
  asked: string,
): Outcome<ModelReply> {
  // The SDK does not check what it received.
  const choice = answer?.choices?.[0] as OpenAI.ChatCompletion.Choice | undefined;
  if (choice?.message === undefined) {
    return fail(terminal("model_failed", "openai answered out of contract: no choices[0].message"));
  }
  const { message } = choice;
  const cutOff = choice.finish_reason === "length";
  const toolCalls = (message.tool_calls ?? []).map((call) => ({
    id: call.id,
    name: names.inward(call.type === "custom" ? call.custom.name : call.function.name),
    ...readAnsweredArguments(call.type === "custom" ? undefined : call.function.arguments, cutOff),
  }));
  const refused = typeof message.refusal === "string" && message.refusal !== "";
  return ok({
    provider: "openai",
    model: answer.model ?? asked,
    content: message.content ?? (refused ? (message.refusal ?? "") : ""),
    toolCalls,
    finishReason: refused ? "refusal" : finishReason(choice.finish_reason, toolCalls.length > 0),
    usage: pricedUsage(asked, readUsage(answer.usage)),
  });
}

function finishReason(reason: string | null, callsTools: boolean): ModelReply["finishReason"] {
  if (reason === "length") return "length";
  if (reason === "content_filter") return "refusal";
  // Some servers that speak this API say `stop` all the same.
  if (callsTools) return "tool_calls";
  return reason === "stop" ? "stop" : "other";
}

/** `prompt_tokens` counts cached ones, `completion_tokens` reasoning ones. */
function readUsage(usage: OpenAI.CompletionUsage | null | undefined) {
  if (usage === null || usage === undefined) return null;
  return {
    inputTokens: tokenCount(usage.prompt_tokens),
    outputTokens: tokenCount(usage.completion_tokens),
    cacheReadTokens: tokenCount(usage.prompt_tokens_details?.cached_tokens),
  };
}

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
