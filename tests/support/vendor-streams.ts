import type { ServerResponse } from "node:http";
import { setTimeout as wait } from "node:timers/promises";

/** What a model says, from which each vendor's stream is made. */
export interface Spoken {
  text?: readonly string[];
  calls?: readonly { id: string; name: string; pieces: readonly string[] }[];
  /** Why it ends, in chat completions' words. */
  finish?: "stop" | "length" | "tool_calls" | "content_filter";
  usage?: {
    input: number;
    output: number;
    cacheRead?: number;
    write5m?: number;
    write1h?: number;
    /** A part of the output. */
    reasoning?: number;
  };
  refusal?: string;
}

const whole: NonNullable<Spoken["usage"]> = { input: 100, output: 20 };

/** Chat completions: one chunk a piece, the calls' pieces taking turns, the usage last. */
export function chatStream(spoken: Spoken): string {
  const { text = [], calls = [], usage = whole, finish = "stop", refusal } = spoken;
  const base = { id: "chatcmpl-1", object: "chat.completion.chunk", model: "gpt-4o-2024-08-06" };
  const chunk = (delta: object, finish_reason: string | null = null) => ({
    ...base,
    choices: [{ index: 0, delta, finish_reason }],
    usage: null,
  });
  const deltas = text.map((content) => chunk({ content }));
  const begun = calls.map(({ id, name }, index) =>
    chunk({ tool_calls: [{ index, id, type: "function", function: { name, arguments: "" } }] }),
  );
  const pieces = inTurns(calls.map(({ pieces: all }) => all)).map(({ index, piece }) =>
    chunk({ tool_calls: [{ index, function: { arguments: piece } }] }),
  );
  const counted = {
    prompt_tokens: usage.input,
    completion_tokens: usage.output,
    total_tokens: usage.input + usage.output,
    prompt_tokens_details: { cached_tokens: usage.cacheRead ?? 0 },
    completion_tokens_details: { reasoning_tokens: usage.reasoning ?? 0 },
  };
  return [
    chunk({ role: "assistant", content: "" }),
    ...deltas,
    ...(refusal === undefined ? [] : [chunk({ refusal })]),
    ...begun,
    ...pieces,
    chunk({}, finish),
    { ...base, choices: [], usage: counted },
    "[DONE]",
  ]
    .map((data) => `data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`)
    .join("");
}

/** Anthropic's messages: a block after the other, a ping between, the output's count last. */
export function messageStream(spoken: Spoken): string {
  const { text = [], calls = [], usage = whole, finish = "stop" } = spoken;
  const reasons = {
    stop: "end_turn",
    length: "max_tokens",
    tool_calls: "tool_use",
    content_filter: "refusal",
  };
  const written = (usage.write5m ?? 0) + (usage.write1h ?? 0);
  const counted = {
    input_tokens: usage.input - (usage.cacheRead ?? 0) - written,
    output_tokens: 1,
    cache_read_input_tokens: usage.cacheRead ?? 0,
    cache_creation_input_tokens: written,
    cache_creation: {
      ephemeral_5m_input_tokens: usage.write5m ?? 0,
      ephemeral_1h_input_tokens: usage.write1h ?? 0,
    },
  };
  const message = {
    id: "msg_1",
    type: "message",
    role: "assistant",
    model: "claude-sonnet-4-20250514",
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: counted,
  };
  const block = (index: number, content_block: object, deltas: object[]) => [
    { type: "content_block_start", index, content_block },
    ...deltas.map((delta) => ({ type: "content_block_delta", index, delta })),
    { type: "content_block_stop", index },
  ];
  const said =
    text.length === 0
      ? []
      : block(
          0,
          { type: "text", text: "" },
          text.map((piece) => ({ type: "text_delta", text: piece })),
        );
  const called = calls.flatMap(({ id, name, pieces }, at) =>
    block(
      at + 1,
      { type: "tool_use", id, name, input: {} },
      pieces.map((partial_json) => ({ type: "input_json_delta", partial_json })),
    ),
  );
  const delta = { stop_reason: reasons[finish], stop_sequence: null };
  const finalCount = {
    output_tokens: usage.output,
    ...(usage.reasoning ? { output_tokens_details: { thinking_tokens: usage.reasoning } } : {}),
  };
  return [
    { type: "message_start", message },
    { type: "ping" },
    ...said,
    ...called,
    { type: "message_delta", delta, usage: finalCount },
    { type: "message_stop" },
  ]
    .map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
    .join("");
}

