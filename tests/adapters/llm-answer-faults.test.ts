import { describe, expect, it } from "vitest";
import { toFailure } from "../../actors/handlers/agent-output.ts";
import type { ModelRequest } from "../../machines/contracts/ports/model-provider.ts";
import { lookUp, plain } from "../support/model-requests.ts";
import { useVendors } from "../support/vendor-server.ts";

/*
 * Answers that a server has got wrong: calls whose arguments came twice or under other ids, calls that were lost, ends
 * that nothing follows, names without end. What can be known of them is taken; what can't runs nothing.
 */

const never = new AbortController().signal;
const { vendor } = useVendors();

const chunk = (delta: object, finish_reason: string | null = null) => ({
  model: "m",
  choices: [{ index: 0, delta, finish_reason }],
});
const call = (given: { id?: string; name?: string; arguments?: unknown }) => {
  const { id, ...called } = given;
  return chunk({
    tool_calls: [{ index: 0, ...(id === undefined ? {} : { id }), function: called }],
  });
};

/** What comes of a stream of these events, or of a document. */
async function outcomeOf(provider: string, said: readonly object[] | object, asked?: ModelRequest) {
  const body = Array.isArray(said)
    ? said
        .map((event: { type?: string }) => {
          const type = event.type === undefined ? "" : `event: ${event.type}\n`;
          return `${type}data: ${JSON.stringify(event)}\n\n`;
        })
        .join("")
    : JSON.stringify(said);
  const { models } = await vendor((response) => response.end(body));
  return models.complete({ ...plain(`${provider}/m`), tools: [lookUp], ...asked }, never);
}

async function replyTo(provider: string, said: readonly object[] | object) {
  const outcome = await outcomeOf(provider, said);
  if (!outcome.ok) throw new Error(outcome.failure.message);
  return outcome.value;
}

const name = lookUp.name;
const word = { word: "b" };
const start = {
  type: "message_start",
  message: { model: "m", content: [], usage: { input_tokens: 9, output_tokens: 1 } },
};
const block = (content_block: object, index = 0) => ({
  type: "content_block_start",
  index,
  content_block,
});
const delta = (piece: object, index = 0) => ({ type: "content_block_delta", index, delta: piece });
const messageEnd = (stop_reason: string) => ({
  type: "message_delta",
  delta: { stop_reason },
  usage: { output_tokens: 50 },
});

describe("a call's arguments", () => {
  const json = (partial_json: string) => delta({ type: "input_json_delta", partial_json });
  const begun = (input?: object) => block({ type: "tool_use", id: "a", name, input });
  const item = (given: unknown) => ({
    type: "function_call",
    call_id: "a",
    name,
    arguments: given,
  });
  const done = (given: unknown) => ({
    type: "response.completed",
    response: { status: "completed", output: [item(given)] },
  });
  const pieces = (text: string) => ({
    type: "response.function_call_arguments.delta",
    output_index: 0,
    delta: text,
  });
  const added = { type: "response.output_item.added", output_index: 0, item: item("") };

  it.each([
    [
      "openai",
      [
        call({ id: "a", name, arguments: {} }),
        call({ arguments: '{"word":' }),
        call({ arguments: '"b"}' }),
        chunk({}, "tool_calls"),
      ],
    ],
    [
      "openai",
      [
        call({ id: "a", name, arguments: '{"word":"b"}' }),
        call({ arguments: {} }),
        chunk({}, "tool_calls"),
      ],
    ],
    [
      "openai",
      [
        call({ id: "a", name, arguments: "" }),
        call({ id: "b", arguments: '{"word":' }),
        call({ id: "c", arguments: '"b"}' }),
        chunk({}, "tool_calls"),
      ],
    ],
    [
      "openai",
      [
        call({ name, arguments: "" }),
        call({ id: "a", name, arguments: '{"word":"b"}' }),
        call({ id: "a", name, arguments: "" }),
        chunk({}, "tool_calls"),
      ],
    ],
    ["anthropic", [start, begun({}), json('{"word":'), json('"b"}'), messageEnd("tool_use")]],
    ["anthropic", [start, begun(word), json('{"word":"b"}'), messageEnd("tool_use")]],
    ["responses", [added, pieces('{"word":'), pieces('"b"}'), done("")]],
    ["responses", [added, pieces('{"word":"b"}'), done("{}")]],
    ["responses", [added, done('{"word":"b"}')]],
  ])(
    "are the model's, with an empty object beside them, or ids of their own (%s, case %#) [llm.arguments]",
    async (provider, events) => {
      const { toolCalls } = await replyTo(provider, events);
      expect(toolCalls).toMatchObject([{ name, arguments: word }]);
    },
  );

  it.each([
    [
      "openai",
      [
        call({ id: "a", name, arguments: { word: "a" } }),
        call({ arguments: '{"word":"b"}' }),
        chunk({}, "tool_calls"),
      ],
    ],
    [
      "openai",
      [
        call({ id: "a", name, arguments: { word: "a" } }),
        call({ arguments: word }),
        chunk({}, "tool_calls"),
      ],
    ],
    [
      "openai",
      [
        call({ id: "a", name, arguments: '{"word":"a"}' }),
        call({ id: "a", name, arguments: '{"word":"b"}' }),
        chunk({}, "tool_calls"),
      ],
    ],
    ["anthropic", [start, begun({ word: "a" }), json('{"word":"b"}'), messageEnd("tool_use")]],
  ])(
    "that came twice and differ run nothing (%s, case %#) [llm.arguments]",
    async (provider, events) => {
      const { toolCalls } = await replyTo(provider, events);
      expect(toolCalls).toMatchObject([{ arguments: null, problem: expect.any(String) }]);
    },
  );
});

