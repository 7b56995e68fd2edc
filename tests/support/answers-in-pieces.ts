import * as fc from "fast-check";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";

/*
 * One answer of a model, and the ways in which servers put it on the wire: cut at any place, in pieces that say more or
 * less about where they belong, counted at the end, with every piece, too early or never.
 */

export interface SpokenCall {
  id: string;
  name: string;
  arguments: JsonObject;
}

export interface SpokenAnswer {
  text: string;
  calls: SpokenCall[];
  isCutOff: boolean;
  /** `early`: of the output, only one token of it is ever counted. */
  counts: "all" | "early" | "none";
}

/** How a server tells an answer. What a protocol has no word for is passed over. */
export interface Manner {
  /** Where texts are cut, in UTF-16 units, over and over. */
  cuts: number[];
  /** Which pieces of a call have its id: the first, each, each another one, or none. */
  ids: "first" | "each" | "other" | "none";
  nameInEach: boolean;
  hasIndex: boolean;
  /** What stands for the arguments in a call's first piece. */
  placeholder: "" | "object" | "absent";
  /** Arguments that are no text but an object. */
  asObject: boolean;
  takesTurns: boolean;
  countsAlways: boolean;
  /** An end that is said once more, in an event of its own. */
  endsTwice: boolean;
  /** In the responses API: what stands in the last event. */
  atEnd: "all" | "nothing" | "begun";
}

const value = fc.oneof(
  fc.string({ unit: "grapheme" }),
  fc.integer(),
  fc.boolean(),
  fc.constant({}),
);
const args = fc.dictionary(fc.stringMatching(/^[a-z]{1,4}$/u), value, { maxKeys: 3 });

export const answers: fc.Arbitrary<SpokenAnswer> = fc
  .record({
    text: fc.string({ unit: "grapheme", maxLength: 40 }),
    given: fc.array(fc.record({ name: fc.constantFrom("read", "write"), arguments: args }), {
      maxLength: 3,
    }),
    isCutOff: fc.boolean(),
    counts: fc.constantFrom("all" as const, "early" as const, "none" as const),
  })
  .map(({ text, given, ...others }) => ({
    ...others,
    text: text === "" && given.length === 0 ? "hi" : text,
    calls: given.map((call, at) => ({ ...call, id: `call_${at}` })),
  }));

export const manners: fc.Arbitrary<Manner> = fc
  .record({
    cuts: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 }),
    ids: fc.constantFrom("first" as const, "each" as const, "other" as const, "none" as const),
    nameInEach: fc.boolean(),
    hasIndex: fc.boolean(),
    placeholder: fc.constantFrom("" as const, "object" as const, "absent" as const),
    asObject: fc.boolean(),
    takesTurns: fc.boolean(),
    countsAlways: fc.boolean(),
    endsTwice: fc.boolean(),
    atEnd: fc.constantFrom("all" as const, "nothing" as const, "begun" as const),
  })
  .map((manner) => {
    // Where neither an id nor a place tells calls apart, a name is all that begins one.
    const isPlain = manner.ids === "other" || manner.ids === "none";
    const takesTurns = manner.takesTurns && manner.hasIndex;
    return { ...manner, takesTurns, nameInEach: manner.nameInEach && !isPlain };
  });

/** Pieces of a text that say something, cut without regard for characters. */
function piecesOf(text: string, cuts: readonly number[]): string[] {
  const pieces: string[] = [];
  for (let at = 0, cut = 0; at < text.length; cut += 1) {
    const size = cuts[cut % cuts.length] ?? 1;
    pieces.push(text.slice(at, at + size));
    at += size;
  }
  return pieces;
}

function inTurns<T>(lists: readonly (readonly T[])[], takesTurns: boolean): T[] {
  if (!takesTurns) return lists.flat();
  const longest = Math.max(0, ...lists.map(({ length }) => length));
  return Array.from({ length: longest }, (_, at) =>
    lists.flatMap((list) => list.slice(at, at + 1)),
  ).flat();
}

const counted = { input: 1_000, output: 77 };

