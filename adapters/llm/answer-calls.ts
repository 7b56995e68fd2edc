import { createHash, randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { isJsonObject, type JsonObject, parseJson } from "../../machines/contracts/domain/json.ts";
import { wellFormedText } from "../../machines/contracts/domain/text.ts";
import type { ModelPart, ToolCall } from "../../machines/contracts/ports/model-provider.ts";
import { AnswerText, boundedName } from "./answer.ts";
import { readAnsweredArguments, type ToolNames } from "./tool-calls.ts";
import { countedJsonLength, countedLength } from "./usage.ts";

interface OpenCall {
  index: number;
  id: string;
  /** Whether the id is the server's: it then gives every call one. */
  hasItsId: boolean;
  name: string;
  text: AnswerText;
  /** Arguments that came as a value and not as text. */
  value?: unknown;
  /** Whether one value came after another one, and nobody knows which counts. */
  isTwofold: boolean;
  kept: JsonObject | undefined;
  textLength: number;
  valueLength: number;
}

/** A piece of a tool call as it comes; what is left out was said before, or comes later. */
export interface CallPiece {
  /** By which pieces belong together; undefined where the server does not say. */
  at: number | undefined;
  id?: unknown;
  name?: unknown;
  arguments?: unknown;
  /** What the provider wants to see again with this call. */
  kept?: JsonObject | undefined;
}

export interface AnsweredCall {
  call: ToolCall;
  kept: JsonObject | undefined;
}

/** Puts the tool calls of an answer together, in the order in which they began. */
export class AnswerCalls {
  /** Of names and arguments so far, as {@link countedLength} has it. */
  length = 0;
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
    const before = lengthOf(call);
    if (typeof piece.name === "string" && call.name === "") call.name = boundedName(piece.name);
    call.kept ??= piece.kept;
    const { arguments: given } = piece;
    const text = call.text.add(given);
    call.textLength += countedLength(text);
    if (typeof given !== "string" && given !== undefined && given !== null) takeValue(call, given);
    this.length += lengthOf(call) - before;
    if (text === "") return [];
    const { id, name, index } = call;
    return [{ type: "arguments", index, id, name: this.#names.inward(name), text }];
  }

  #find({ at, id, name }: CallPiece): OpenCall {
    const given = typeof id === "string" ? boundedId(id) : "";
    const known = at === undefined ? this.#calls.at(-1) : this.#byPlace.get(at);
    if (known !== undefined && !beginsAnother(known, given, name)) {
      if (given !== "" && !known.hasItsId) Object.assign(known, { id: given, hasItsId: true });
      return known;
    }
    const call: OpenCall = {
      index: this.#calls.length,
      id: given === "" ? newId() : given,
      hasItsId: given !== "",
      name: "",
      text: new AnswerText(),
      isTwofold: false,
      kept: undefined,
      textLength: 0,
      valueLength: 0,
    };
    this.#calls.push(call);
    if (at !== undefined) this.#byPlace.set(at, call);
    return call;
  }

  /** The text of arguments that has come, by the call's id. */
  texts(): Map<string, string> {
    return new Map(this.#calls.map(({ id, text }) => [id, text.content]));
  }

  /** @param isCutOff true when the answer ended at the token limit */
  read(isCutOff: boolean): AnsweredCall[] {
    const ids = new Set<string>();
    return this.#calls.map((call) => {
      const id = ids.has(call.id) ? newId() : call.id;
      ids.add(id);
      const name = this.#names.inward(call.name);
      return { call: { id, name, ...readArguments(call, isCutOff) }, kept: call.kept };
    });
  }
}

const lengthOf = ({ name, textLength, valueLength }: OpenCall): number =>
  countedLength(name) + Math.max(textLength, valueLength);

/** For a call that came without an id, or with another call's: results are told apart by it. */
const newId = () => `call_${randomUUID().replaceAll("-", "")}`;

/** An id goes back to the provider as it is, and some put much into it; what is longer still gets one of ours. */
const longestId = 16_384;

export function boundedId(id: string): string {
  if (id.length <= longestId) return wellFormedText(id);
  return `call_${createHash("sha256").update(id).digest("hex").slice(0, 32)}`;
}

/**
 * The id of a call as a provider takes it: another one may have made it, before a fallback. The same id always becomes
 * the same, so that a call and its result stay together.
 */
export function idAs(form: RegExp, id: string): string {
  return form.test(id) ? id : createHash("sha256").update(id).digest("hex").slice(0, 9);
}

/**
 * Whether a piece belongs to another call than the one that is known at its place. Some servers give all calls of an
 * answer the same place: another id with a name begins another call. Others give each piece of one call an id of its
 * own, and where a name is missing, or the same comes again amid the arguments, it is still that call. Where they give
 * no id at all, a name after whole arguments begins another one.
 */
function beginsAnother(known: OpenCall, id: string, name: unknown): boolean {
  if (id === known.id || typeof name !== "string" || name === "") return false;
  if (known.name !== "" && known.name !== boundedName(name)) return true;
  if (id === "" && known.hasItsId) return false;
  return hasWholeArguments(known) || (known.hasItsId && known.text.content === "");
}

function hasWholeArguments({ text: { content }, value }: OpenCall): boolean {
  return value !== undefined || (content.trimEnd().endsWith("}") && parseJson(content).ok);
}

/** An empty object may stand for arguments that come later, or came before. */
export const isEmpty = (value: unknown): boolean =>
  isJsonObject(value) && Object.keys(value).length === 0;

function takeValue(call: OpenCall, given: unknown): void {
  if (call.value !== undefined && isEmpty(given)) return;
  const isFirst = call.value === undefined || isEmpty(call.value);
  if (!isFirst && !isSame(call.value, given)) call.isTwofold = true;
  call.value = given;
  call.valueLength = countedJsonLength(given);
}

/** What is too deep to be compared is taken for different. */
function isSame(one: unknown, other: unknown): boolean {
  try {
    return isDeepStrictEqual(one, other);
  } catch {
    return false;
  }
}

function readArguments(
  { text: came, value, isTwofold }: OpenCall,
  isCutOff: boolean,
): ReturnType<typeof readAnsweredArguments> {
  const text = came.end();
  if (isCutOff) return readAnsweredArguments(text, isCutOff);
  if (isTwofold) return unreadable("the arguments came as two different objects");
  if (value === undefined || (isEmpty(value) && text.trim() !== "")) {
    return readAnsweredArguments(text, false);
  }
  if (holdsRoundedNumber(value)) {
    return unreadable("the arguments hold a number that can't be kept exactly");
  }
  const inText = parseJson(text);
  const agrees =
    text.trim() === "" || (inText.ok && (isEmpty(inText.value) || isSame(inText.value, value)));
  if (!agrees) return unreadable("the arguments came as an object and as a text that differ");
  return readAnsweredArguments(value, false);
}

const unreadable = (problem: string) => ({ arguments: null, problem });

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
