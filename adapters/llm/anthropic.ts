import Anthropic, { APIError } from "@anthropic-ai/sdk";
import { isJsonObject } from "../../machines/contracts/domain/json.ts";
import { fail, ok, type Outcome, terminal } from "../../machines/contracts/domain/failure.ts";
import type {
  ModelProvider,
  ModelReply,
  ModelMessage,
  ModelRequest,
} from "../../machines/contracts/ports/model-provider.ts";
import { askVendor, type Vendor, type VendorError, vendorFailure, vendorFetch } from "./vendor.ts";
import { pricedUsage, tokenCount } from "./prices.ts";
import { readAnsweredArguments, createToolNames, type ToolNames } from "./tool-calls.ts";

export interface AnthropicOptions {
  apiKey: string;
  /** Another server that speaks the same API; the official one when left out. */
  baseUrl?: string;
  timeoutMs: number;
}

/** Anthropic's messages. The SDK's retries and logging are off. */
export function createAnthropic({ apiKey, baseUrl, timeoutMs }: AnthropicOptions): ModelProvider {
  const vendor: Vendor = {
    name: "anthropic",
    apiKey,
    keyVariable: "ANTHROPIC_API_KEY",
    timeoutMs,
    isVendorError,
  };
  const client = new Anthropic({
    apiKey,
    baseURL: baseUrl ?? "https://api.anthropic.com",
    timeout: timeoutMs,
    maxRetries: 0,
    logLevel: "off",
    fetch: vendorFetch(vendor),
    // It would make spans of its own beside ours, and tell the vendor our trace ids.
    openTelemetry: false,
  });
  return {
    async complete(request, signal) {
      const names = createToolNames((request.tools ?? []).map((tool) => tool.name));
      const body = toAnthropicRequest(request, names);
      const headers = { "Idempotency-Key": request.idempotencyKey };
      const answer = await askVendor(vendor, signal, (limited) =>
        client.messages.create(body, { signal: limited, headers }),
      );
      if (!answer.ok) return answer;
      const failure = errorInside(vendor, answer.value);
      return failure === null ? toReply(answer.value, names, request.model) : fail(failure);
    },
  };
}

/** The status that Anthropic gives each type of error, for one that comes inside a 200. */
const statuses: Readonly<Record<string, number>> = {
  invalid_request_error: 400,
  authentication_error: 401,
  permission_error: 403,
  not_found_error: 404,
  request_too_large: 413,
  rate_limit_error: 429,
  api_error: 500,
  timeout_error: 504,
  overloaded_error: 529,
};

function errorInside(vendor: Vendor, answer: unknown) {
  if (!isJsonObject(answer) || !isJsonObject(answer["error"])) return null;
  const { type, message } = answer["error"];
  return vendorFailure(vendor, {
    name: "error in a 200",
    message: typeof message === "string" ? message : "no message",
    status: statuses[String(type)] ?? 502,
    headers: undefined,
  });
}

function isVendorError(error: unknown): error is VendorError {
  return error instanceof APIError;
}

function toReply(answer: Anthropic.Message, names: ToolNames, asked: string): Outcome<ModelReply> {
  // The SDK does not check what it received.
  if (!Array.isArray(answer?.content)) {
    return fail(terminal("model_failed", "anthropic answered out of contract: no content"));
  }
  const reason = finishReason(answer.stop_reason);
  const toolCalls = answer.content
    .filter((block) => block.type === "tool_use")
    .map(({ id, name, input }) => ({
      id,
      name: names.inward(name),
      ...readAnsweredArguments(input, reason === "length"),
    }));
  return ok({
    provider: "anthropic",
    model: answer.model ?? asked,
    content: answer.content
      .filter((block) => block.type === "text")
      .map((block) => block.text)
      .join(""),
    toolCalls,
    finishReason: reason,
    usage: pricedUsage(asked, readUsage(answer.usage)),
  });
}

function finishReason(reason: string | null): ModelReply["finishReason"] {
  const ours: Record<string, ModelReply["finishReason"]> = {
    end_turn: "stop",
    stop_sequence: "stop",
    max_tokens: "length",
    model_context_window_exceeded: "length",
    tool_use: "tool_calls",
    refusal: "refusal",
  };
  return ours[reason ?? ""] ?? "other";
}

/** `input_tokens` leaves out what was read from or written to the cache. */
function readUsage(usage: Anthropic.Usage | null | undefined) {
  if (usage === null || usage === undefined) return null;
  const cacheReadTokens = tokenCount(usage.cache_read_input_tokens);
  const cacheWriteTokens = tokenCount(usage.cache_creation_input_tokens);
  return {
    inputTokens: tokenCount(usage.input_tokens) + cacheReadTokens + cacheWriteTokens,
    outputTokens: tokenCount(usage.output_tokens),
    cacheReadTokens,
    cacheWriteTokens,
  };
}

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
