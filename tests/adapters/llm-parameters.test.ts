import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { writeParams } from "../../adapters/llm/parameters.ts";
import { createModels } from "../../adapters/llm/models.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { ModelRequest } from "../../machines/contracts/ports/model-provider.ts";
import { answerJson } from "../support/answer-json.ts";
import { chatCompletion } from "../support/chat-completion.ts";
import { conversation, lookUp, plain } from "../support/model-requests.ts";
import { useVendors, vendorProviders } from "../support/vendor-server.ts";
import {
  answerStream,
  chatStream,
  messageStream,
  responseStream,
} from "../support/vendor-streams.ts";

const never = new AbortController().signal;
const { vendor } = useVendors();

const all: JsonObject = {
  temperature: 0.5,
  top_p: 0.9,
  top_k: 5,
  stop: ["END"],
  seed: 7,
  presence_penalty: 0.1,
  frequency_penalty: 0.1,
  reasoning_effort: "low",
};

describe("model parameters [llm.parameters]", () => {
  test.each([
    [
      "chat",
      "gpt-4o",
      ["reasoning_effort", "top_k"],
      {
        temperature: 0.5,
        top_p: 0.9,
        stop: ["END"],
        seed: 7,
        presence_penalty: 0.1,
        frequency_penalty: 0.1,
      },
    ],
    [
      "chat",
      "o3-mini",
      ["frequency_penalty", "presence_penalty", "seed", "stop", "temperature", "top_k", "top_p"],
      { reasoning_effort: "low" },
    ],
    [
      "chat",
      "openai/gpt-5-mini",
      ["frequency_penalty", "presence_penalty", "seed", "stop", "temperature", "top_k", "top_p"],
      { reasoning_effort: "low" },
    ],
    [
      "responses",
      "gpt-5",
      ["frequency_penalty", "presence_penalty", "seed", "stop", "temperature", "top_k", "top_p"],
      { reasoning: { effort: "low" } },
    ],
    [
      "anthropic",
      "claude-sonnet-4-20250514",
      ["frequency_penalty", "presence_penalty", "reasoning_effort", "seed", "top_p"],
      { temperature: 0.5, top_k: 5, stop_sequences: ["END"] },
    ],
    [
      "anthropic",
      "claude-opus-4-7",
      ["frequency_penalty", "presence_penalty", "seed", "temperature", "top_k", "top_p"],
      { stop_sequences: ["END"], output_config: { effort: "low" } },
    ],
  ] as const)("of %s for %s: %j are left out and named", (protocol, model, dropped, written) => {
    const { temperature, ...params } = all;
    const request: ModelRequest = { ...plain(model), temperature: Number(temperature), params };
    expect(writeParams(protocol, request)).toEqual({ written, dropped });
  });

  test("that nobody knows, or of a wrong kind, are named and never sent; null is absent", () => {
    const params = {
      temprature: 1,
      __proto__: 1,
      constructor: 2,
      seed: "seven",
      top_p: 3,
      stop: null,
      model: "gpt-evil",
      messages: [],
    };
    expect(writeParams("chat", { ...plain("gpt-4o"), params })).toEqual({
      written: {},
      dropped: ["constructor", "messages", "model", "seed", "temprature", "top_p"],
    });
  });

  test("each given one is either written or named, whatever it is", () => {
    const names = fc.constantFrom(
      ...Object.keys(all),
      "thinking",
      "verbosity",
      "model",
      "stream",
      "n",
    );
    const params = fc.dictionary(
      names,
      fc.jsonValue().map((value) => value as never),
    );
    const model = fc.constantFrom("gpt-4o", "o1", "gpt-5", "claude-opus-4-5", "llama3.2");
    const protocol = fc.constantFrom("chat" as const, "responses" as const, "anthropic" as const);
    fc.assert(
      fc.property(protocol, model, params, (how, named, given) => {
        const { written, dropped } = writeParams(how, { ...plain(named), params: given });
        const absent = Object.values(given).filter((value) => value === null).length;
        expect(Object.keys(written).length + dropped.length + absent).toBeGreaterThanOrEqual(
          Object.keys(given).length,
        );
        for (const key of ["model", "stream", "messages", "n"])
          expect(written).not.toHaveProperty(key);
        expect(dropped.every((name) => name in given)).toBe(true);
      }),
    );
  });

  test.each([
    ["anthropic/claude-opus-4-7", messageStream, { max_tokens: 10 }],
    ["chat/o3-mini", chatStream, { max_completion_tokens: 10 }],
    ["openai/llama3.2", chatStream, { max_tokens: 10, temperature: 0.5 }],
    ["responses/gpt-5", responseStream, { max_output_tokens: 10 }],
  ] as const)(
    "of %s are said in the reply, and the limit has its own name",
    async (model, stream, sent) => {
      const { models, seen } = await vendor(answerStream(stream({ text: ["hi"] })));
      const params = { nonsense: true, seed: null };
      const outcome = await models.complete({ ...plain(model), temperature: 0.5, params }, never);
      const keeps = "temperature" in sent;
      expect(outcome).toMatchObject({
        value: { droppedParams: keeps ? ["nonsense"] : ["nonsense", "temperature"] },
      });
      expect(seen[0]?.body).toMatchObject(sent);
      if (!keeps) expect(seen[0]?.body).not.toHaveProperty("temperature");
    },
  );
});

