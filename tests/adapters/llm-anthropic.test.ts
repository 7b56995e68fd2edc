import { describe, expect, test } from "vitest";
import { answerJson } from "../support/answer-json.ts";
import { anthropicMessage } from "../support/anthropic-message.ts";
import { conversation, lookUp, plain } from "../support/model-requests.ts";
import { useVendors } from "../support/vendor-server.ts";

const never = new AbortController().signal;
const { vendor } = useVendors();

describe("Anthropic's messages", () => {
  test("get system apart, and all results of a turn in one message", async () => {
    const answer = anthropicMessage([{ type: "text", text: "A right." }], "end_turn");
    const { models, seen } = await vendor(answerJson(answer));
    const request = { ...conversation, model: "claude-sonnet-4-20250514" };
    const outcome = await models.complete(request, never);

    expect(outcome).toEqual({
      ok: true,
      value: {
        provider: "anthropic",
        model: "claude-sonnet-4-20250514",
        content: "A right.",
        toolCalls: [],
        finishReason: "stop",
        usage: {
          inputTokens: 1000,
          outputTokens: 50,
          cacheReadTokens: 700,
          cacheWrite5mTokens: 200,
        },
      },
    });
    expect(seen[0]?.path).toBe("/v1/messages");
    expect(seen[0]?.headers).toMatchObject({
      authorization: "Bearer sk-ant-test",
      "idempotency-key": expect.stringMatching(/^run_1:step_1:model:0-[\da-f]{16}$/u),
    });
    expect(seen[0]?.body).toEqual({
      model: "claude-sonnet-4-20250514",
      max_tokens: 500,
      stream: true,
      temperature: 0.2,
      system: [{ type: "text", text: "Be brief.", cache_control: { type: "ephemeral" } }],
      messages: [
        { role: "user", content: [{ type: "text", text: "What is a lease?" }] },
        {
          role: "assistant",
          content: [
            { type: "tool_use", id: "call_1", name: "files_look-up", input: { word: "lease" } },
            { type: "tool_use", id: "call_2", name: "files_look-up", input: { word: "fence" } },
          ],
        },
        {
          role: "user",
          content: [
            { type: "tool_result", tool_use_id: "call_1", content: "a right" },
            {
              type: "tool_result",
              tool_use_id: "call_2",
              content: "no such word",
              is_error: true,
              cache_control: { type: "ephemeral" },
            },
          ],
        },
      ],
      tools: [
        {
          name: "files_look-up",
          description: "Looks a word up",
          input_schema: lookUp.inputSchema,
        },
      ],
    });
  });

  test("name their tools as we do, and text beside a call is kept", async () => {
    const content = [
      { type: "text", text: "Let me look." },
      { type: "tool_use", id: "toolu_1", name: "files_look-up", input: { word: "fence" } },
    ];
    const { models } = await vendor(answerJson(anthropicMessage(content, "tool_use")));
    const request = { ...conversation, model: "claude-sonnet-4-20250514" };
    expect(await models.complete(request, never)).toMatchObject({
      value: {
        content: "Let me look.",
        finishReason: "tool_calls",
        toolCalls: [{ id: "toolu_1", name: "files.look-up", arguments: { word: "fence" } }],
      },
    });
  });

  test.each(["max_tokens", "model_context_window_exceeded"])(
    "may be cut off (%s), and then no call of them is run",
    async (reason) => {
      const content = [{ type: "tool_use", id: "toolu_1", name: "files_look-up", input: {} }];
      const { models } = await vendor(answerJson(anthropicMessage(content, reason)));
      const request = { ...conversation, model: "claude-sonnet-4-20250514" };
      expect(await models.complete(request, never)).toMatchObject({
        value: {
          finishReason: "length",
          toolCalls: [{ arguments: null, problem: "cut off at the token limit", cutOff: true }],
        },
      });
    },
  );

  test("may refuse, and may leave out the usage", async () => {
    const { models } = await vendor(answerJson(anthropicMessage([], "refusal", null)));
    expect(await models.complete(plain("claude-opus-4-5"), never)).toMatchObject({
      value: { finishReason: "refusal", usage: { outputTokens: 0, estimated: true } },
    });
  });

  test.each([
    ["overloaded_error", "unavailable", true],
    ["rate_limit_error", "rate_limited", true],
    ["invalid_request_error", "model_failed", false],
    ["something_new", "unavailable", true],
  ])("may be an error inside a 200: %s is %s, retryable: %s", async (type, kind, passes) => {
    const { models } = await vendor(answerJson({ type: "error", error: { type, message: "m" } }));
    expect(await models.complete(plain("claude-opus-4-5"), never)).toMatchObject({
      ok: false,
      failure: { kind, retryable: passes },
    });
  });

  test("may hold a number that a double can't, and then are no answer", async () => {
    const body = JSON.stringify(
      anthropicMessage([{ type: "tool_use", id: "t", name: "n", input: { id: 1 } }], "tool_use"),
    ).replace('"id":1', '"id":9007199254740993');
    const { models } = await vendor((response) => {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(body);
    });
    const outcome = await models.complete(plain("claude-opus-4-5"), never);
    expect(outcome).toMatchObject({ ok: false, failure: { kind: "invalid_output" } });
    expect(outcome.ok ? "" : outcome.failure.message).toContain("9007199254740993");
  });
});
