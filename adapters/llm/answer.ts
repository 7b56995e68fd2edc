import { randomUUID } from "node:crypto";
import { parseJson } from "../../machines/contracts/domain/json.ts";
import { wellFormedText } from "../../machines/contracts/domain/text.ts";
import type { Usage } from "../../machines/contracts/domain/step-result.ts";
import type {
  ModelPart,
  ModelReply,
  ToolCall,
} from "../../machines/contracts/ports/model-provider.ts";
import { readAnsweredArguments, type ToolNames } from "./tool-calls.ts";

/** Puts pieces of text together; half a surrogate pair waits for its other half. */
export class AnswerText {
  content = "";
  #half = "";

  /** What of it can be told now. */
  add(piece: unknown): string {
    if (typeof piece !== "string") return "";
    const text = this.#half + piece;
    const endsInHalf = /[\uD800-\uDBFF]$/.test(text);
    this.#half = endsInHalf ? text.slice(-1) : "";
    const told = wellFormedText(endsInHalf ? text.slice(0, -1) : text);
    this.content += told;
    return told;
  }

  end(): string {
    return wellFormedText(this.content + this.#half);
  }
}

interface OpenCall {
  index: number;
  id: string;
  name: string;
  text: AnswerText;
  /** Arguments that came as a value and not as text. */
  value?: unknown;
}

/** A piece of a tool call as it comes; what is left out was said before, or comes later. */
export interface CallPiece {
  /** By which pieces belong together; undefined where the server does not say. */
  at: number | undefined;
  id?: unknown;
  name?: unknown;
  arguments?: unknown;
}

/** Puts the tool calls of an answer together, in the order in which they began. */
export class AnswerCalls {
  readonly #calls: OpenCall[] = [];
  readonly #byPlace = new Map<number, OpenCall>();
  readonly #names: ToolNames;

  constructor(names: ToolNames) {
    this.#names = names;
  }

  get count(): number {
    return this.#calls.length;
  }

  add(piece: CallPiece): ModelPart[] {
    const call = this.#find(piece);
    if (typeof piece.name === "string" && call.name === "") call.name = piece.name;
    if (piece.arguments !== undefined && typeof piece.arguments !== "string") {
      if (piece.arguments !== null) call.value = piece.arguments;
      return [];
    }
    const text = call.text.add(piece.arguments);
    if (text === "") return [];
    const { id, name, index } = call;
    return [{ type: "arguments", index, id, name: this.#names.inward(name), text }];
  }

  #find({ at, id, name }: CallPiece): OpenCall {
    const given = typeof id === "string" ? id : "";
    const known = at === undefined ? this.#calls.at(-1) : this.#byPlace.get(at);
    if (known !== undefined) {
      // Some servers give all calls of an answer the same place: another id is another call. Where they give no id
      // either, a name after whole arguments begins another one.
      const isSame = given === "" ? !beginsAnother(known, name) : given === known.id;
      if (isSame) return known;
    }
    const call: OpenCall = {
      index: this.#calls.length,
      id: given === "" ? newId() : given,
      name: "",
      text: new AnswerText(),
    };
    this.#calls.push(call);
    if (at !== undefined) this.#byPlace.set(at, call);
    return call;
  }

  /** @param isCutOff true when the answer ended at the token limit */
  read(isCutOff: boolean): ToolCall[] {
    const ids = new Set<string>();
    return this.#calls.map((call) => {
      const id = ids.has(call.id) ? newId() : call.id;
      ids.add(id);
      const name = this.#names.inward(call.name);
      if (holdsRoundedNumber(call.value)) {
        const problem = "the arguments hold a number that can't be kept exactly";
        return { id, name, arguments: null, problem };
      }
      return { id, name, ...readAnsweredArguments(call.value ?? call.text.end(), isCutOff) };
    });
  }
}

/** For a call that came without an id, or with another call's: results are told apart by it. */
const newId = () => `call_${randomUUID().replaceAll("-", "")}`;

function beginsAnother({ name: its, text, value }: OpenCall, name: unknown): boolean {
  if (typeof name !== "string" || name === "") return false;
  if (value !== undefined || (its !== "" && its !== name)) return true;
  return text.content.trimEnd().endsWith("}") && parseJson(text.content).ok;
}

