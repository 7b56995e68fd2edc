import { fail, ok } from "../../machines/contracts/domain/failure.ts";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Usage } from "../../machines/contracts/domain/step-result.ts";
import type { ModelPart, ModelReply } from "../../machines/contracts/ports/model-provider.ts";
import { AnswerCalls, type AnsweredCall } from "./answer-calls.ts";
import { AnswerText, modelName } from "./answer.ts";
import { saysError } from "./empty-errors.ts";
import { tokenCount, UsageCount, usageDetails } from "./usage.ts";
import type { Asked, Reader } from "./vendor-call.ts";
import { toFailure, type VendorError } from "./vendor-trouble.ts";

/** Reads the events of a message; what they hold is checked, for the SDK does not check what it received. */
export class MessageReader implements Reader<unknown> {
  error: VendorError | null = null;
  isWhole = false;
  #isStopped = false;
  readonly #asked: Asked;
  readonly #text = new AnswerText();
  readonly #calls: AnswerCalls;
  readonly #blocks: JsonObject[] = [];
  readonly #byIndex = new Map<number, JsonObject>();
  readonly #thought = new AnswerText();
  readonly #count: UsageCount;
  #model: Json | undefined;
  #reason: unknown = null;
  #hasContent = false;

  constructor(asked: Asked) {
    this.#asked = asked;
    this.#calls = new AnswerCalls(asked.names);
    this.#count = new UsageCount(asked.body, toUsage, this.#calls);
  }

  /**
   * A stream has all of its answer when a `message_delta` says why it ended: some servers leave out the event that only
   * repeats it. What its `message_start` says of that counts where nothing else does.
   */
  take(event: unknown, isDocument: boolean): ModelPart[] {
    if (!isJsonObject(event)) return [];
    if (this.#isStopped) return [];
    switch (event["type"]) {
      case "message_start":
        return this.#start(event["message"], isDocument);
      case "content_block_start":
        return this.#startBlock(Number(event["index"]), event["content_block"] ?? null);
      case "content_block_delta":
        return this.#delta(Number(event["index"]), event["delta"] ?? null);
      case "message_delta":
        if (this.#end(event["delta"])) this.isWhole = true;
        this.#count.count(event["usage"], this.isWhole);
        return [];
      case "message_stop":
        this.isWhole = true;
        this.#isStopped = true;
        return [];
      default:
        return [];
    }
  }

  #start(message: Json | undefined, isDocument: boolean): ModelPart[] {
    if (!isJsonObject(message)) return [];
    if (saysError(message["error"]) && !this.isWhole) {
      this.error = { status: undefined, said: message["error"] };
      return [];
    }
    this.#model ??= message["model"];
    this.#end(message);
    const content = message["content"];
    if (Array.isArray(content)) this.#hasContent = true;
    const blocks = Array.isArray(content) ? content : [];
    const parts = blocks.flatMap((block, index) => this.#startBlock(index, block));
    this.#count.count(message["usage"], isDocument);
    return parts;
  }

  #startBlock(index: number, block: Json): ModelPart[] {
    if (!isJsonObject(block)) return [];
    this.#hasContent = true;
    const own = { ...block };
    this.#blocks.push(own);
    this.#byIndex.set(index, own);
    this.#count.add(this.#thought.add(block["thinking"]));
    if (block["type"] === "text") return this.#tell(block["text"]);
    if (block["type"] !== "tool_use") return [];
    const { id, name, input } = block;
    return this.#calls.add({ at: index, id, name, arguments: input, kept: own });
  }

  #delta(index: number, delta: Json): ModelPart[] {
    if (!isJsonObject(delta)) return [];
    this.#hasContent = true;
    const block = this.#byIndex.get(index);
    this.#count.add(this.#thought.add(delta["thinking"]));
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
    this.#count.add(told);
    return told === "" ? [] : [{ type: "text", text: told }];
  }

  /** Whether it says why the answer ended. */
  #end(said: Json | undefined): boolean {
    const reason = isJsonObject(said) ? (said["stop_reason"] ?? null) : null;
    if (reason !== null) this.#reason = reason;
    return reason !== null;
  }

  miss(bytes: number): void {
    this.#count.atLeast(bytes);
  }

  usage(): Usage {
    return this.#count.usage(this.isWhole);
  }

  reply() {
    const { vendor, request, dropped } = this.#asked;
    if (!this.#hasContent) {
      const message = `${vendor.name} gave an unexpected answer: no content`;
      return fail(toFailure(vendor, "bad_answer", message));
    }
    const reason = finishReason(this.#reason);
    const answered = this.#calls.read(reason === "length");
    return ok<ModelReply>({
      provider: vendor.name,
      model: modelName(this.#model, request.model),
      content: this.#text.end(),
      toolCalls: answered.map(({ call }) => call),
      finishReason: reason,
      usage: this.usage(),
      ...echo(vendor.name, this.#blocks, answered),
      ...(dropped.length === 0 ? {} : { droppedParams: dropped }),
    });
  }
}

function append(block: JsonObject, key: string, text: Json | undefined): void {
  block[key] = `${typeof block[key] === "string" ? block[key] : ""}${String(text ?? "")}`;
}

/** A turn with thinking in it goes back as it was, or the API refuses the conversation; its calls under our ids. */
function echo(provider: string, blocks: JsonObject[], answered: readonly AnsweredCall[]) {
  if (!blocks.some(({ type }) => type === "thinking" || type === "redacted_thinking")) return {};
  const calls = new Map(answered.map(({ call, kept }) => [kept, call]));
  const items = blocks.map((block) => {
    const call = calls.get(block);
    return call === undefined ? block : { ...block, id: call.id, input: call.arguments ?? {} };
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
