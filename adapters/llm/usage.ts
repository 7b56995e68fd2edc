import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Usage } from "../../machines/contracts/domain/step-result.ts";

/** What a token stands for, where no provider has counted: little, so that rather too much is put down. */
const charactersPerToken = 3;

/** More characters than one token stands for, but in odd texts. */
const mostPerToken = 20;

/** A text's length as it counts: beyond ASCII a character is a token of its own, or nearly. */
export function countedLength(text: unknown): number {
  if (typeof text !== "string") return 0;
  const others = text.match(/[^\0-\x7F]/gu)?.length ?? 0;
  return text.length + (charactersPerToken - 1) * others;
}

/** The length of a value as JSON, as it counts. Walks without recursion: depth costs no stack. */
export function countedJsonLength(value: unknown): number {
  const open = [value];
  let length = 0;
  while (open.length > 0) {
    const item = open.pop();
    if (typeof item !== "object" || item === null) {
      length += countedLength(JSON.stringify(item) ?? "");
      continue;
    }
    const parts = Object.entries(item);
    length += 2 + Math.max(0, parts.length - 1);
    for (const [key, part] of parts) {
      if (!Array.isArray(item)) length += countedLength(JSON.stringify(key)) + 1;
      open.push(part);
    }
  }
  return length;
}

/** Characters that an image counts as: it is no text, however long its bytes are as one. */
const imageLength = 3_000;

const imageTypes = new Set(["image_url", "input_image", "image"]);

/** A request as text, with something of a fixed length for each image: images are parts of a turn, and nothing else. */
function withoutImages(asked: JsonObject): string {
  const turns = ["messages", "input"].filter((key) => key in asked);
  const mended = turns.map((key) => [key, [asked[key] ?? []].flat().map(withoutImagesIn)]);
  return JSON.stringify({ ...asked, ...(Object.fromEntries(mended) as JsonObject) });
}

function withoutImagesIn(turn: Json): Json {
  const content = isJsonObject(turn) ? turn["content"] : undefined;
  return isJsonObject(turn) && Array.isArray(content)
    ? { ...turn, content: content.map(withoutImage) }
    : turn;
}

function withoutImage(part: Json): Json {
  const isImage = isJsonObject(part) && imageTypes.has(String(part["type"]));
  return isImage ? "i".repeat(imageLength) : part;
}

/**
 * What a call has used: as its provider counts it, as long as that can be all. A provider may count early (how much was
 * asked, and one token of the answer), late, or never; what has come since it last counted is counted by its length.
 */
export class UsageCount {
  readonly #asked: object;
  readonly #read: (counted: JsonObject) => Usage;
  readonly #calls: { readonly length: number };
  #counted: JsonObject = {};
  #texts = 0;
  #least = 0;
  /** The length of what had come when the provider last counted it. */
  #lengthCounted = 0;

  /**
   * @param asked the body as it was sent
   * @param read reads the provider's counts
   * @param calls the length of the answer's tool calls so far
   */
  constructor(
    asked: object,
    read: (counted: JsonObject) => Usage,
    calls: { readonly length: number },
  ) {
    this.#asked = asked;
    this.#read = read;
    this.#calls = calls;
  }

  /** A piece of text has come, of the answer or of what the model thought before it. */
  add(text: string): void {
    this.#texts += countedLength(text);
  }

  /** All of the answer is at least so long, however much of it came in pieces. */
  atLeast(length: number): void {
    this.#least = Math.max(this.#least, length);
  }

  get #length(): number {
    return Math.max(this.#least, this.#texts + this.#calls.length);
  }

  /**
   * The provider has counted. Its counts are totals: what a later one leaves out, or sets back, stands.
   *
   * @param isEnded whether nothing of the answer comes after
   */
  count(said: Json | undefined, isEnded: boolean): void {
    if (!isJsonObject(said)) return;
    const before = this.#read(this.#counted).outputTokens;
    this.#counted = merged(this.#counted, said);
    const output = this.#read(said).outputTokens;
    const later = this.#length - this.#lengthCounted;
    // Some say an early count again with every piece.
    const isNew = output > before || (isEnded && later <= output * mostPerToken);
    if (output > 0 && isNew) this.#lengthCounted = this.#length;
  }

  /** @param isEnded whether all of the answer has come */
  usage(isEnded: boolean): Usage {
    const { inputTokens, outputTokens, ...details } = this.#read(this.#counted);
    const later = this.#length - this.#lengthCounted;
    if (isEnded && inputTokens > 0 && later === 0) return { inputTokens, outputTokens, ...details };
    return {
      ...details,
      inputTokens: inputTokens > 0 ? inputTokens : tokensOf(countedLength(this.#asText())),
      outputTokens: later === 0 ? outputTokens : this.#estimate(outputTokens, later),
      estimated: true,
    };
  }

  #asText(): string {
    return withoutImages(this.#asked as JsonObject);
  }

  /** What was counted before anything came stands for nothing of it. */
  #estimate(counted: number, later: number): number {
    const base = this.#lengthCounted === 0 ? 0 : counted;
    return Math.max(counted, tokensOf(this.#length), base + tokensOf(later));
  }
}

const tokensOf = (length: number): number => Math.ceil(length / charactersPerToken);

function merged(known: JsonObject, said: JsonObject): JsonObject {
  const all = Object.entries(said).map(([key, count]) => {
    const before = known[key];
    if (typeof before === "number") return [key, Math.max(before, tokenCount(count))];
    if (!isJsonObject(before)) return [key, count];
    return [key, isJsonObject(count) ? { ...before, ...count } : before];
  });
  return { ...known, ...(Object.fromEntries(all) as JsonObject) };
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