/** The counts as they stand after a part of the answer, from 0 to 1. */
function outputAt({ counts }: SpokenAnswer, part: number): number {
  return counts === "all" ? Math.max(1, Math.floor(counted.output * part)) : 1;
}

function chatEvents(answer: SpokenAnswer, manner: Manner): object[] {
  const { text, calls, isCutOff, counts } = answer;
  const { cuts, ids, nameInEach, hasIndex, placeholder, asObject } = manner;
  const choice = (delta: object, finish_reason: string | null = null): JsonObject =>
    ({ model: "m", choices: [{ index: 0, delta, finish_reason }] }) as JsonObject;
  const called = calls.map(({ id, name, arguments: given }, index) => {
    const pieces = asObject ? [given] : piecesOf(JSON.stringify(given), cuts);
    const first = placeholder === "absent" ? {} : { arguments: placeholder === "" ? "" : {} };
    return [first, ...pieces.map((piece) => ({ arguments: piece }))].map((piece, at) => ({
      ...(hasIndex ? { index } : {}),
      ...(at === 0 || ids === "each" ? (ids === "none" ? {} : { id }) : {}),
      ...(at > 0 && ids === "other" ? { id: `${id}_${at}` } : {}),
      function: { ...(at === 0 || nameInEach ? { name } : {}), ...piece },
    }));
  });
  const all = [
    ...piecesOf(text, cuts).map((content) => choice({ content })),
    ...inTurns(called, manner.takesTurns).map((call) => choice({ tool_calls: [call] })),
  ];
  const reason = isCutOff ? "length" : calls.length > 0 ? "tool_calls" : "stop";
  const usage = (part: number) => {
    const completion_tokens = outputAt(answer, part);
    return { usage: { prompt_tokens: counted.input, completion_tokens } };
  };
  const running = all.map((chunk, at) => {
    const isCounted = counts !== "none" && (at === 0 || (manner.countsAlways && counts === "all"));
    return isCounted && all.length > 1 ? { ...chunk, ...usage((at + 1) / all.length / 2) } : chunk;
  });
  const last = { ...choice({}, reason), ...(counts === "all" ? usage(1) : {}) };
  const again = counts === "all" ? { choices: [], ...usage(1) } : { choices: [] };
  const early = { ...choice({ content: "" }), ...(counts === "early" ? usage(0) : {}) };
  const rest = counts === "early" ? all : running;
  return [early, ...rest, last, ...(manner.endsTwice ? [again] : [])];
}

function chatDocument({ text, calls, isCutOff, counts }: SpokenAnswer, { asObject }: Manner) {
  const tool_calls = calls.map(({ id, name, arguments: given }) => ({
    id,
    function: { name, arguments: asObject ? given : JSON.stringify(given) },
  }));
  const finish_reason = isCutOff ? "length" : calls.length > 0 ? "tool_calls" : "stop";
  const completion_tokens = counts === "all" ? counted.output : 0;
  return {
    model: "m",
    choices: [{ index: 0, message: { content: text, tool_calls }, finish_reason }],
    ...(counts === "none" ? {} : { usage: { prompt_tokens: counted.input, completion_tokens } }),
  };
}

const anthropicReason = ({ isCutOff, calls }: SpokenAnswer): string =>
  isCutOff ? "max_tokens" : calls.length > 0 ? "tool_use" : "end_turn";

