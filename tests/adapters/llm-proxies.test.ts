import { setTimeout as wait } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { rejectedIn } from "../../adapters/llm/rejected-parameters.ts";
import type { ModelMessage, ModelReply } from "../../machines/contracts/ports/model-provider.ts";
import { answerJson } from "../support/answer-json.ts";
import { cpuMs } from "../support/cpu-time.ts";
import { lookUp, plain } from "../support/model-requests.ts";
import { useVendors } from "../support/vendor-server.ts";

/*
 * What stands between us and a model, and speaks OpenAI's API in its own way: LiteLLM, one-api, OpenRouter, Gemini's
 * compatible endpoint, DeepSeek, Kimi.
 */

const never = new AbortController().signal;
const { vendor } = useVendors();
const base = { id: "c", object: "chat.completion.chunk", model: "m" };
const chunk = (delta: object, finish: string | null = null) => ({
  ...base,
  choices: [{ index: 0, delta, finish_reason: finish }],
});
const counted = (output: number) => ({
  ...base,
  choices: [],
  usage: { prompt_tokens: 10, completion_tokens: output },
});
const done = "data: [DONE]\n\n";

/** The outcome of a stream of these chunks, each so long after the one before. */
async function outcomeOf(chunks: readonly object[], { end = done, pauseMs = 0 } = {}) {
  const { models } = await vendor(async (response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const data of chunks) {
      response.write(`data: ${JSON.stringify(data)}\n\n`);
      if (pauseMs > 0) await wait(pauseMs);
    }
    if (end === "break") response.destroy();
    else response.end(end);
  });
  return models.complete({ ...plain("openai/m"), tools: [lookUp] }, never);
}

async function replyTo(chunks: readonly object[]): Promise<ModelReply> {
  const outcome = await outcomeOf(chunks);
  if (!outcome.ok) throw new Error(outcome.failure.message);
  return outcome.value;
}

const failureOf = async (status: number, body: object, headers: Record<string, string> = {}) => {
  const { models } = await vendor(answerJson(body, status, headers));
  const outcome = await models.complete(plain("openai/m"), never);
  if (outcome.ok) throw new Error("it answered");
  return outcome.failure;
};

describe("a proxy's stream", () => {
  const words = ["one ", "two ", "three ", "four "];

  it("that gives a reason with each piece has ended when it says so, not before [llm.proxies]", async () => {
    const pieces = words.map((content) => chunk({ content }, "stop"));
    const whole = await outcomeOf([...pieces, counted(4)]);
    expect(whole).toMatchObject({ value: { content: words.join(""), finishReason: "stop" } });
    const broken = await outcomeOf(pieces, { end: "break" });
    expect(broken).toMatchObject({
      failure: { kind: "unavailable", details: { reason: "network" } },
    });
  });

  it.each(["null", "None", "NULL", ""])(
    "that gives %j for no reason has given none [llm.proxies]",
    async (none) => {
      const pieces = words.map((content) => chunk({ content }, none));
      expect(await outcomeOf(pieces, { end: "break" })).toMatchObject({ ok: false });
      const { content, finishReason } = await replyTo([...pieces, chunk({}, "stop")]);
      expect([content, finishReason]).toEqual([words.join(""), "stop"]);
    },
  );

  it("that loses the reason is whole by its end, and stopped by itself where it is shorter than it might be [llm.proxies]", async () => {
    const pieces = words.map((content) => chunk({ content }));
    const { maxTokens } = plain("openai/m");
    const ended = async (...more: object[]) => (await replyTo([...pieces, ...more])).finishReason;
    expect(await ended(counted(4))).toBe("stop");
    expect(await ended(counted(maxTokens))).toBe("other");
    expect(await ended()).toBe("other");
    expect(await outcomeOf([...pieces, counted(4)], { end: "break" })).toMatchObject({ ok: false });
  });

  it("has what the model thought before its calls, which goes back with them to the same provider [llm.proxies]", async () => {
    const { models, seen } = await vendor((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      const call = {
        index: 0,
        id: "1",
        function: { name: lookUp.name, arguments: '{"word":"a"}' },
      };
      const chunks = [
        chunk({ reasoning_content: "I should " }),
        chunk({ reasoning_content: "look it up." }),
        chunk({ tool_calls: [call] }),
        chunk({}, "tool_calls"),
      ];
      response.end(chunks.map((data) => `data: ${JSON.stringify(data)}\n\n`).join("") + done);
    });
    const request = { ...plain("openai/m"), tools: [lookUp] };
    const outcome = await models.complete(request, never);
    if (!outcome.ok) throw new Error(outcome.failure.message);
    const { toolCalls, echo, content } = outcome.value;
    const turn: ModelMessage[] = [
      { role: "assistant", content, toolCalls, ...(echo ? { echo } : {}) },
      { role: "tool", toolCallId: toolCalls[0]?.id ?? "", content: "found" },
    ];
    const next = { ...request, messages: [...request.messages, ...turn] };
    await models.complete(next, never);
    await models.complete({ ...next, model: "chat/m" }, never);
    const sent = seen.map(({ body }) => (body["messages"] as object[]).at(-2));
    expect(sent[1]).toMatchObject({ role: "assistant", reasoning_content: "I should look it up." });
    expect(sent[2]).not.toHaveProperty("reasoning_content");
  });

  it.each([
    ["custom", { type: "custom", custom: { name: lookUp.name, input: "secret.txt" } }],
    ["parameters", { function: { name: lookUp.name, parameters: { word: "a" } } }],
    ["input", { function: { name: lookUp.name, input: { word: "a" } } }],
  ])(
    "never has a call run with {} whose arguments stand in %s [llm.arguments]",
    async (_, call) => {
      const { toolCalls } = await replyTo([
        chunk({ tool_calls: [{ index: 0, id: "1", ...call }] }),
        chunk({}, "tool_calls"),
      ]);
      expect(toolCalls).toHaveLength(1);
      expect(toolCalls[0]?.arguments).not.toEqual({});
    },
  );
});

