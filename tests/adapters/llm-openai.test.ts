import { describe, expect, test } from "vitest";
import { answerJson } from "../support/answer-json.ts";
import { chatCompletion } from "../support/chat-completion.ts";
import { conversation, lookUp, plain } from "../support/model-requests.ts";
import { useVendors } from "../support/vendor-server.ts";
import { answerStream } from "../support/vendor-streams.ts";

const never = new AbortController().signal;
const { vendor } = useVendors();

const functionCall = (args: string | null) => ({
  content: null,
  tool_calls: [
    { id: "call_9", type: "function", function: { name: "files_look-up", arguments: args } },
  ],
});

describe("OpenAI's chat completions", () => {
  test("get the whole conversation in their own words, and the key as a header", async () => {
    const { models, seen } = await vendor(
      answerJson(chatCompletion({ content: "A right." }, "stop")),
    );
    const outcome = await models.complete(conversation, never);

    expect(outcome).toEqual({
      ok: true,
      value: {
        provider: "openai",
        model: "gpt-4o-2024-08-06",
        content: "A right.",
        toolCalls: [],
        finishReason: "stop",
        usage: {
          inputTokens: 1000,
          outputTokens: 50,
          cacheReadTokens: 400,
          reasoningTokens: 20,
        },
      },
    });
    expect(seen[0]?.path).toBe("/v1/chat/completions");
    expect(seen[0]?.headers).toMatchObject({
      authorization: "Bearer sk-test-openai",
      "idempotency-key": expect.stringMatching(/^run_1:step_1:model:0-[\da-f]{16}$/u),
    });
    expect(seen[0]?.body).toEqual({
      model: "gpt-4o",
      max_tokens: 500,
      stream: true,
      stream_options: { include_usage: true },
      temperature: 0.2,
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", content: "What is a lease?" },
        {
          role: "assistant",
          content: null,
          tool_calls: [
            {
              id: "call_1",
              type: "function",
              function: { name: "files_look-up", arguments: '{"word":"lease"}' },
            },
            {
              id: "call_2",
              type: "function",
              function: { name: "files_look-up", arguments: '{"word":"fence"}' },
            },
          ],
        },
        { role: "tool", tool_call_id: "call_1", content: "a right" },
        { role: "tool", tool_call_id: "call_2", content: "Error: no such word" },
      ],
      tools: [
        {
          type: "function",
          function: {
            name: "files_look-up",
            description: "Looks a word up",
            parameters: lookUp.inputSchema,
          },
        },
      ],
    });
  });

  test("name their tools as we do, with parsed arguments", async () => {
    const answer = chatCompletion(functionCall('{"word":"fence"}'), "tool_calls");
    const { models } = await vendor(answerJson(answer));
    expect(await models.complete(conversation, never)).toMatchObject({
      value: {
        finishReason: "tool_calls",
        content: "",
        toolCalls: [{ id: "call_9", name: "files.look-up", arguments: { word: "fence" } }],
      },
    });
  });

  test.each(["", "  "])("may ask without arguments (%j), which are none", async (text) => {
    const { models } = await vendor(answerJson(chatCompletion(functionCall(text), "tool_calls")));
    expect(await models.complete(conversation, never)).toMatchObject({
      value: { toolCalls: [{ arguments: {} }] },
    });
  });

  test("may give their text in parts", async () => {
    const content = [
      { type: "text", text: "A " },
      { type: "text", text: "right." },
    ];
    const { models } = await vendor(answerJson(chatCompletion({ content }, "stop")));
    expect(await models.complete(plain("gpt-4o"), never)).toMatchObject({
      value: { content: "A right." },
    });
  });

  test.each([
    [{ error: { code: 429, message: "slow down" } }, "rate_limited", true],
    [{ error: { code: 502, message: "the provider is away" } }, "unavailable", true],
    [{ error: { code: "server_error", message: "odd" } }, "unavailable", true],
    [{ error: { code: 400, message: "no such field" } }, "model_failed", false],
    [{ error: { code: "insufficient_quota", message: "no money" } }, "model_failed", false],
    [chatCompletion({ content: "half an ans" }, "error"), "unavailable", true],
    [
      { choices: [{ error: { code: 503, message: "gone" }, message: { content: "" } }] },
      "unavailable",
      true,
    ],
  ])("may bring an error inside a 200: %j is %s, retryable: %s", async (body, kind, passes) => {
    const { models } = await vendor(answerJson(body));
    expect(await models.complete(plain("gpt-4o"), never)).toMatchObject({
      ok: false,
      failure: { kind, retryable: passes },
    });
  });

  test.each(['{"word":', '"fence"', "[1]", "null"])(
    "may ask with the arguments %j, and then nothing can be run",
    async (args) => {
      const { models } = await vendor(answerJson(chatCompletion(functionCall(args), "tool_calls")));
      expect(await models.complete(conversation, never)).toMatchObject({
        value: {
          toolCalls: [{ arguments: null, problem: "the arguments are not a JSON object" }],
        },
      });
    },
  );

  test.each(["", null])("may ask with %j for arguments, which are none", async (args) => {
    const { models } = await vendor(answerJson(chatCompletion(functionCall(args), "tool_calls")));
    expect(await models.complete(conversation, never)).toMatchObject({
      value: { toolCalls: [{ arguments: {} }] },
    });
  });

  test("may ask with an id that a double cannot hold, and then nothing can be run [number.exact]", async () => {
    const args = '{"id":9007199254740993}';
    const { models } = await vendor(answerJson(chatCompletion(functionCall(args), "tool_calls")));
    expect(await models.complete(conversation, never)).toMatchObject({
      value: {
        toolCalls: [
          { arguments: null, problem: expect.stringMatching(/number at id .*9007199254740993$/) },
        ],
      },
    });
  });

  test("may be cut off at the token limit, and then even whole arguments are not run", async () => {
    const { models } = await vendor(
      answerJson(chatCompletion(functionCall('{"word":"f"}'), "length")),
    );
    expect(await models.complete(conversation, never)).toMatchObject({
      value: {
        finishReason: "length",
        toolCalls: [{ arguments: null, problem: "cut off at the token limit" }],
      },
    });
  });

  test("may refuse, by their filter or in words", async () => {
    const filtered = await vendor(answerJson(chatCompletion({ content: null }, "content_filter")));
    const refused = await vendor(
      answerJson(chatCompletion({ content: null, refusal: "I can't." }, "stop")),
    );
    expect(await filtered.models.complete(plain("gpt-4o"), never)).toMatchObject({
      value: { finishReason: "refusal", content: "" },
    });
    expect(await refused.models.complete(plain("gpt-4o"), never)).toMatchObject({
      value: { finishReason: "refusal", content: "I can't." },
    });
  });

  test.each([null, undefined])(
    "may leave out the usage (%s), which then is estimated",
    async (usage) => {
      const body = { ...chatCompletion({ content: "hi" }, "stop"), usage };
      const { models } = await vendor(answerJson(body));
      expect(await models.complete(plain("gpt-4o"), never)).toMatchObject({
        ok: true,
        value: { usage: { inputTokens: 47, outputTokens: 1, estimated: true } },
      });
    },
  );

  test.each([5, true, { text: "hi" }])(
    "a content of %j is never taken for an empty answer",
    async (content) => {
      const choices = [
        { index: 0, message: { role: "assistant", content }, finish_reason: "stop" },
      ];
      const { models } = await vendor(answerJson({ object: "chat.completion", choices }));
      expect(await models.complete(plain("gpt-4o"), never)).toMatchObject({
        failure: { kind: "model_failed", details: { reason: "bad_answer" } },
      });
    },
  );

  test("without choices are out of contract", async () => {
    const { models } = await vendor(answerJson({ object: "chat.completion", choices: [] }));
    expect(await models.complete(plain("gpt-4o"), never)).toMatchObject({
      failure: { kind: "model_failed", retryable: false },
    });
  });

  const look = (word: string) => ({ name: "files_look-up", arguments: `{"word":"${word}"}` });
  const delta = (call: object) => ({ choices: [{ delta: { tool_calls: [call] } }] });
  const finish = { choices: [{ delta: {}, finish_reason: "tool_calls" }] };
  const streamed = (...chunks: object[]) =>
    [...chunks, finish].map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join("");

  test.each([
    [
      "all at one place",
      streamed(
        ...["a", "b"].map((word) => delta({ index: 0, id: `c_${word}`, function: look(word) })),
      ),
    ],
    [
      "without a place",
      streamed(...["a", "b"].map((word) => delta({ id: `c_${word}`, function: look(word) }))),
    ],
    [
      "at one place without ids",
      streamed(...["a", "b"].map((word) => delta({ index: 0, id: "", function: look(word) }))),
    ],
    [
      "without place and id",
      streamed(...["a", "b"].map((word) => delta({ function: look(word) }))),
    ],
    [
      "with the name in every piece",
      streamed(
        ...["a", "b"].flatMap((word, index) => {
          const { name, arguments: text } = look(word);
          return [...text].map((piece) => delta({ index, function: { name, arguments: piece } }));
        }),
      ),
    ],
    [
      "with objects for arguments",
      streamed(
        ...["a", "b"].map((word, index) =>
          delta({
            index,
            id: `c_${word}`,
            function: { name: "files_look-up", arguments: { word } },
          }),
        ),
      ),
    ],
    [
      "in one piece without ids",
      JSON.stringify(
        chatCompletion(
          { tool_calls: ["a", "b"].map((word) => ({ function: look(word) })) },
          "stop",
        ),
      ),
    ],
  ])("may give parallel calls %s, and they are two [llm.calls-apart]", async (_how, body) => {
    const { models } = await vendor(answerStream(body));
    const outcome = await models.complete(conversation, never);
    expect(outcome).toMatchObject({
      value: {
        finishReason: "tool_calls",
        toolCalls: [
          { name: "files.look-up", arguments: { word: "a" } },
          { name: "files.look-up", arguments: { word: "b" } },
        ],
      },
    });
    const ids = outcome.ok ? outcome.value.toolCalls.map(({ id }) => id) : [];
    expect(new Set(ids).size).toBe(2);
    expect(ids).not.toContain("");
  });
});
