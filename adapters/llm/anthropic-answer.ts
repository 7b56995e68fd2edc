import { fail, ok } from "../../machines/contracts/domain/failure.ts";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Usage } from "../../machines/contracts/domain/step-result.ts";
import type { ModelPart, ModelReply } from "../../machines/contracts/ports/model-provider.ts";
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
import type { Asked, Reader } from "./vendor-call.ts";
import { toFailure, type VendorError } from "./vendor-trouble.ts";

/** Reads the events of a message; what they hold is checked, for the SDK does not check what it received. */
export class MessageReader implements Reader<unknown> {
  error: VendorError | null = null;
  isWhole = false;
  readonly #asked: Asked;
  readonly #text = new AnswerText();
  readonly #calls: AnswerCalls;
  readonly #blocks = new Map<number, JsonObject>();
  #counted: JsonObject = {};
  #model: string;
  #reason: unknown = null;
  #hasContent = false;
  #characters = 0;

  constructor(asked: Asked) {
    this.#asked = asked;
    this.#calls = new AnswerCalls(asked.names);
    this.#model = asked.request.model;
  }

  take(event: unknown): ModelPart[] {
    if (!isJsonObject(event)) return [];
    switch (event["type"]) {
      case "message_start":
        return this.#start(event["message"]);
      case "content_block_start":
        return this.#startBlock(Number(event["index"]), event["content_block"] ?? null);
      case "content_block_delta":
        return this.#delta(Number(event["index"]), event["delta"] ?? null);
      case "message_delta":
        this.#end(event["delta"], event["usage"]);
        return [];
      case "message_stop":
        this.isWhole = true;
        return [];
      default:
        return [];
    }
  }

  #start(message: Json | undefined): ModelPart[] {
    if (!isJsonObject(message)) return [];
    if (saysError(message["error"])) {
      this.error = { status: undefined, said: message["error"] };
      return [];
    }
    if (typeof message["model"] === "string") this.#model = message["model"];
    this.#end(message, message["usage"]);
    const content = message["content"];
    if (!Array.isArray(content)) return [];
    this.#hasContent = true;
    return content.flatMap((block, index) => this.#startBlock(index, block));
  }

  #startBlock(index: number, block: Json): ModelPart[] {
    if (!isJsonObject(block)) return [];
    this.#blocks.set(index, { ...block });
    if (block["type"] === "text") return this.#tell(block["text"]);
    if (block["type"] !== "tool_use") return [];
    const { id, name, input } = block;
    // In a stream the arguments come as text, and an empty object stands here until then.
    const isEmpty = isJsonObject(input) && Object.keys(input).length === 0;
    return this.#calls.add({ at: index, id, name, ...(isEmpty ? {} : { arguments: input }) });
  }

  #delta(index: number, delta: Json): ModelPart[] {
    if (!isJsonObject(delta)) return [];
    const block = this.#blocks.get(index);
    for (const key of ["text", "thinking", "partial_json"]) {
      this.#characters += countedLength(delta[key]);
    }
    if (delta["type"] === "text_delta") {
      if (block !== undefined) append(block, "text", delta["text"]);
      return this.#tell(delta["text"]);
    }
    if (delta["type"] === "input_json_delta") {
      return this.#calls.add({ at: index, arguments: delta["partial_json"] });
    }
    if (block === undefined) return [];
    if (delta["type"] === "thinking_delta") append(block, "thinking", delta["thinking"]);
    if (delta["type"] === "signature_delta") append(block, "signature", delta["signature"]);
    return [];
  }

  #tell(text: unknown): ModelPart[] {
    const told = this.#text.add(text);
    return told === "" ? [] : [{ type: "text", text: told }];
  }

  #end(delta: Json | undefined, usage: Json | undefined): void {
    if (
      isJsonObject(delta) &&
      delta["stop_reason"] !== undefined &&
      delta["stop_reason"] !== null
    ) {
      this.#reason = delta["stop_reason"];
    }
    if (!isJsonObject(usage)) return;
    // The counts are totals so far; those that a later event leaves out stand.
    const said = Object.entries(usage).filter(([, count]) => count !== null);
    this.#counted = { ...this.#counted, ...Object.fromEntries(said) };
  }

  usage(): Usage {
    const counted = this.#counted;
    if (counted["input_tokens"] === undefined) {
      return estimatedUsage(this.#asked.body, this.#characters);
    }
    const usage = toUsage(counted);
    return this.isWhole || this.#reason !== null
      ? plausibleUsage(usage, this.#asked.body, this.#characters)
      : estimatedUsage(this.#asked.body, this.#characters, usage);
  }

  reply() {
    const { vendor, request, dropped } = this.#asked;
    if (!this.#hasContent) {
      const message = `${vendor.name} gave an unexpected answer: no content`;
      return fail(toFailure(vendor, "bad_answer", message));
    }
    const reason = finishReason(this.#reason);
    const blocks = [...this.#blocks.values()];
    const toolCalls = this.#calls.read(reason === "length");
    return ok<ModelReply>({
      provider: vendor.name,
      model: this.#model || request.model,
      content: this.#text.end(),
      toolCalls,
      finishReason: reason,
      usage: this.usage(),
      ...echo(vendor.name, blocks, toolCalls),
      ...(dropped.length === 0 ? {} : { droppedParams: dropped }),
    });
  }
}

function append(block: JsonObject, key: string, text: Json | undefined): void {
  block[key] = `${typeof block[key] === "string" ? block[key] : ""}${String(text ?? "")}`;
}

/** A turn with thinking in it goes back as it was, or the API refuses the conversation. */
function echo(provider: string, blocks: JsonObject[], calls: ModelReply["toolCalls"]) {
  if (!blocks.some(({ type }) => type === "thinking" || type === "redacted_thinking")) return {};
  const items = blocks.map((block) => {
    const call = calls.find(({ id }) => block["type"] === "tool_use" && id === block["id"]);
    return call === undefined ? block : { ...block, input: call.arguments ?? {} };
  });
  return { echo: { provider, items } };
}

function finishReason(reason: unknown): ModelReply["finishReason"] {
  const ours: Record<string, ModelReply["finishReason"]> = {
    end_turn: "stop",
    stop_sequence: "stop",
    max_tokens: "length",
    model_context_window_exceeded: "length",
    tool_use: "tool_calls",
    refusal: "refusal",
  };
  return ours[String(reason)] ?? "other";
}

/** `input_tokens` leaves out what was read from or written to the cache. */
function toUsage(usage: JsonObject): Usage {
  const read = tokenCount(usage["cache_read_input_tokens"]);
  const written = tokenCount(usage["cache_creation_input_tokens"]);
  const creation = isJsonObject(usage["cache_creation"]) ? usage["cache_creation"] : {};
  const output = usage["output_tokens_details"];
  const forAnHour = tokenCount(creation["ephemeral_1h_input_tokens"]);
  return {
    inputTokens: tokenCount(usage["input_tokens"]) + read + written,
    outputTokens: tokenCount(usage["output_tokens"]),
    ...usageDetails({
      cacheReadTokens: read,
      cacheWrite5mTokens: Math.max(0, written - forAnHour),
      cacheWrite1hTokens: Math.min(written, forAnHour),
      reasoningTokens: isJsonObject(output) ? output["thinking_tokens"] : 0,
    }),
  };
}
