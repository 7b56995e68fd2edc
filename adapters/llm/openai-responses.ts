import type OpenAI from "openai";
import { fail, ok } from "../../machines/contracts/domain/failure.ts";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Usage } from "../../machines/contracts/domain/step-result.ts";
import type {
  ContentPart,
  ModelMessage,
  ModelPart,
  ModelProvider,
  ModelReply,
  ModelRequest,
} from "../../machines/contracts/ports/model-provider.ts";
import {
  AnswerCalls,
  AnswerText,
  estimatedUsage,
  plausibleUsage,
  tokenCount,
  usageDetails,
  countedLength,
} from "./answer.ts";
import { saysError } from "./empty-errors.ts";
import { openaiClient, toolFields, toolOutput } from "./openai-client.ts";
import { reasons, writeParams } from "./parameters.ts";
import type { ProviderOptions } from "./providers.ts";
import { openaiSchema } from "./response-schema.ts";
import type { ToolNames } from "./tool-calls.ts";
import type { Asked, Reader } from "./vendor-call.ts";
import { createVendorProvider } from "./vendor-provider.ts";
import { toFailure, type VendorError } from "./vendor-trouble.ts";

/** OpenAI's responses, as a stream. Nothing is kept at the provider: the conversation is sent whole each time. */
export function createOpenaiResponses(options: ProviderOptions): ModelProvider {
  const { vendor, client } = openaiClient(
    options,
    (body) =>
      `event: response.completed\ndata: {"type":"response.completed","response":${body}}\n\n`,
  );
  return createVendorProvider({
    vendor,
    toRequest: (request, names) => toResponsesRequest(options, request, names),
    open: (body, given) =>
      client.responses.create(body as OpenAI.Responses.ResponseCreateParamsStreaming, given),
    createReader: (asked) => new ResponseReader(asked),
  });
}

/** Reads the events of a response. Its last event holds the whole of it, which then counts. */
class ResponseReader implements Reader<unknown> {
  error: VendorError | null = null;
  readonly #asked: Asked;
  /** Told while it comes. */
  readonly #text = new AnswerText();
  readonly #told: AnswerCalls;
  readonly #items: JsonObject[] = [];
  #response: JsonObject | null = null;
  #characters = 0;

  constructor(asked: Asked) {
    this.#asked = asked;
    this.#told = new AnswerCalls(asked.names);
  }

  get isWhole(): boolean {
    return this.#response !== null && this.error === null;
  }

  take(event: unknown): ModelPart[] {
    if (!isJsonObject(event)) return [];
    const { type, response, item, delta } = event;
    this.#characters += countedLength(delta);
    switch (type) {
      case "response.output_text.delta": {
        const text = this.#text.add(delta);
        return text === "" ? [] : [{ type: "text", text }];
      }
      case "response.output_item.added":
        return isJsonObject(item) && item["type"] === "function_call"
          ? this.#told.add({ at: placeOf(event), id: item["call_id"], name: item["name"] })
          : [];
      case "response.function_call_arguments.delta":
        return this.#told.add({ at: placeOf(event), arguments: delta });
      case "response.output_item.done":
        if (isJsonObject(item)) this.#items.push(item);
        return [];
      case "response.completed":
      case "response.incomplete":
      case "response.failed":
        if (isJsonObject(response)) this.#end(response);
        return [];
      case "error":
        this.error = { status: undefined, said: event["error"] ?? event };
        return [];
      default:
        return [];
    }
  }

