import OpenAI from "openai";
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
  countedLength,
  estimatedUsage,
  plausibleUsage,
  readFinish,
  tokenCount,
  usageDetails,
} from "./answer.ts";
import { saysError } from "./empty-errors.ts";
import { openaiClient, toolFields, toolOutput } from "./openai-client.ts";
import { limitName, writeParams } from "./parameters.ts";
import type { ProviderOptions } from "./providers.ts";
import { openaiSchema } from "./response-schema.ts";
import type { ToolNames } from "./tool-calls.ts";
import type { Asked, Reader } from "./vendor-call.ts";
import { createVendorProvider } from "./vendor-provider.ts";
import { toFailure, type VendorError } from "./vendor-trouble.ts";

/** OpenAI's chat completions, and whatever else speaks them, as a stream. */
export function createOpenaiChat(options: ProviderOptions): ModelProvider {
  const { vendor, client } = openaiClient(options, (body) => `data: ${body}\n\ndata: [DONE]\n\n`);
  return createVendorProvider({
    vendor,
    toRequest: (request, names) => toChatRequest(options, request, names),
    open: (body, given) =>
      client.chat.completions.create(body as OpenAI.ChatCompletionCreateParamsStreaming, given),
    createReader: (asked) => new ChatReader(asked),
  });
}

/** Reads the chunks of a completion; what they hold is checked, for the SDK does not check what it received. */
class ChatReader implements Reader<unknown> {
  error: VendorError | null = null;
  readonly #asked: Asked;
  readonly #text = new AnswerText();
  readonly #refusal = new AnswerText();
  readonly #calls: AnswerCalls;
  /** What Gemini wants to see again with a call, by the call's id. */
  readonly #extras: JsonObject[] = [];
  #counted: JsonObject | null = null;
  #model = "";
  #reason: string | null = null;
  /** Whether a content came that nobody can read: it must not be taken for an empty answer. */
  #isOdd = false;
  #hasMessage = false;
  #characters = 0;

  constructor(asked: Asked) {
    this.#asked = asked;
    this.#calls = new AnswerCalls(asked.names);
  }

  get isWhole(): boolean {
    return this.#reason !== null;
  }

