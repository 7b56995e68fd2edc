import Anthropic, { APIError } from "@anthropic-ai/sdk";
import { isJsonObject, type JsonObject } from "../../machines/contracts/domain/json.ts";
import type {
  ModelMessage,
  ModelProvider,
  ModelRequest,
} from "../../machines/contracts/ports/model-provider.ts";
import { idAs } from "./answer-calls.ts";
import { MessageReader } from "./anthropic-answer.ts";
import { writeParams } from "./parameters.ts";
import type { ProviderOptions } from "./providers.ts";
import { anthropicSchema } from "./response-schema.ts";
import type { ToolNames } from "./tool-calls.ts";
import { type Vendor, vendorFetch } from "./vendor-fetch.ts";
import { createVendorProvider } from "./vendor-provider.ts";
import type { VendorError } from "./vendor-trouble.ts";

/** Anthropic's messages, as a stream. */
export function createAnthropic(options: ProviderOptions): ModelProvider {
  const { name, apiKey, baseUrl, totalMs } = options;
  const vendor: Vendor = { ...options, readError, toEvents };
  const client = new Anthropic({
    apiKey: apiKey ?? "none",
    baseURL: baseUrl ?? "https://api.anthropic.com",
    timeout: totalMs,
    maxRetries: 0,
    logLevel: "off",
    fetch: vendorFetch(vendor),
    // It would make spans of its own beside ours, and tell the vendor our trace ids.
    openTelemetry: false,
  });
  return createVendorProvider({
    vendor,
    hasOneLimit: true,
    problem: (request) => imageProblem(name, request),
    toRequest: (request, names) => toAnthropicRequest(name, request, names),
    open: (body, given) => client.messages.create({ ...(body as Body), stream: true }, given),
    createReader: (asked) => new MessageReader(asked),
  });
}

function readError(error: unknown): VendorError | null {
  if (!(error instanceof APIError)) return null;
  const { status, headers, error: said } = error as { [key: string]: unknown } & APIError;
  return { status, headers, said: isJsonObject(said) ? (said["error"] ?? said) : said };
}

/** A message that came in one piece: all of it stands in the event that otherwise only begins it. */
function toEvents(message: string): string {
  const start = `event: message_start\ndata: {"type":"message_start","message":${message}}\n\n`;
  return `${start}event: message_stop\ndata: {"type":"message_stop"}\n\n`;
}

const cached = { cache_control: { type: "ephemeral" as const } };

/** The body of a request; the SDK's own type is narrower than what is sent. */
type Body = Omit<Anthropic.MessageCreateParamsStreaming, "stream">;

export function toAnthropicRequest(
  provider: string,
  request: ModelRequest,
  names: ToolNames,
): { body: Body; dropped: string[] } {
  const { model, messages, maxTokens, tools = [], toolChoice } = request;
  const { written, dropped } = writeParams("anthropic", request);
  const system = messages.filter(({ role }) => role === "system").map(({ content }) => content);
  // The conversation of a loop comes back longer: what stands now is read from the cache then. A single question is
  // not worth the price of writing it.
  const comesBack = tools.length > 0;
  const turns = toTurns(provider, messages, names);
  if (comesBack) markLast(turns);
  const format = anthropicSchema(request);
  const effort = isJsonObject(written["output_config"]) ? written["output_config"] : {};
  const output = { ...effort, ...(format === null ? {} : { format }) };
  const body = {
    model,
    max_tokens: maxTokens,
    messages: turns,
    ...written,
    ...(Object.keys(output).length === 0 ? {} : { output_config: output }),
    ...(system.length === 0
      ? {}
      : {
          system: comesBack
            ? [{ type: "text", text: system.join("\n\n"), ...cached }]
            : system.join("\n\n"),
        }),
    ...(tools.length === 0
      ? {}
      : {
          tools: tools.map(({ name, description, inputSchema }, index) => ({
            name: names.outward(name),
            description,
            input_schema: { ...inputSchema, type: "object" as const },
            // The system prompt stands after the tools: where there is one, its mark covers them.
            ...(system.length === 0 && index === tools.length - 1 ? cached : {}),
          })),
          ...(toolChoice === "none" ? { tool_choice: { type: "none" } } : {}),
        }),
  };
  return { body: body as unknown as Body, dropped };
}

interface Turn {
  role: "user" | "assistant";
  content: JsonObject[];
}

function markLast(turns: Turn[]): void {
  const content = turns.at(-1)?.content ?? [];
  const last = content.at(-1);
  const isMarkable = last?.["type"] === "text" || last?.["type"] === "tool_result";
  if (last !== undefined && isMarkable) content.splice(-1, 1, { ...last, ...cached });
}

/** The API refuses a text block that is empty or blank. */
const textBlocks = (text: string): JsonObject[] =>
  text.trim() === "" ? [] : [{ type: "text", text }];

const imageTypes = ["image/jpeg", "image/png", "image/gif", "image/webp"];
const dataUrl = /^data:(?<type>[^;]*);base64,/u;

function toImage(url: string): JsonObject {
  const match = dataUrl.exec(url);
  if (match === null) return { type: "image", source: { type: "url", url } };
  const [head, media_type = ""] = match;
  const data = url.slice(head.length);
  return { type: "image", source: { type: "base64", media_type, data } };
}

function imageProblem(provider: string, { messages }: ModelRequest): string | null {
  for (const message of messages) {
    if (message.role !== "user") continue;
    for (const part of message.parts ?? []) {
      const type = part.type === "image" ? dataUrl.exec(part.url)?.[1] : undefined;
      if (type === undefined || imageTypes.includes(type)) continue;
      return `${provider} takes no image of type ${type}; expected one of ${imageTypes.join(", ")}`;
    }
  }
  return null;
}

/** All results of one turn's tool calls must stand in one user message: neighbours of a role are joined. */
function toTurns(provider: string, messages: readonly ModelMessage[], names: ToolNames): Turn[] {
  const turns: Turn[] = [];
  for (const message of messages) {
    if (message.role === "system") continue;
    const role = message.role === "assistant" ? "assistant" : "user";
    const content = toBlocks(provider, message, names);
    const last = turns.at(-1);
    if (last?.role === role) last.content.push(...content);
    else if (content.length > 0) turns.push({ role, content });
  }
  return turns;
}

const idForm = /^[\w-]+$/u;

function toBlocks(provider: string, message: ModelMessage, names: ToolNames): JsonObject[] {
  if (message.role === "tool") {
    const { toolCallId, content, isError } = message;
    const result = { type: "tool_result", tool_use_id: idAs(idForm, toolCallId), content };
    return [isError === true ? { ...result, is_error: true } : result];
  }
  if (message.role === "assistant" && message.echo?.provider === provider) {
    return message.echo.items.filter(isJsonObject);
  }
  if (message.role === "user" && message.parts !== undefined) {
    return message.parts.flatMap((part) =>
      part.type === "image" ? [toImage(part.url)] : textBlocks(part.text),
    );
  }
  const text = textBlocks(message.content);
  const calls = message.role === "assistant" ? (message.toolCalls ?? []) : [];
  return [
    ...text,
    ...calls.map(({ id, name, arguments: input }) => ({
      type: "tool_use",
      id: idAs(idForm, id),
      name: names.outward(name),
      input: input ?? {},
    })),
  ];
}