describe("what a conversation needs to go on", () => {
  const spoken = {
    text: ["Let me look."],
    calls: [{ id: "call_1", name: "files_look-up", pieces: ['{"word":"lease"}'] }],
    finish: "tool_calls" as const,
  };

  /** Asks, puts the reply and a result into the conversation, and asks again. */
  async function twice(model: string, stream: string) {
    const { models, seen } = await vendor(answerStream(stream));
    const request: ModelRequest = { ...plain(model), tools: [lookUp] };
    const first = await models.complete(request, never);
    if (!first.ok) throw new Error(first.failure.message);
    const { content, toolCalls, echo } = first.value;
    await models.complete(
      {
        ...request,
        toolChoice: "none",
        messages: [
          ...request.messages,
          { role: "assistant", content, toolCalls, ...(echo === undefined ? {} : { echo }) },
          { role: "tool", toolCallId: "call_1", content: "a right" },
        ],
      },
      never,
    );
    return { reply: first.value, body: seen[1]?.body ?? {} };
  }

  test("Anthropic's thinking goes back signed, before the call it led to [llm.echo]", async () => {
    const thinking = [
      {
        type: "content_block_start",
        index: 9,
        content_block: { type: "thinking", thinking: "", signature: "" },
      },
      {
        type: "content_block_delta",
        index: 9,
        delta: { type: "thinking_delta", thinking: "Hmm, " },
      },
      {
        type: "content_block_delta",
        index: 9,
        delta: { type: "thinking_delta", thinking: "a lease." },
      },
      {
        type: "content_block_delta",
        index: 9,
        delta: { type: "signature_delta", signature: "c2ln" },
      },
      { type: "content_block_stop", index: 9 },
    ].map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    const stream = messageStream(spoken).replace("event: ping", `${thinking.join("")}event: ping`);
    const { body } = await twice("anthropic/claude-sonnet-4-20250514", stream);
    const [, assistant] = body["messages"] as { content: object[] }[];
    expect(assistant?.content).toEqual([
      { type: "thinking", thinking: "Hmm, a lease.", signature: "c2ln" },
      { type: "text", text: "Let me look." },
      { type: "tool_use", id: "call_1", name: "files_look-up", input: { word: "lease" } },
    ]);
    expect(body).toMatchObject({ tool_choice: { type: "none" } });
  });

  test("OpenAI's reasoning goes back as it came, and nothing is kept there [llm.echo]", async () => {
    const reasoning = { type: "reasoning", id: "rs_1", summary: [], encrypted_content: "gAAA" };
    const stream = responseStream(spoken).replaceAll(
      '"output":[{',
      `"output":[${JSON.stringify(reasoning)},{`,
    );
    const { body } = await twice("responses/gpt-5", stream);
    expect(body).toMatchObject({
      store: false,
      include: ["reasoning.encrypted_content"],
      tool_choice: "none",
      input: [
        { role: "user" },
        reasoning,
        { type: "message", role: "assistant" },
        { type: "function_call", call_id: "call_1", arguments: '{"word":"lease"}' },
        { type: "function_call_output", call_id: "call_1", output: "a right" },
      ],
    });
  });

  test("what a compatible server hangs on a call goes back with it [llm.echo]", async () => {
    const extra = { google: { thought_signature: "c2ln" } };
    const stream = chatStream(spoken).replace(
      '"type":"function",',
      `"type":"function","extra_content":${JSON.stringify(extra)},`,
    );
    const { body } = await twice("openai/gemini-3-pro", stream);
    expect(body["messages"]).toMatchObject([
      { role: "user" },
      { role: "assistant", tool_calls: [{ id: "call_1", extra_content: extra }] },
      { role: "tool", tool_call_id: "call_1" },
    ]);
  });

  test.each([
    ["", ""],
    ["a", "a"],
  ])(
    "it does so where calls come without an id of their own: %j, %j [llm.echo]",
    async (...ids) => {
      const calls = ids.map((id, at) => ({
        index: at,
        id,
        type: "function",
        extra_content: { google: { thought_signature: `signature ${at}` } },
        function: { name: "files_look-up", arguments: "{}" },
      }));
      const { models, seen } = await vendor(
        answerJson(chatCompletion({ tool_calls: calls }, "tool_calls")),
      );
      const asked = { ...conversation, model: "openai/gemini-3-pro" };
      const first = await models.complete(asked, never);
      if (!first.ok) throw new Error(first.failure.message);
      const { content, toolCalls, echo } = first.value;
      const said = { role: "assistant" as const, content, toolCalls, ...(echo ? { echo } : {}) };
      await models.complete({ ...asked, messages: [...asked.messages, said] }, never);
      const sent = (seen[1]?.body["messages"] as { tool_calls?: object[] }[] | undefined)?.at(
        -1,
      )?.tool_calls;
      expect(sent).toMatchObject(calls.map(({ extra_content }) => ({ extra_content })));
    },
  );

  test("another provider is not shown what one wants to see again", async () => {
    const { models, seen } = await vendor(answerStream(chatStream({ text: ["hi"] })));
    const messages = conversation.messages.map((message) =>
      message.role === "assistant"
        ? { ...message, echo: { provider: "anthropic", items: [{ type: "thinking" }] } }
        : message,
    );
    await models.complete({ ...conversation, messages }, never);
    expect(JSON.stringify(seen[0]?.body)).not.toContain("thinking");
  });

  test("a single question is not written to Anthropic's cache; a loop's prefix is [llm.cache]", async () => {
    const { models, seen } = await vendor(answerStream(messageStream({ text: ["hi"] })));
    const model = "anthropic/claude-sonnet-4-20250514";
    await models.complete(plain(model), never);
    await models.complete({ ...conversation, model }, never);
    const marks = seen.map(({ body }) => JSON.stringify(body).split("cache_control").length - 1);
    // The system prompt, which covers the tools before it, and the last message.
    expect(marks).toEqual([0, 2]);
  });
});