/** Arguments that came as a value were read by the SDK: of a whole number beyond 2^53 nobody knows the last digits. */
function holdsRoundedNumber(value: unknown): boolean {
  const open = [value];
  while (open.length > 0) {
    const item = open.pop();
    if (typeof item === "number" && Math.abs(item) > Number.MAX_SAFE_INTEGER) return true;
    if (typeof item !== "object" || item === null) continue;
    for (const part of Object.values(item)) open.push(part);
  }
  return false;
}

/** Why an answer ended, as the servers say it that speak OpenAI's API, in small letters. */
const endings: Readonly<Record<string, "stop" | "length" | "refusal">> = {
  stop: "stop",
  stop_sequence: "stop",
  end_turn: "stop",
  eos: "stop",
  eos_token: "stop",
  tool_calls: "stop",
  tool_use: "stop",
  function_call: "stop",
  length: "length",
  model_length: "length",
  max_tokens: "length",
  max_output_tokens: "length",
  insufficient_system_resource: "length",
  content_filter: "refusal",
  safety: "refusal",
};

/** What a word that nobody knows says is not known either: it is no good end. Some say `stop` of calls all the same. */
export function readFinish(reason: string | null, callsTools: boolean): ModelReply["finishReason"] {
  const known = endings[(reason ?? "").toLowerCase()] ?? "other";
  return known === "stop" && callsTools ? "tool_calls" : known;
}

/** What a token stands for, where no provider has counted: little, so that rather too much is put down. */
const charactersPerToken = 3;

/** A text's length as it counts: beyond ASCII a character is a token of its own, or nearly. */
export function countedLength(text: unknown): number {
  if (typeof text !== "string") return 0;
  const others = text.match(/[^\0-\x7F]/gu)?.length ?? 0;
  return text.length + (charactersPerToken - 1) * others;
}

/** Characters that an image counts as: it is no text, however long its bytes are as one. */
const imageLength = 3_000;

/** A request as text, with something of a fixed length for each image. */
function withoutImages(asked: unknown): string {
  return JSON.stringify(asked, function (this: { media_type?: unknown }, key, value: unknown) {
    if (typeof value !== "string") return value;
    const isImage =
      value.startsWith("data:image/") || (key === "data" && this.media_type !== undefined);
    return isImage ? "i".repeat(Math.min(value.length, imageLength)) : value;
  });
}

/** What a call used of which the provider has not counted everything. */
export function estimatedUsage(
  asked: unknown,
  /** By {@link countedLength}. */
  receivedCharacters: number,
  counted: Partial<Usage> = {},
): Usage {
  const input = () => Math.ceil(countedLength(withoutImages(asked)) / charactersPerToken);
  const received = Math.ceil(receivedCharacters / charactersPerToken);
  return {
    ...counted,
    inputTokens: counted.inputTokens ?? input(),
    outputTokens: Math.max(counted.outputTokens ?? 0, received),
    estimated: true,
  };
}

/** What a provider counted, where that can be: no request is empty, and no answer that came took nothing. */
export function plausibleUsage(usage: Usage, asked: unknown, receivedCharacters: number): Usage {
  const isPossible = usage.inputTokens > 0 && (usage.outputTokens > 0 || receivedCharacters === 0);
  if (isPossible) return usage;
  const { inputTokens, ...others } = usage;
  const counted = inputTokens > 0 ? usage : others;
  return estimatedUsage(asked, receivedCharacters, counted);
}

/** A token count from outside as a whole number that is not negative; 0 for anything else. */
export function tokenCount(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) ? Math.max(0, Math.round(value)) : 0;
}

/** The details of a usage that are not zero. */
export function usageDetails(details: {
  [
    Key in "cacheReadTokens" | "cacheWrite5mTokens" | "cacheWrite1hTokens" | "reasoningTokens"
  ]?: unknown;
}): Partial<Usage> {
  const counted = Object.entries(details).map(([key, value]) => [key, tokenCount(value)] as const);
  return Object.fromEntries(counted.filter(([, count]) => count > 0));
}
