import OpenAI from "openai";
import { isJsonObject, type JsonObject } from "../../machines/contracts/domain/json.ts";
import type {
  ContentPart,
  ModelMessage,
  ModelProvider,
  ModelRequest,
} from "../../machines/contracts/ports/model-provider.ts";
import { idAs } from "./answer-calls.ts";
import { ChatReader } from "./openai-chat-answer.ts";
import { openaiClient, toolFields, toolOutput } from "./openai-client.ts";
import { limitName, writeParams } from "./parameters.ts";
import type { ProviderOptions } from "./providers.ts";
import { openaiSchema } from "./response-schema.ts";
import type { ToolNames } from "./tool-calls.ts";
import { createVendorProvider } from "./vendor-provider.ts";

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
    messages: messages.map((message) =>
      toMessage(provider, message, names, isMistral(baseUrl) ? mistralId : anyId),
    ),
    [limitName(model, isOpenai)]: maxTokens,
    stream: true as const,
    ...(isMistral(baseUrl) ? {} : { stream_options: { include_usage: true } }),
    ...others,
    ...(schema === null ? {} : { response_format: { type: "json_schema", json_schema: schema } }),
    ...toolFields(request, parallel, ({ name, description, inputSchema }) => ({
      type: "function",
      function: { name: names.outward(name), description, parameters: inputSchema },
    })),
  };
  return { body: body as OpenAI.ChatCompletionCreateParamsStreaming, dropped };
}

/** Mistral's own server: it counts the tokens of a stream by itself, and refuses to be asked for it; and ids of its form. */
function isMistral(baseUrl: string | undefined): boolean {
  return URL.parse(baseUrl ?? "")?.hostname === "api.mistral.ai";
}

const anyId = /^/u;
const mistralId = /^[A-Za-z0-9]{9}$/u;

function toMessage(
  provider: string,
  message: ModelMessage,
  names: ToolNames,
  idForm: RegExp,
): OpenAI.ChatCompletionMessageParam {
  if (message.role === "tool") {
    return {
      role: "tool",
      tool_call_id: idAs(idForm, message.toolCallId),
      content: toolOutput(message),
    };
  }
  if (message.role === "system") return message;
  if (message.role === "user") {
    const { content, parts } = message;
    return { role: "user", content: parts?.map(toPart) ?? content };
  }
  const { content, toolCalls: calls = [], echo } = message;
  if (calls.length === 0) return { role: "assistant", content };
  const extras = echo?.provider === provider ? echo.items.filter(isJsonObject) : [];
  const thought = extras.find((extra) => typeof extra["reasoning_content"] === "string");
  return {
    role: "assistant",
    content: content === "" ? null : content,
    ...(thought === undefined ? {} : { reasoning_content: thought["reasoning_content"] }),
    tool_calls: calls.map(({ id, name, arguments: args }) => ({
      id: idAs(idForm, id),
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