describe("a message that ended to call tools", () => {
  it.each([
    ["openai", [chunk({ content: "" }), chunk({}, "tool_calls")]],
    ["openai", [chunk({ content: "<tool_call>" }), chunk({}, "function_call")]],
    [
      "openai",
      { choices: [{ finish_reason: "tool_use", message: { content: "", tool_calls: [] } }] },
    ],
    ["anthropic", [start, block({ type: "text", text: "" }), messageEnd("tool_use")]],
    [
      "responses",
      { status: "completed", output: [{ type: "custom_tool_call", name, input: "b" }] },
    ],
  ])(
    "and holds none that can be read has lost them, and says so (%s, case %#) [llm.lost-calls]",
    async (provider, said) => {
      const reply = await replyTo(provider, said);
      // The loop takes this for an answer that is cut off: only "stop" without calls is one.
      expect(reply).toMatchObject({ finishReason: "tool_calls", toolCalls: [] });
      const limits = { maxIterations: 25, maxTokens: 10 };
      const turns = [{ reply, results: [] }];
      const failure = toFailure("cut_off", { failure: null, turns }, limits);
      expect(failure.message).toContain("holds no call that can be read");
    },
  );

  it("in OpenAI's older form holds its one call, unless it comes in both [llm.lost-calls]", async () => {
    const old = { name, arguments: '{"word":"b"}' };
    const whole = (message: object) => ({ choices: [{ message, finish_reason: "function_call" }] });
    const both = { function_call: old, tool_calls: [{ id: "a", function: old }] };
    const answers = [
      [
        chunk({ function_call: { name, arguments: '{"word":' } }),
        chunk({ function_call: { arguments: '"b"}' } }),
        chunk({}, "function_call"),
      ],
      whole({ content: null, function_call: old }),
      whole(both),
    ];
    for (const said of answers) {
      const { toolCalls, finishReason } = await replyTo("openai", said);
      expect(toolCalls).toMatchObject([{ name, arguments: word }]);
      expect(finishReason).toBe("tool_calls");
    }
  });
});

describe("an answer that has said why it ended", () => {
  const said = [
    start,
    block({ type: "text", text: "" }),
    delta({ type: "text_delta", text: "all" }),
    messageEnd("end_turn"),
  ];
  const error = { type: "error", error: { type: "overloaded_error", message: "late" } };
  const completed = {
    type: "response.completed",
    response: {
      status: "completed",
      output: [{ type: "message", content: [{ type: "output_text", text: "all" }] }],
      usage: { input_tokens: 9, output_tokens: 50 },
    },
  };

  it.each([
    ["anthropic", said],
    ["anthropic", [...said, error]],
    ["anthropic", [...said, { type: "message_stop" }, error]],
    ["responses", [completed, error]],
    ["responses", [completed, { type: "response.failed", response: { status: "failed" } }]],
  ])(
    "is taken, though nothing follows, or an error does (%s, case %#) [llm.tail]",
    async (provider, events) => {
      expect(await replyTo(provider, events)).toMatchObject({
        content: "all",
        finishReason: "stop",
        usage: { inputTokens: 9, outputTokens: 50 },
      });
    },
  );

  it("of Anthropic's is not whole by what its beginning says of its end [llm.tail]", async () => {
    const early = { ...start, message: { ...start.message, stop_reason: "end_turn" } };
    const broken = [early, ...said.slice(1, -1)];
    expect(await outcomeOf("anthropic", broken)).toMatchObject({
      failure: { details: { reason: "network" } },
    });
  });
});

