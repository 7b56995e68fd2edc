import { fail, ok } from "../../machines/contracts/domain/failure.ts";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Usage } from "../../machines/contracts/domain/step-result.ts";
import type { ModelPart, ModelReply } from "../../machines/contracts/ports/model-provider.ts";
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
import type { Asked, Reader } from "./vendor-call.ts";
import { toFailure, type VendorError } from "./vendor-trouble.ts";

/** Reads the chunks of a completion; what they hold is checked, for the SDK does not check what it received. */
export class ChatReader implements Reader<unknown> {
  error: VendorError | null = null;
  readonly #asked: Asked;
  readonly #text = new AnswerText();
  readonly #refusal = new AnswerText();
  readonly #calls: AnswerCalls;
  /** What Gemini wants to see again with a call, by the call's id. */
  readonly #extras: JsonObject[] = [];
  #counted: JsonObject | null = null;
  /** The last message of a stream. */
  #message: JsonObject | null = null;
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
   *
   * Only `finish_reason` ends a stream, whatever its chunks call themselves: Perplexity's are `chat.completion`s, and
   * each holds the message so far beside its delta. An answer in one piece is not bound to say why it ended.
   */
  take(chunk: unknown, isDocument: boolean): ModelPart[] {
    if (!isJsonObject(chunk)) return [];
    const choice = ownChoice(chunk["choices"]);
    const said = [chunk["error"], choice["error"]].find(saysError);
    // No error takes an answer away that is whole.
    if (said !== undefined && !this.isWhole) this.error = { status: undefined, said };
    if (typeof chunk["model"] === "string" && this.#model === "") this.#model = chunk["model"];
    if (isJsonObject(chunk["usage"])) this.#counted = chunk["usage"];
    this.#finish(choice["finish_reason"]);
    if (isDocument) this.#reason ??= "stop";
    return this.#readChoice(choice, isDocument);
  }

  #finish(reason: Json | undefined): void {
    if (typeof reason !== "string" || reason === "") return;
    if (reason === "error") {
      if (this.isWhole) return;
      const message = 'it broke off its answer with finish_reason "error"';
      this.error ??= { status: undefined, said: { type: "server_error", message } };
    }
    this.#reason = reason;
  }

  #readChoice({ delta, message }: JsonObject, isDocument: boolean): ModelPart[] {
    if (isDocument) {
      const whole = message ?? delta;
      return isJsonObject(whole) ? this.#read(whole, message !== undefined) : [];
    }
    const parts = isJsonObject(delta) ? this.#read(delta, false) : [];
    // Beside deltas a message says once more what they said: it is the answer only where they said nothing.
    if (isJsonObject(message)) this.#message = message;
    const isSilent = this.isWhole && !this.#hasCome && this.#message !== null;
    return isSilent ? this.#read(this.#message ?? {}, true) : parts;
  }

  /** Whether anything of the answer itself came. */
  get #hasCome(): boolean {
    return this.#text.content !== "" || this.#refusal.content !== "" || this.#calls.count > 0;
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
      const what = this.#isOdd ? "its content is not text" : "no choices[0].message";
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

/** We ask for one choice: others that come all the same are none of ours. */
function ownChoice(choices: Json | undefined): JsonObject {
  const all = Array.isArray(choices) ? choices.filter(isJsonObject) : [];
  return all.find(({ index }) => typeof index !== "number" || index === 0) ?? {};
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
