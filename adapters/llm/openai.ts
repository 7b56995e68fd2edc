import OpenAI, { APIError } from "openai";
import { isJsonObject } from "../../machines/contracts/domain/json.ts";
import {
  fail,
  ok,
  type Outcome,
  retryable,
  terminal,
} from "../../machines/contracts/domain/failure.ts";
import type {
  ModelProvider,
  ModelReply,
  ModelMessage,
  ModelRequest,
} from "../../machines/contracts/ports/model-provider.ts";
import { askVendor, type Vendor, type VendorError, vendorFailure, vendorFetch } from "./vendor.ts";
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
  const vendor: Vendor = {
    name: "openai",
    apiKey,
    keyVariable: "OPENAI_API_KEY",
    timeoutMs,
    isVendorError,
  };
  const client = new OpenAI({
    apiKey,
    baseURL: baseUrl ?? "https://api.openai.com/v1",
    timeout: timeoutMs,
    maxRetries: 0,
    logLevel: "off",
    fetch: vendorFetch(vendor),
  });
  return {
    async complete(request, signal) {
      const names = createToolNames((request.tools ?? []).map((tool) => tool.name));
      const body = toOpenaiRequest(request, names, baseUrl !== undefined);
      const headers = { "Idempotency-Key": request.idempotencyKey };
      const answer = await askVendor(vendor, signal, (limited) =>
        client.chat.completions.create(body, { signal: limited, headers }),
      );
      if (!answer.ok) return answer;
      const failure = errorInside(vendor, answer.value);
      return failure === null ? toReply(answer.value, names, request.model) : fail(failure);
    },
  };
}

function isVendorError(error: unknown): error is VendorError {
  return error instanceof APIError;
}

/**
 * Servers that stand before many models answer 200 and put the error of the model's own server inside: at the top,
 * in the choice, or as the reason for which it ended.
 */
function errorInside(vendor: Vendor, answer: unknown) {
  if (!isJsonObject(answer)) return null;
  const choice = Array.isArray(answer["choices"]) ? answer["choices"][0] : undefined;
  const inChoice = isJsonObject(choice) ? choice : {};
  const error = [answer["error"], inChoice["error"]].find(isJsonObject);
  if (error !== undefined) {
    const code = error["code"];
    const status = Number(code);
    const message = typeof error["message"] === "string" ? error["message"] : "no message";
    return vendorFailure(vendor, {
      name: "error in a 200",
      message,
      status: Number.isInteger(status) && status >= 300 && status < 600 ? status : 502,
      headers: undefined,
      code: typeof code === "string" ? code : undefined,
    });
  }
  if (inChoice["finish_reason"] === "error") {
    return retryable("model_failed", 'openai broke off its answer with finish_reason "error"');
  }
  return null;
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
    content: textOf(message.content) ?? (refused ? (message.refusal ?? "") : ""),
    toolCalls,
    finishReason: refused ? "refusal" : finishReason(choice.finish_reason, toolCalls.length > 0),
    usage: pricedUsage(asked, readUsage(answer.usage)),
  });
}

/** The API says a text; some servers give it in parts, as requests may. */
function textOf(content: unknown): string | null {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return null;
  return content
    .map((part: unknown) =>
      isJsonObject(part) && typeof part["text"] === "string" ? part["text"] : "",
    )
    .join("");
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