function anthropicEvents(answer: SpokenAnswer, manner: Manner): object[] {
  const { text, calls, counts } = answer;
  const { cuts, placeholder, asObject } = manner;
  const block = (index: number, content_block: object, deltas: object[]) => [
    { type: "content_block_start", index, content_block },
    ...deltas.map((delta) => ({ type: "content_block_delta", index, delta })),
    { type: "content_block_stop", index },
  ];
  const [first = "", ...rest] = piecesOf(text, cuts);
  const begins =
    placeholder === "object" ? ([first, rest] as const) : (["", [first, ...rest]] as const);
  const said = block(
    0,
    { type: "text", text: begins[0] },
    begins[1].map((piece) => ({ type: "text_delta", text: piece })),
  );
  const called = calls.map(({ id, name, arguments: given }, at) => {
    const input = asObject ? given : {};
    const pieces = asObject ? [] : piecesOf(JSON.stringify(given), cuts);
    const begun = {
      type: "tool_use",
      id,
      name,
      ...(placeholder === "absent" && !asObject ? {} : { input }),
    };
    return block(
      at + 1,
      begun,
      pieces.map((partial_json) => ({ type: "input_json_delta", partial_json })),
    );
  });
  const usage = { input_tokens: counted.input, output_tokens: 1 };
  return [
    {
      type: "message_start",
      message: { model: "m", content: [], ...(counts === "none" ? {} : { usage }) },
    },
    ...(text === "" ? [] : said),
    ...inTurns(called, manner.takesTurns),
    {
      type: "message_delta",
      delta: { stop_reason: anthropicReason(answer) },
      ...(counts === "all" ? { usage: { output_tokens: counted.output } } : {}),
    },
    ...(manner.endsTwice ? [{ type: "message_stop" }] : []),
  ];
}

function anthropicDocument(answer: SpokenAnswer) {
  const { text, calls, counts } = answer;
  const called = calls.map(({ id, name, arguments: input }) => ({
    type: "tool_use",
    id,
    name,
    input,
  }));
  const output_tokens = counts === "all" ? counted.output : 0;
  return {
    type: "message",
    model: "m",
    content: [...(text === "" ? [] : [{ type: "text", text }]), ...called],
    stop_reason: anthropicReason(answer),
    ...(counts === "none" ? {} : { usage: { input_tokens: counted.input, output_tokens } }),
  };
}

function responseDocument({ text, calls, isCutOff, counts }: SpokenAnswer) {
  const said = { type: "message", content: [{ type: "output_text", text }] };
  const called = calls.map(({ id, name, arguments: given }) => ({
    type: "function_call",
    call_id: id,
    name,
    arguments: JSON.stringify(given),
  }));
  const output_tokens = counts === "all" ? counted.output : 0;
  return {
    model: "m",
    status: isCutOff ? "incomplete" : "completed",
    output: [...(text === "" ? [] : [said]), ...called],
    ...(counts === "none" ? {} : { usage: { input_tokens: counted.input, output_tokens } }),
  };
}

function responseEvents(answer: SpokenAnswer, manner: Manner): object[] {
  const whole = responseDocument(answer);
  const { cuts, atEnd, endsTwice, asObject, takesTurns } = manner;
  const begun = whole.output.map((item) =>
    "arguments" in item ? { ...item, arguments: "" } : item,
  );
  const output = { all: whole.output, nothing: [], begun }[atEnd];
  const added = whole.output.map((item, output_index) => {
    const isCall = "arguments" in item;
    const type = isCall ? "response.function_call_arguments.delta" : "response.output_text.delta";
    const pieces = piecesOf(isCall ? item.arguments : answer.text, cuts);
    return [
      { type: "response.output_item.added", output_index, item: begun[output_index] },
      ...pieces.map((delta) => ({ type, output_index, delta })),
    ];
  });
  // Some send items alone, or pieces alone: the last event then has all that there was.
  const isInPieces = atEnd !== "all" || !asObject;
  const done = whole.output.map((item, output_index) => ({
    type: "response.output_item.done",
    output_index,
    item,
  }));
  return [
    {
      type: "response.created",
      response: { ...whole, status: "in_progress", output: [], usage: null },
    },
    ...(isInPieces ? inTurns(added, takesTurns) : []),
    ...(endsTwice ? done : []),
    {
      type: answer.isCutOff ? "response.incomplete" : "response.completed",
      response: { ...whole, output },
    },
  ];
}

/** By the name of the provider in the tests: an answer as a server streams it, and as one gives it in one piece. */
export const protocols = {
  openai: { events: chatEvents, document: chatDocument },
  anthropic: { events: anthropicEvents, document: anthropicDocument },
  responses: { events: responseEvents, document: responseDocument },
} as const;