test.each([
  ["anthropic", "claude-opus-4-5", messageStream, "output_config"],
  ["chat", "gpt-4o", chatStream, "response_format"],
  ["responses", "gpt-4.1", responseStream, "text"],
] as const)("%s is held to a schema in its own words", async (provider, model, stream, key) => {
  const { url, seen } = await vendor(answerStream(stream({ text: ["{}"] })));
  const models = createModels({ providers: vendorProviders(url) });
  const responseSchema = {
    type: "object",
    properties: { word: { type: "string" } },
    required: ["word"],
    additionalProperties: false,
  };
  await models.complete({ ...plain(`${provider}/${model}`), responseSchema }, never);
  const sent = JSON.stringify(seen[0]?.body[key]);
  expect(sent).toContain(JSON.stringify(responseSchema));
  if (provider !== "anthropic") expect(sent).toContain('"strict":true');
});

test.each([
  ["an open object", { type: "object", properties: { a: { type: "string" } } }],
  ["a bound", { type: "number", minimum: 3 }],
  ["a reference to itself", { $ref: "#" }],
])("a schema with %s is not forced on a provider that would refuse it", async (_what, schema) => {
  const claude = await vendor(answerStream(messageStream({ text: ["3"] })));
  const request = { ...plain("anthropic/claude-opus-4-5"), responseSchema: schema };
  await claude.models.complete(request, never);
  expect(claude.seen[0]?.body).not.toHaveProperty("output_config");
  const gpt = await vendor(answerStream(chatStream({ text: ["3"] })));
  await gpt.models.complete({ ...plain("chat/gpt-4o"), responseSchema: schema }, never);
  expect(JSON.stringify(gpt.seen[0]?.body["response_format"])).not.toContain("strict");
});
