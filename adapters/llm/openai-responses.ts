import type OpenAI from "openai";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import type {
  ContentPart,
  ModelMessage,
  ModelProvider,
  ModelRequest,
} from "../../machines/contracts/ports/model-provider.ts";
import { openaiClient, toolFields, toolOutput } from "./openai-client.ts";
import { ResponseReader } from "./openai-responses-answer.ts";
import { reasons, writeParams } from "./parameters.ts";
import type { ProviderOptions } from "./providers.ts";
import { openaiSchema } from "./response-schema.ts";
import type { ToolNames } from "./tool-calls.ts";
import { createVendorProvider } from "./vendor-provider.ts";

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
