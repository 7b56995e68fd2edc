import { fail, ok } from "../../machines/contracts/domain/failure.ts";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Usage } from "../../machines/contracts/domain/step-result.ts";
import type { ModelPart, ModelReply } from "../../machines/contracts/ports/model-provider.ts";
import { AnswerCalls } from "./answer-calls.ts";
import { AnswerText, modelName, readFinish } from "./answer.ts";
import { saysError } from "./empty-errors.ts";
import { tokenCount, UsageCount, usageDetails } from "./usage.ts";
import type { Asked, Reader } from "./vendor-call.ts";
import { toFailure, type VendorError } from "./vendor-trouble.ts";

/** Reads the chunks of a completion; what they hold is checked, for the SDK does not check what it received. */
export class ChatReader implements Reader<unknown> {
  error: VendorError | null = null;
  readonly #asked: Asked;
  readonly #text = new AnswerText();
  readonly #refusal = new AnswerText();
  readonly #thought = new AnswerText();
  readonly #calls: AnswerCalls;
  /** The one call that a message could hold before there were `tool_calls`: some servers give it beside those. */
  readonly #oldCall: AnswerCalls;
  readonly #count: UsageCount;
  /** The last message of a stream. */
  #message: JsonObject | null = null;
  #model = "";
  #reason: string | null = null;
  /** Whether a content came that nobody can read: it must not be taken for an empty answer. */
  #isOdd = false;
  #hasMessage = false;
  /** Whether more of the answer came after a reason for its end. */
  #saysReasonEarly = false;
  #isEnded = false;
  /** Whether thoughts came under the name that wants to see them again. */
  #echoesThought = false;