it("an image is a part of a turn, and no text that looks like one is counted as an image [llm.counts]", async () => {
  const long = `data:image/png;base64,${"A".repeat(30_000)}`;
  const used = async (provider: string, messages: ModelRequest["messages"]) => {
    const request = { ...plain(`${provider}/m`), messages };
    const answers: Record<string, object> = {
      openai: { choices: [{ message: { content: "hi" }, finish_reason: "stop" }] },
      anthropic: { content: [{ type: "text", text: "hi" }], stop_reason: "end_turn" },
      responses: completedHi,
    };
    const outcome = await outcomeOf(provider, answers[provider] ?? {}, request);
    return outcome.ok ? outcome.value.usage.inputTokens : 0;
  };
  const completedHi = {
    status: "completed",
    output: [{ type: "message", content: [{ type: "output_text", text: "hi" }] }],
  };
  const asked = { role: "user" as const, content: "What is it?" };
  const arguments_ = { data: long, media_type: "image/png", type: "image" };
  for (const provider of ["openai", "anthropic", "responses"]) {
    const texts: ModelRequest["messages"][] = [
      [{ role: "user", content: long }],
      [
        asked,
        { role: "assistant", content: "", toolCalls: [{ id: "a", name, arguments: arguments_ }] },
        { role: "tool", toolCallId: "a", content: "ok" },
      ],
      [
        asked,
        { role: "assistant", content: "", toolCalls: [{ id: "a", name, arguments: {} }] },
        { role: "tool", toolCallId: "a", content: long },
      ],
    ];
    for (const messages of texts) expect(await used(provider, messages)).toBeGreaterThan(10_000);
    const parts = [{ type: "image" as const, url: long }];
    expect(await used(provider, [{ ...asked, parts }])).toBeLessThan(2_000);
  }
});

it("names and ids are bounded, and calls are known by their bounded ids to their provider too [llm.bounds]", async () => {
  const long = "x".repeat(200_000);
  const thinking = { type: "thinking", thinking: "hm", signature: "s" };
  const reasoning = { type: "reasoning", encrypted_content: "e" };
  const answers = {
    openai: {
      model: long,
      choices: [
        {
          message: {
            tool_calls: [{ id: long, extra_content: { a: 1 }, function: { name: long } }],
          },
        },
      ],
    },
    anthropic: {
      model: long,
      stop_reason: "tool_use",
      content: [thinking, { type: "tool_use", id: long, name: long, input: {} }],
    },
    responses: {
      model: long,
      status: "completed",
      output: [reasoning, { type: "function_call", call_id: long, name: long }],
    },
  };
  for (const [provider, said] of Object.entries(answers)) {
    const { model, toolCalls, echo } = await replyTo(provider, said);
    const [{ id, name: called } = { id: "", name: "" }] = toolCalls;
    expect(model.length + id.length + called.length).toBeLessThan(1_000);
    expect(JSON.stringify(echo?.items)).toContain(`"${id}"`);
  }
});

it("what a provider wants to see again with a call goes back with it, whatever ids its calls have [llm.echo]", async () => {
  const thinking = { type: "thinking", thinking: "hm", signature: "s" };
  for (const ids of [
    ["a", "a"],
    ["", ""],
  ]) {
    const chat = ids.map((id, at) => ({ id, extra_content: { at }, function: { name } }));
    const blocks = ids.map((id, at) => ({ type: "tool_use", id, name, input: { word: `${at}` } }));
    const said = [
      ["openai", { choices: [{ message: { tool_calls: chat }, finish_reason: "tool_calls" }] }],
      ["anthropic", { content: [thinking, ...blocks], stop_reason: "tool_use" }],
    ] as const;
    for (const [provider, document] of said) {
      const { toolCalls, echo } = await replyTo(provider, document);
      const items = (echo?.items ?? []) as { type?: string; id: string }[];
      expect(new Set(toolCalls.map(({ id }) => id)).size).toBe(2);
      expect(items.filter(({ type }) => type !== "thinking")).toMatchObject(
        toolCalls.map(({ id }, at) =>
          provider === "openai" ? { id, extra_content: { at } } : { id, input: { word: `${at}` } },
        ),
      );
    }
  }
});

it.each(["openai", "anthropic", "responses"])(
  "an answer of %s in one piece that breaks off, or can't be read, is billed by its bytes [llm.used]",
  async (provider) => {
    const content = "word ".repeat(3_000);
    const body = JSON.stringify({ content, id: "?" });
    for (const said of [body.slice(0, -1), body.replace('"?"', "1e999")]) {
      const { models } = await vendor((response) => response.end(said));
      const outcome = await models.complete(plain(`${provider}/m`), never);
      const used = outcome.ok ? null : outcome.failure.details?.["usage"];
      expect((used as { outputTokens: number } | null)?.outputTokens).toBeGreaterThan(4_000);
    }
    // A page is no answer of a model.
    const { models } = await vendor((response) => response.end(`<html>${content}</html>`));
    const outcome = await models.complete(plain(`${provider}/m`), never);
    const used = outcome.ok ? null : outcome.failure.details?.["usage"];
    expect((used as { outputTokens: number } | null)?.outputTokens).toBe(0);
  },
);