  /**
   * Servers that stand before many models answer 200 and put the error of the model's own server inside: at the top,
   * in the choice, or as the reason for which it ended.
   */
  take(chunk: unknown): ModelPart[] {
    if (!isJsonObject(chunk)) return [];
    const choice = Array.isArray(chunk["choices"]) ? chunk["choices"][0] : undefined;
    const inChoice = isJsonObject(choice) ? choice : {};
    const said = [chunk["error"], inChoice["error"]].find(saysError);
    if (said !== undefined) this.error = { status: undefined, said };
    if (typeof chunk["model"] === "string" && this.#model === "") this.#model = chunk["model"];
    if (isJsonObject(chunk["usage"])) this.#counted = chunk["usage"];
    const reason = inChoice["finish_reason"];
    if (typeof reason === "string" && reason !== "") this.#reason = reason;
    if (reason === "error") {
      const message = 'it broke off its answer with finish_reason "error"';
      this.error ??= { status: undefined, said: { type: "server_error", message } };
    }
    const message = inChoice["delta"] ?? inChoice["message"];
    // An answer in one piece is not bound to say why it ended.
    const isInOnePiece = inChoice["message"] !== undefined || chunk["object"] === "chat.completion";
    if (isInOnePiece) this.#reason ??= "stop";
    return isJsonObject(message) ? this.#read(message, inChoice["message"] !== undefined) : [];
  }

  #read(message: JsonObject, isInOnePiece: boolean): ModelPart[] {
    this.#hasMessage = true;
    const { content = null, refusal, tool_calls: calls } = message;
    this.#isOdd ||= content !== null && typeof content !== "string" && !Array.isArray(content);
    const thought = message["reasoning_content"] ?? message["reasoning"];
    this.#characters += countedLength(thought);
    this.#refusal.add(refusal);
    const text = this.#text.add(textOf(content));
    this.#characters += countedLength(text);
    const parts: ModelPart[] = text === "" ? [] : [{ type: "text", text }];
    if (!Array.isArray(calls)) return parts;
    return [...parts, ...calls.flatMap((call, place) => this.#call(call, place, isInOnePiece))];
  }

  #call(call: Json, place: number, isInOnePiece: boolean): ModelPart[] {
    if (!isJsonObject(call)) return [];
    const { id, index, extra_content: extra } = call;
    const called = isJsonObject(call["function"]) ? call["function"] : {};
    const custom = isJsonObject(call["custom"]) ? call["custom"] : {};
    if (isJsonObject(extra) && typeof id === "string")
      this.#extras.push({ id, extra_content: extra });
    this.#characters += countedLength(called["arguments"]);
    return this.#calls.add({
      at: isInOnePiece || (typeof index !== "number" && id !== undefined) ? place : indexOf(index),
      id,
      name: called["name"] ?? custom["name"],
      arguments: called["arguments"],
    });
  }

  usage(): Usage {
    const { body } = this.#asked;
    if (this.#counted === null) return estimatedUsage(body, this.#characters);
    return plausibleUsage(toUsage(this.#counted), body, this.#characters);
  }

  reply() {
    const { vendor, request, dropped } = this.#asked;
    if (!this.#hasMessage || this.#isOdd) {
      const what = this.#isOdd ? "its content is no text" : "no choices[0].message";
      const message = `${vendor.name} gave an unexpected answer: ${what}`;
      return fail(toFailure(vendor, "bad_answer", message));
    }
    const refusal = this.#refusal.end();
    const finish = readFinish(this.#reason, this.#calls.count > 0);
    const toolCalls = this.#calls.read(finish === "length");
    const content = this.#text.end();
    return ok<ModelReply>({
      provider: vendor.name,
      model: this.#model || request.model,
      content: content === "" ? refusal : content,
      toolCalls,
      finishReason: refusal === "" ? finish : "refusal",
      usage: this.usage(),
      ...(this.#extras.length === 0
        ? {}
        : { echo: { provider: vendor.name, items: this.#extras } }),
      ...(dropped.length === 0 ? {} : { droppedParams: dropped }),
    });
  }
}

const indexOf = (index: Json | undefined) => (typeof index === "number" ? index : undefined);

/** The API says a text; some servers give it in parts, as requests may. */
function textOf(content: Json | undefined): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content
    .map((part) => (isJsonObject(part) && typeof part["text"] === "string" ? part["text"] : ""))
    .join("");
}

/**
 * `prompt_tokens` counts cached ones, `completion_tokens` reasoning ones; of servers that count the latter apart, only
 * the total, or the reasoning itself, tells that there was more.
 */
function toUsage(usage: JsonObject): Usage {
  const { prompt_tokens_details: input, completion_tokens_details: output } = usage;
  const inputTokens = tokenCount(usage["prompt_tokens"]);
  const completion = tokenCount(usage["completion_tokens"]);
  const reasoning = tokenCount(isJsonObject(output) ? output["reasoning_tokens"] : 0);
  const beyondInput = tokenCount(usage["total_tokens"]) - inputTokens;
  const apart = reasoning > completion ? completion + reasoning : completion;
  return {
    inputTokens,
    outputTokens: Math.max(apart, beyondInput),
    ...usageDetails({
      cacheReadTokens: isJsonObject(input) ? input["cached_tokens"] : 0,
      reasoningTokens: reasoning,
    }),
  };
}

export function toChatRequest(
  { name: provider, kind, baseUrl }: Pick<ProviderOptions, "name" | "kind" | "baseUrl">,
  request: ModelRequest,
  names: ToolNames,
): { body: OpenAI.ChatCompletionCreateParamsStreaming; dropped: string[] } {
  const { model, messages, maxTokens } = request;
  const { written, dropped } = writeParams("chat", request);
  const isOpenai = kind !== "openai-compatible";
  const { parallel_tool_calls: parallel, ...others } = written;
  const schema = openaiSchema(provider, kind, request);
  const body = {
    model,
    messages: messages.map((message) => toMessage(provider, message, names)),
    [limitName(model, isOpenai)]: maxTokens,
    stream: true as const,
    ...(countsUnasked(baseUrl) ? {} : { stream_options: { include_usage: true } }),
    ...others,
    ...(schema === null ? {} : { response_format: { type: "json_schema", json_schema: schema } }),
    ...toolFields(request, parallel, ({ name, description, inputSchema }) => ({
      type: "function",
      function: { name: names.outward(name), description, parameters: inputSchema },
    })),
  };
  return { body: body as OpenAI.ChatCompletionCreateParamsStreaming, dropped };
}

/** Mistral's own server counts the tokens of a stream by itself, and refuses to be asked for it. */
function countsUnasked(baseUrl: string | undefined): boolean {
  return URL.parse(baseUrl ?? "")?.hostname === "api.mistral.ai";
}

function toMessage(
  provider: string,
  message: ModelMessage,
  names: ToolNames,
): OpenAI.ChatCompletionMessageParam {
  if (message.role === "tool") {
    return { role: "tool", tool_call_id: message.toolCallId, content: toolOutput(message) };
  }
  if (message.role === "system") return message;
  if (message.role === "user") {
    const { content, parts } = message;
    return { role: "user", content: parts?.map(toPart) ?? content };
  }
  const { content, toolCalls: calls = [], echo } = message;
  if (calls.length === 0) return { role: "assistant", content };
  const extras = echo?.provider === provider ? echo.items.filter(isJsonObject) : [];
  return {
    role: "assistant",
    content: content === "" ? null : content,
    tool_calls: calls.map(({ id, name, arguments: args }) => ({
      id,
      type: "function",
      function: { name: names.outward(name), arguments: JSON.stringify(args ?? {}) },
      ...extraOf(extras, id),
    })),
  };
}

function toPart(part: ContentPart): OpenAI.ChatCompletionContentPart {
  if (part.type === "text") return part;
  const { type: _, ...image } = part;
  return { type: "image_url", image_url: image };
}

function extraOf(extras: readonly JsonObject[], id: string): object {
  const found = extras.find((extra) => extra["id"] === id);
  return found === undefined ? {} : { extra_content: found["extra_content"] };
}
