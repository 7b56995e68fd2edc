import OpenAI, { APIError } from "openai";
import { terminal } from "../../machines/contracts/failure.ts";
import { fail, ok, type Outcome } from "../../machines/contracts/outcome.ts";
import type { ModelProvider, ModelReply } from "../../machines/contracts/ports/model-provider.ts";
import { askVendor } from "./ask-vendor.ts";
import { toOpenaiRequest } from "./openai-request.ts";
import { pricedUsage, tokenCount } from "./priced-usage.ts";
import { readToolArguments } from "./tool-arguments.ts";
import { createToolNames, type ToolNames } from "./tool-names.ts";
import type { VendorError } from "./vendor-failure.ts";

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
    ...readToolArguments(call.type === "custom" ? undefined : call.function.arguments, cutOff),
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