  #end(response: JsonObject): void {
    this.#response = response;
    const said = response["error"];
    if (saysError(said)) this.error = { status: undefined, said };
    else if (response["status"] === "failed") {
      const none = { type: "server_error", message: "no reason given" };
      this.error = { status: undefined, said: none };
    }
  }

  usage(): Usage {
    const counted = this.#response?.["usage"];
    return isJsonObject(counted)
      ? plausibleUsage(toUsage(counted), this.#asked.body, this.#characters)
      : estimatedUsage(this.#asked.body, this.#characters);
  }

  reply() {
    const { vendor, request, names, dropped } = this.#asked;
    const response = this.#response ?? {};
    const listed = Array.isArray(response["output"])
      ? response["output"].filter(isJsonObject)
      : null;
    if (listed === null && this.#items.length === 0) {
      const message = `${vendor.name} gave an unexpected answer: no output`;
      return fail(toFailure(vendor, "bad_answer", message));
    }
    const items = listed === null || listed.length === 0 ? this.#items : listed;
    const details = response["incomplete_details"];
    const why = isJsonObject(details) ? details["reason"] : undefined;
    const calls = new AnswerCalls(names);
    const text = new AnswerText();
    const refusal = new AnswerText();
    for (const [at, item] of items.entries()) {
      if (item["type"] === "function_call") {
        const { call_id: id, name, arguments: given } = item;
        calls.add({ at, id, name, arguments: given });
      }
      const content = item["type"] === "message" ? item["content"] : undefined;
      for (const part of Array.isArray(content) ? content.filter(isJsonObject) : []) {
        text.add(part["text"]);
        refusal.add(part["refusal"]);
      }
    }
    const finish = finishReason(response["status"], why, calls.count > 0);
    const toolCalls = calls.read(finish === "length");
    const refused = refusal.end();
    return ok<ModelReply>({
      provider: vendor.name,
      model: typeof response["model"] === "string" ? response["model"] : request.model,
      content: text.end() || refused,
      toolCalls,
      finishReason: refused === "" ? finish : "refusal",
      usage: this.usage(),
      // Reasoning goes back with the calls that it led to, or the API refuses the conversation.
      ...(items.some((item) => item["type"] === "reasoning" && "encrypted_content" in item)
        ? { echo: { provider: vendor.name, items } }
        : {}),
      ...(dropped.length === 0 ? {} : { droppedParams: dropped }),
    });
  }
}

function placeOf({ output_index: index }: JsonObject): number | undefined {
  return typeof index === "number" ? index : undefined;
}

function finishReason(
  status: Json | undefined,
  why: Json | undefined,
  callsTools: boolean,
): ModelReply["finishReason"] {
  if (why === "content_filter") return "refusal";
  // Whatever the reason, or without one: it is not all.
  if (status === "incomplete" || why === "max_output_tokens") return "length";
  if (status !== undefined && status !== "completed") return "other";
  return callsTools ? "tool_calls" : "stop";
}

/** `input_tokens` counts cached ones, `output_tokens` reasoning ones. */
function toUsage(usage: JsonObject): Usage {
  const { input_tokens_details: input, output_tokens_details: output } = usage;
  return {
    inputTokens: tokenCount(usage["input_tokens"]),
    outputTokens: tokenCount(usage["output_tokens"]),
    ...usageDetails({
      cacheReadTokens: isJsonObject(input) ? input["cached_tokens"] : 0,
      reasoningTokens: isJsonObject(output) ? output["reasoning_tokens"] : 0,
    }),
  };
}

export function toResponsesRequest(
  { name: provider, kind }: Pick<ProviderOptions, "name" | "kind">,
  request: ModelRequest,
  names: ToolNames,
): { body: OpenAI.Responses.ResponseCreateParamsStreaming; dropped: string[] } {
  const { model, messages, maxTokens } = request;
  const { written, dropped } = writeParams("responses", request);
  const { parallel_tool_calls: parallel, text, ...others } = written;
  const schema = openaiSchema(provider, kind, request);
  const format = schema === null ? {} : { format: { type: "json_schema", ...schema } };
  const asked = { ...(isJsonObject(text) ? text : {}), ...format };
  const body = {
    model,
    input: messages.flatMap((message) => toItems(provider, message, names)),
    max_output_tokens: maxTokens,
    store: false,
    stream: true as const,
    // Other models refuse to be asked for it.
    ...(reasons(model) ? { include: ["reasoning.encrypted_content"] } : {}),
    ...others,
    ...(Object.keys(asked).length === 0 ? {} : { text: asked }),
    ...toolFields(request, parallel, ({ name, description, inputSchema }) => ({
      type: "function",
      name: names.outward(name),
      description,
      parameters: inputSchema,
      strict: false,
    })),
  };
  return { body: body as unknown as OpenAI.Responses.ResponseCreateParamsStreaming, dropped };
}

function toPart(part: ContentPart): JsonObject {
  if (part.type === "text") return { type: "input_text", text: part.text };
  return { type: "input_image", image_url: part.url, detail: part.detail ?? "auto" };
}

function toItems(provider: string, message: ModelMessage, names: ToolNames): Json[] {
  if (message.role === "tool") {
    const output = toolOutput(message);
    return [{ type: "function_call_output", call_id: message.toolCallId, output }];
  }
  if (message.role !== "assistant") {
    const parts = message.role === "user" ? message.parts : undefined;
    return [{ role: message.role, content: parts?.map(toPart) ?? message.content }];
  }
  const { content, toolCalls: calls = [], echo } = message;
  if (echo?.provider === provider) return echo.items;
  return [
    ...(content === "" ? [] : [{ role: "assistant", content }]),
    ...calls.map(({ id, name, arguments: args }) => ({
      type: "function_call",
      call_id: id,
      name: names.outward(name),
      arguments: JSON.stringify(args ?? {}),
    })),
  ];
}