/** OpenAI's responses: items as they come, and the whole in the last event. */
export function responseStream(spoken: Spoken): string {
  const { text = [], calls = [], usage = whole, finish = "stop", refusal } = spoken;
  const content = [
    ...(text.length === 0 ? [] : [{ type: "output_text", text: text.join(""), annotations: [] }]),
    ...(refusal === undefined ? [] : [{ type: "refusal", refusal }]),
  ];
  const message = { id: "msg_1", type: "message", role: "assistant", status: "completed", content };
  const items = calls.map(({ id, name, pieces }) => ({
    id: `fc_${id}`,
    type: "function_call",
    status: "completed",
    call_id: id,
    name,
    arguments: pieces.join(""),
  }));
  const output = [...(content.length === 0 ? [] : [message]), ...items];
  const isWhole = finish === "stop" || finish === "tool_calls";
  const response = {
    id: "resp_1",
    object: "response",
    model: "gpt-4.1-2025-04-14",
    status: isWhole ? "completed" : "incomplete",
    error: null,
    incomplete_details: isWhole
      ? null
      : { reason: finish === "length" ? "max_output_tokens" : "content_filter" },
    output,
    usage: {
      input_tokens: usage.input,
      input_tokens_details: { cached_tokens: usage.cacheRead ?? 0 },
      output_tokens: usage.output,
      output_tokens_details: { reasoning_tokens: usage.reasoning ?? 0 },
      total_tokens: usage.input + usage.output,
    },
  };
  const pieces = inTurns(calls.map(({ pieces: all }) => all));
  return [
    { type: "response.created", response: { ...response, status: "in_progress", output: [] } },
    ...text.map((delta) => ({ type: "response.output_text.delta", output_index: 0, delta })),
    ...items.map((item, index) => ({
      type: "response.output_item.added",
      output_index: index + 1,
      item: { ...item, arguments: "" },
    })),
    ...pieces.map(({ index, piece }) => ({
      type: "response.function_call_arguments.delta",
      output_index: index + 1,
      delta: piece,
    })),
    ...output.map((item, index) => ({
      type: "response.output_item.done",
      output_index: index,
      item,
    })),
    { type: isWhole ? "response.completed" : "response.incomplete", response },
  ]
    .map((event, at) => ({ ...event, sequence_number: at }))
    .map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
    .join("");
}

function inTurns(all: readonly (readonly string[])[]): { index: number; piece: string }[] {
  const longest = Math.max(0, ...all.map(({ length }) => length));
  return Array.from({ length: longest }, (_, at) =>
    all.flatMap((pieces, index) => {
      const piece = pieces[at];
      return piece === undefined ? [] : [{ index, piece }];
    }),
  ).flat();
}

/** The vendors by the name of their provider in the tests, a model of theirs and their stream. */
export const streams = [
  { provider: "anthropic", model: "claude-sonnet-4-20250514", stream: messageStream },
  { provider: "openai", model: "gpt-4o", stream: chatStream },
  { provider: "responses", model: "gpt-4.1", stream: responseStream },
] as const;

export interface Delivery {
  /** Bytes of each piece, over and over; all at once when left out. */
  sizes?: readonly number[];
  /** CRLF at the end of lines. */
  crlf?: boolean;
  /** Only so much of the stream is sent: then the connection breaks, or stays open in silence. */
  until?: { part: number; after: "disconnect" | "silence" | "end" };
  pauseMs?: number;
}

/** Answers with a stream of events, in pieces that pay no heed to its lines. */
export function answerStream(events: string, delivery: Delivery = {}) {
  const { sizes, crlf = false, until, pauseMs } = delivery;
  return async (response: ServerResponse): Promise<void> => {
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
    const all = Buffer.from(crlf ? events.replaceAll("\n", "\r\n") : events);
    const bytes = all.subarray(0, Math.floor(all.length * (until?.part ?? 1)));
    let at = 0;
    for (let piece = 0; at < bytes.length; piece += 1) {
      const size = sizes?.[piece % sizes.length] ?? bytes.length;
      response.write(bytes.subarray(at, at + size));
      at += size;
      // Each piece travels by itself.
      if (pauseMs !== undefined) await wait(pauseMs);
      else if (piece % 8 === 0) await new Promise(setImmediate);
      if (response.destroyed) return;
    }
    if (until?.after === "disconnect") setTimeout(() => response.destroy(), 20);
    else if (until?.after !== "silence") response.end();
  };
}
