import { fail, ok } from "../../machines/contracts/domain/failure.ts";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Usage } from "../../machines/contracts/domain/step-result.ts";
import type { ModelPart, ModelReply } from "../../machines/contracts/ports/model-provider.ts";
import { AnswerCalls, type AnsweredCall, boundedId, isEmpty } from "./answer-calls.ts";
import { AnswerText, modelName } from "./answer.ts";
import { saysError } from "./empty-errors.ts";
import { countedJsonLength, countedLength, tokenCount, UsageCount, usageDetails } from "./usage.ts";
import type { Asked, Reader } from "./vendor-call.ts";
import { toFailure, type VendorError } from "./vendor-trouble.ts";

/**
 * Reads the events of a response. Its last event holds the whole of it, which then counts; what that leaves out counts
 * as it came before: as an item that was done, or in pieces.
 */
export class ResponseReader implements Reader<unknown> {
  error: VendorError | null = null;
  readonly #asked: Asked;
  /** Told while it comes. */
  readonly #text = new AnswerText();
  readonly #refusal = new AnswerText();
  readonly #told: AnswerCalls;
  /** Summaries of the model's reasoning, and whatever else comes in pieces. */
  readonly #others = new AnswerText();
  readonly #items: JsonObject[] = [];
  readonly #count: UsageCount;
  #response: JsonObject | null = null;

  constructor(asked: Asked) {
    this.#asked = asked;
    this.#told = new AnswerCalls(asked.names);
    this.#count = new UsageCount(asked.body, toUsage, this.#told);
  }

  get isWhole(): boolean {
    return this.#response !== null && this.error === null;
  }

  take(event: unknown): ModelPart[] {
    // Nothing takes an answer away that is whole.
    if (!isJsonObject(event) || this.isWhole) return [];
    const { type, response, item, delta } = event;
    switch (type) {
      case "response.output_text.delta": {
        const text = this.#text.add(delta);
        this.#count.add(text);
        return text === "" ? [] : [{ type: "text", text }];
      }
      case "response.refusal.delta":
        this.#count.add(this.#refusal.add(delta));
        return [];
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
        this.#count.add(this.#others.add(delta));
        return [];
    }
  }

  #end(response: JsonObject): void {
    this.#response = response;
    this.#count.atLeast(lengthOf(this.#heard));
    this.#count.count(response["usage"], true);
    const said = response["error"];
    if (saysError(said)) this.error = { status: undefined, said };
    else if (response["status"] === "failed") {
      const none = { type: "server_error", message: "no reason given" };
      this.error = { status: undefined, said: none };
    }
  }

  /** The items of the last event; where it has none, those that were done before. */
  get #heard(): readonly JsonObject[] {
    const output = this.#response?.["output"];
    const listed = Array.isArray(output) ? output.filter(isJsonObject) : [];
    return listed.length === 0 ? this.#items : listed;
  }

  miss(bytes: number): void {
    this.#count.atLeast(bytes);
  }

  usage(): Usage {
    if (!this.isWhole) this.#count.atLeast(lengthOf(this.#heard));
    return this.#count.usage(this.#response !== null);
  }

  reply() {
    const { vendor, request, dropped } = this.#asked;
    const response = this.#response ?? {};
    const items = this.#heard;
    const hasCome =
      items.length > 0 ||
      this.#text.end() !== "" ||
      this.#refusal.end() !== "" ||
      this.#told.count > 0;
    if (!Array.isArray(response["output"]) && !hasCome) {
      const message = `${vendor.name} gave an unexpected answer: no output`;
      return fail(toFailure(vendor, "bad_answer", message));
    }
    const listed = this.#listedCalls(items);
    const calls = listed.count > 0 ? listed : this.#told;
    const text = textOf(items, "text") || this.#text.end();
    const refused = textOf(items, "refusal") || this.#refusal.end();
    const isLost = text === "" && items.some(({ type }) => String(type).endsWith("_call"));
    const finish = finishReason(response, calls.count > 0 || isLost);
    const answered = calls.read(finish === "length");
    return ok<ModelReply>({
      provider: vendor.name,
      model: modelName(response["model"], request.model),
      content: text || refused,
      toolCalls: answered.map(({ call }) => call),
      finishReason: refused === "" ? finish : "refusal",
      usage: this.usage(),
      ...echo(vendor.name, items, answered),
      ...(dropped.length === 0 ? {} : { droppedParams: dropped }),
    });
  }

  #listedCalls(items: readonly JsonObject[]): AnswerCalls {
    const calls = new AnswerCalls(this.#asked.names);
    const told = this.#told.texts();
    for (const [at, item] of items.entries()) {
      if (item["type"] !== "function_call") continue;
      const { call_id: id, name, arguments: given } = item;
      // An item may be listed as it began, before its arguments came.
      const before = isBlank(given) ? told.get(boundedId(String(id))) : undefined;
      calls.add({ at, id, name, arguments: before || given, kept: item });
    }
    return calls;
  }
}

const isBlank = (given: Json | undefined): boolean =>
  typeof given === "string"
    ? /^\s*(?:\{\s*\})?\s*$/u.test(given)
    : given === null || isEmpty(given ?? {});

function placeOf({ output_index: index }: JsonObject): number | undefined {
  return typeof index === "number" ? index : undefined;
}

/** The parts of an item's content, or of the summary of a reasoning. */
const partsOf = (parts: Json | undefined): JsonObject[] =>
  Array.isArray(parts) ? parts.filter(isJsonObject) : [];

function textOf(items: readonly JsonObject[], key: "text" | "refusal"): string {
  const text = new AnswerText();
  for (const item of items) {
    if (item["type"] !== "message") continue;
    for (const part of partsOf(item["content"])) text.add(part[key]);
  }
  return text.end();
}

/** Of what a model has written in these items, as it counts. */
function lengthOf(items: readonly JsonObject[]): number {
  let length = 0;
  for (const { content, summary, name, arguments: given } of items) {
    for (const { text, refusal } of [...partsOf(content), ...partsOf(summary)]) {
      length += countedLength(text) + countedLength(refusal);
    }
    if (given === undefined || given === null) continue;
    length += countedLength(name);
    length += typeof given === "string" ? countedLength(given) : countedJsonLength(given);
  }
  return length;
}

/** Reasoning goes back with the calls that it led to, or the API refuses the conversation; calls under our ids. */
function echo(provider: string, items: readonly JsonObject[], answered: readonly AnsweredCall[]) {
  if (!items.some((item) => item["type"] === "reasoning" && "encrypted_content" in item)) return {};
  const calls = new Map(answered.map(({ call, kept }) => [kept, call]));
  const echoed = items.map((item) => {
    const call = calls.get(item);
    return call === undefined ? item : { ...item, call_id: call.id };
  });
  return { echo: { provider, items: echoed } };
}

function finishReason(response: JsonObject, callsTools: boolean): ModelReply["finishReason"] {
  const { status, incomplete_details: details } = response;
  const why = isJsonObject(details) ? details["reason"] : undefined;
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