  constructor(asked: Asked) {
    this.#asked = asked;
    this.#calls = new AnswerCalls(asked.names);
    this.#oldCall = new AnswerCalls(asked.names);
    const [calls, oldCall] = [this.#calls, this.#oldCall];
    this.#count = new UsageCount(asked.body, toUsage, {
      get length() {
        return Math.max(calls.length, oldCall.length);
      },
    });
  }

  /** A server that gives the reason with every piece has not said by it that the last one has come. */
  get isWhole(): boolean {
    return this.#reason !== null && (!this.#saysReasonEarly || this.#isEnded);
  }

  /** Proxies lose the reason of a whole answer. What is as long as it was allowed to be may have been cut. */
  end(): void {
    this.#isEnded = true;
    if (this.#message !== null && !this.#hasCome) this.#read(this.#message, true);
    if (this.#reason !== null || !this.#hasCome || this.error !== null) return;
    const most = limitOf(this.#asked.body);
    const { outputTokens, estimated = false } = this.#count.usage(true);
    this.#reason = !estimated && (most === null || outputTokens < most) ? "stop" : "unknown";
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
    const before = this.#reason === null ? null : this.#come;
    this.#finish(choice["finish_reason"]);
    if (isDocument) this.#reason ??= "stop";
    const parts = this.#readChoice(choice, isDocument);
    if (before !== null && this.#come > before) this.#saysReasonEarly = true;
    this.#count.count(chunk["usage"], this.isWhole);
    return parts;
  }

  #finish(reason: Json | undefined): void {
    if (typeof reason !== "string" || noReason.has(reason.toLowerCase())) return;
    if (reason === "error") {
      if (this.isWhole) return;
      const message = 'it broke off its answer with finish_reason "error"';
      this.error ??= { status: undefined, said: { type: "server_error", message } };
    }
    // What was cut off stays so, whatever is said after.
    const isCut = this.#reason !== null && readFinish(this.#reason, false) === "length";
    if (!isCut) this.#reason = reason;
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
    return this.#come > 0;
  }

  /** How much of the answer itself has come. */
  get #come(): number {
    const calls =
      this.#calls.count + this.#oldCall.count + this.#calls.length + this.#oldCall.length;
    return this.#text.content.length + this.#refusal.content.length + calls;
  }

  #read(message: JsonObject, isInOnePiece: boolean): ModelPart[] {
    this.#hasMessage = true;
    const { content = null, refusal, tool_calls: calls } = message;
    this.#isOdd ||= content !== null && typeof content !== "string" && !Array.isArray(content);
    const text = this.#text.add(textOf(content));
    this.#echoesThought ||= typeof message["reasoning_content"] === "string";
    const thought = message["reasoning_content"] ?? message["reasoning"];
    for (const told of [text, this.#thought.add(thought), this.#refusal.add(refusal)]) {
      this.#count.add(told);
    }
    const { function_call: old } = message;
    if (isJsonObject(old)) {
      this.#oldCall.add({ at: 0, name: old["name"], arguments: old["arguments"] });
    }
    const parts: ModelPart[] = text === "" ? [] : [{ type: "text", text }];
    if (!Array.isArray(calls)) return parts;
    return [...parts, ...calls.flatMap((call, place) => this.#call(call, place, isInOnePiece))];
  }

  #call(call: Json, place: number, isInOnePiece: boolean): ModelPart[] {
    if (!isJsonObject(call)) return [];
    const { id, index, extra_content: extra } = call;
    const called = isJsonObject(call["function"]) ? call["function"] : {};
    const custom = isJsonObject(call["custom"]) ? call["custom"] : {};
    return this.#calls.add({
      at: isInOnePiece || (typeof index !== "number" && id !== undefined) ? place : indexOf(index),
      id,
      name: called["name"] ?? custom["name"],
      // Some put them elsewhere; what is no JSON object is told to the model.
      arguments: called["arguments"] ?? called["parameters"] ?? called["input"] ?? custom["input"],
      kept: isJsonObject(extra) ? extra : undefined,
    });
  }

  miss(bytes: number): void {
    this.#count.atLeast(bytes);
  }

  usage(): Usage {
    return this.#count.usage(this.isWhole);
  }

  reply() {
    const { vendor, request, dropped } = this.#asked;
    if (!this.#hasMessage || this.#isOdd) {
      const what = this.#isOdd ? "its content is not text" : "no choices[0].message";
      const message = `${vendor.name} gave an unexpected answer: ${what}`;
      return fail(toFailure(vendor, "bad_answer", message));
    }
    const refusal = this.#refusal.end();
    const calls = this.#calls.count > 0 ? this.#calls : this.#oldCall;
    const finish = readFinish(this.#reason, calls.count > 0);
    const answered = calls.read(finish === "length");
    const content = this.#text.end();
    // What Gemini wants to see again with a call, by the id that the call has with us.
    const extras: JsonObject[] = answered.flatMap(({ call: { id }, kept }) =>
      kept === undefined ? [] : [{ id, extra_content: kept }],
    );
    // What led to the calls: DeepSeek and Kimi refuse the calls without it.
    const thought = this.#thought.end();
    if (this.#echoesThought && thought !== "" && answered.length > 0) {
      extras.push({ reasoning_content: thought });
    }
    return ok<ModelReply>({
      provider: vendor.name,
      model: modelName(this.#model, request.model),
      content: content === "" ? refusal : content,
      toolCalls: answered.map(({ call }) => call),
      finishReason: refusal === "" ? finish : "refusal",
      usage: this.usage(),
      ...(extras.length === 0 ? {} : { echo: { provider: vendor.name, items: extras } }),
      ...(dropped.length === 0 ? {} : { droppedParams: dropped }),
    });
  }
}

/** What stands for no reason at all, in small letters. */
const noReason: ReadonlySet<string> = new Set(["", "null", "none", "undefined"]);

/** How many tokens the answer may have, under either name. */
function limitOf(body: object): number | null {
  const { max_tokens: older, max_completion_tokens: newer } = body as Record<string, unknown>;
  const most = newer ?? older;
  return typeof most === "number" ? most : null;
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