it("a call's id goes to each provider in its form, and its result with it [llm.proxies]", async () => {
  const { models, seen } = await vendor((response) => response.writeHead(400).end());
  for (const id of ["functions.read:0", "call_0123456789"]) {
    const call = { id, name: lookUp.name, arguments: { word: "a" } };
    const messages: ModelMessage[] = [
      ...plain("x/m").messages,
      { role: "assistant", content: "", toolCalls: [call] },
      { role: "tool", toolCallId: id, content: "found" },
    ];
    seen.length = 0;
    for (const model of ["anthropic/m", "openai/m"]) {
      await models.complete({ ...plain(model), messages, tools: [lookUp] }, never);
    }
    const [anthropic, openai] = seen.map(({ body }) => JSON.stringify(body["messages"]));
    const [, use] = /"tool_use","id":"([^"]+)"/.exec(anthropic ?? "") ?? [];
    expect(use).toMatch(/^[\w-]+$/);
    expect(anthropic).toContain(`"tool_use_id":"${use}"`);
    expect(openai).toContain(`"tool_call_id":"${id}"`);
  }
});

describe("a proxy's error", () => {
  const body = { temperature: 0.2, presence_penalty: 0.1, messages: [] };

  it.each([
    [
      "LiteLLM",
      {
        message: "m don't support temperature=0.2. Only temperature=1 is supported",
        type: "None",
        param: "None",
        code: "400",
      },
      "temperature",
    ],
    [
      "Kimi",
      {
        message: "invalid temperature: only 1 is allowed for this model",
        type: "invalid_request_error",
      },
      "temperature",
    ],
    [
      "new-api",
      { message: "'temperature' is not supported with this model", param: "" },
      "temperature",
    ],
    [
      "xAI",
      { message: "Model grok-4 does not support parameter presencePenalty" },
      "presence_penalty",
    ],
    [
      "OpenRouter",
      {
        message: "Provider returned error",
        metadata: { raw: "Unsupported parameter: 'temperature'" },
      },
      "temperature",
    ],
  ])("of %s names the parameter that it refuses [llm.rejected-parameter]", (_, said, path) => {
    expect(rejectedIn({ status: 400, said }, body)).toEqual({ path });
  });

  it("is looked at in time that its length does not multiply, whatever it quotes [llm.rejected-parameter]", () => {
    const quoted = `Invalid value: data:image/png;base64,${"A".repeat(400_000)} and 'temperature' is not supported`;
    const spaced = `${" ".repeat(400_000)}'temperature' is not supported`;
    const begun = cpuMs();
    for (const message of [quoted, spaced, `${"temperature ".repeat(40_000)}not supported`]) {
      rejectedIn({ status: 400, said: { message } }, body);
    }
    expect(cpuMs() - begun).toBeLessThan(2_000);
  });

  it("of moderation is about what was said, and not about the key [llm.proxies]", async () => {
    const flagged = {
      code: 403,
      message: "Your input was flagged",
      metadata: { reasons: ["violence"] },
    };
    expect(await failureOf(403, { error: flagged })).toMatchObject({
      kind: "refused",
      retryable: false,
      details: { reason: "content_refused" },
    });
  });

  it("of a model that the key may not use holds back no other model [llm.proxies]", async () => {
    const message = "key not allowed to access model. This key can only access models=['gpt-4o']";
    const denied = { message, type: "key_model_access_denied", param: "model", code: "401" };
    const failure = await failureOf(401, { error: denied });
    expect(failure).toMatchObject({ kind: "not_found", retryable: false });
    expect(failure.message).toContain("key not allowed to access model");
  });

  it("says in its body when to come again, as Gemini does [llm.proxies]", async () => {
    const details = [
      { "@type": "type.googleapis.com/google.rpc.QuotaFailure" },
      { "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "38.2s" },
    ];
    const limited = {
      code: 429,
      message: "Please retry in 38.2s.",
      status: "RESOURCE_EXHAUSTED",
      details,
    };
    expect((await failureOf(429, [{ error: limited }])).retryAfterMs).toBe(39_000);
    const header = { "retry-after": "7" };
    expect((await failureOf(429, { error: limited }, header)).retryAfterMs).toBe(7_000);
  });
});
