import Anthropic, { APIError } from "@anthropic-ai/sdk";
import { terminal } from "../../machines/contracts/failure.ts";
import { fail, ok, type Outcome } from "../../machines/contracts/outcome.ts";
import type { ModelProvider, ModelReply } from "../../machines/contracts/ports/model-provider.ts";
import { askVendor } from "./ask-vendor.ts";
import { toAnthropicRequest } from "./anthropic-request.ts";
import { pricedUsage, tokenCount } from "./priced-usage.ts";
import { readToolArguments } from "./tool-arguments.ts";
import { createToolNames, type ToolNames } from "./tool-names.ts";
import type { VendorError } from "./vendor-failure.ts";

export interface AnthropicOptions {
  apiKey: string;
  /** Another server that speaks the same API; the official one when left out. */
  baseUrl?: string;
  timeoutMs: number;
}

/** Anthropic's messages. The SDK's retries and logging are off. */
export function createAnthropic({ apiKey, baseUrl, timeoutMs }: AnthropicOptions): ModelProvider {
  const client = new Anthropic({
    apiKey,
    baseURL: baseUrl ?? "https://api.anthropic.com",
    timeout: timeoutMs,
    maxRetries: 0,
    logLevel: "off",
    // It would make spans of its own beside ours, and tell the vendor our trace ids.
    openTelemetry: false,
  });
  const vendor = { name: "anthropic", keyVariable: "ANTHROPIC_API_KEY", timeoutMs, isVendorError };
  return {
    async complete(request, signal) {
      const names = createToolNames((request.tools ?? []).map((tool) => tool.name));
      const body = toAnthropicRequest(request, names);
      const headers = { "Idempotency-Key": request.idempotencyKey };
      const answer = await askVendor(vendor, signal, (limited) =>
        client.messages.create(body, { signal: limited, headers }),
      );
      return answer.ok ? toReply(answer.value, names, request.model) : answer;
    },
  };
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
      ...readToolArguments(input, reason === "length"),
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
