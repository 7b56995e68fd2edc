import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { createModels } from "../../adapters/llm/models.ts";
import type { ModelRequest } from "../../machines/contracts/ports/model-provider.ts";

const never = new AbortController().signal;
const servers: Server[] = [];

interface Seen {
  path: string;
  headers: IncomingMessage["headers"];
  body: Record<string, unknown>;
}

/** A server of the vendor's wire format; `answer` plays its part. */
async function vendor(answer: (response: ServerResponse) => void) {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = JSON.parse(Buffer.concat(chunks).toString());
      seen.push({ path: request.url ?? "", headers: request.headers, body });
      answer(response);
    });
  }).listen(0, "127.0.0.1");
  servers.push(server);
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const models = createModels({
    openaiApiKey: "sk-test-openai",
    openaiBaseUrl: `${url}/v1`,
    anthropicApiKey: "sk-ant-test",
    anthropicBaseUrl: url,
    timeoutMs: 2000,
  });
  return { seen, models, url };
}

function json(body: unknown, status = 200, headers: Record<string, string> = {}) {
  return (response: ServerResponse) => {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify(body));
  };
}

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

const lookUp = {
  name: "files.look-up",
  description: "Looks a word up",
  inputSchema: { type: "object", properties: { word: { type: "string" } }, required: ["word"] },
};

const conversation: ModelRequest = {
  model: "gpt-4o",
  messages: [
    { role: "system", content: "Be brief." },
    { role: "user", content: "What is a lease?" },
    {
      role: "assistant",
      content: "",
      toolCalls: [
        { id: "call_1", name: "files.look-up", arguments: { word: "lease" } },
        { id: "call_2", name: "files.look-up", arguments: { word: "fence" } },
      ],
    },
    { role: "tool", toolCallId: "call_1", content: "a right" },
    { role: "tool", toolCallId: "call_2", content: "no such word", isError: true },
  ],
  maxTokens: 500,
  temperature: 0.2,
  tools: [lookUp],
  idempotencyKey: "run_1:step_1:model:0",
};

const plain = (model: string): ModelRequest => ({
  model,
  messages: [{ role: "user", content: "Say hello" }],
  maxTokens: 10,
  idempotencyKey: "key-1",
});

/** As recorded from the chat completions API. */
function chatCompletion(message: object, finish_reason: string, usage: unknown = openaiUsage) {
  return {
    id: "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
    object: "chat.completion",
    created: 1741570283,
    model: "gpt-4o-2024-08-06",
    choices: [
      { index: 0, message: { role: "assistant", refusal: null, ...message }, finish_reason },
    ],
    usage,
    service_tier: "default",
  };
}
const openaiUsage = {
  prompt_tokens: 1000,
  completion_tokens: 50,
  total_tokens: 1050,
  prompt_tokens_details: { cached_tokens: 400, audio_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: 20, audio_tokens: 0 },
};
const functionCall = (args: string) => ({
  content: null,
  tool_calls: [
    { id: "call_9", type: "function", function: { name: "files_look-up", arguments: args } },
  ],
});

/** As recorded from the messages API. */
function anthropicMessage(content: object[], stop_reason: string, usage: unknown = claudeUsage) {
  return {
    id: "msg_013Zva2CMHLNnXjNJJKqJ2EF",
    type: "message",
    role: "assistant",
    model: "claude-sonnet-4-20250514",
    content,
    stop_reason,
    stop_sequence: null,
    usage,
  };
}
const claudeUsage = {
  input_tokens: 100,
  cache_creation_input_tokens: 200,
  cache_read_input_tokens: 700,
  output_tokens: 50,
  service_tier: "standard",
};

describe("OpenAI's chat completions", () => {
  test("get the whole conversation in their own words, and the key as a header", async () => {
    const { models, seen } = await vendor(json(chatCompletion({ content: "A right." }, "stop")));
    const outcome = await models.complete(conversation, never);

    expect(outcome).toEqual({
      ok: true,
      value: {
        provider: "openai",
        model: "gpt-4o-2024-08-06",
        content: "A right.",
        toolCalls: [],
        finishReason: "stop",
        // 600 plain at 2.50, 400 cached at 1.25, 50 out at 10 dollars a million.
        usage: { inputTokens: 1000, outputTokens: 50, costMicros: 1500 + 500 + 500 },
      },
    });
    expect(seen[0]?.path).toBe("/v1/chat/completions");
    expect(seen[0]?.headers).toMatchObject({
      authorization: "Bearer sk-test-openai",
      "idempotency-key": "run_1:step_1:model:0",
    });
    expect(seen[0]?.body).toEqual({
      model: "gpt-4o",
      max_tokens: 500,
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
    const { models } = await vendor(json(answer));
    expect(await models.complete(conversation, never)).toMatchObject({
      value: {
        finishReason: "tool_calls",
        content: "",
        toolCalls: [{ id: "call_9", name: "files.look-up", arguments: { word: "fence" } }],
      },
    });
  });

  test.each(['{"word":', '"fence"', "[1]", "null", ""])(
    "may ask with the arguments %j, and then nothing can be run",
    async (args) => {
      const { models } = await vendor(json(chatCompletion(functionCall(args), "tool_calls")));
      expect(await models.complete(conversation, never)).toMatchObject({
        value: {
          toolCalls: [{ arguments: null, problem: "the arguments are not a JSON object" }],
        },
      });
    },
  );

  test("may be cut off at the token limit, and then even whole arguments are not run", async () => {
    const { models } = await vendor(json(chatCompletion(functionCall('{"word":"f"}'), "length")));
    expect(await models.complete(conversation, never)).toMatchObject({
      value: {
        finishReason: "length",
        toolCalls: [{ arguments: null, problem: "cut off at the token limit" }],
      },
    });
  });

  test("may refuse, by their filter or in words", async () => {
    const filtered = await vendor(json(chatCompletion({ content: null }, "content_filter")));
    const refused = await vendor(
      json(chatCompletion({ content: null, refusal: "I can't." }, "stop")),
    );
    expect(await filtered.models.complete(plain("gpt-4o"), never)).toMatchObject({
      value: { finishReason: "refusal", content: "" },
    });
    expect(await refused.models.complete(plain("gpt-4o"), never)).toMatchObject({
      value: { finishReason: "refusal", content: "I can't." },
    });
  });

  test.each([null, undefined])(
    "may leave out the usage (%s), which then costs nothing known",
    async (usage) => {
      const body = { ...chatCompletion({ content: "hi" }, "stop"), usage };
      const { models } = await vendor(json(body));
      expect(await models.complete(plain("gpt-4o"), never)).toMatchObject({
        ok: true,
        value: { usage: { inputTokens: 0, outputTokens: 0 } },
      });
    },
  );

  test("without choices are out of contract", async () => {
    const { models } = await vendor(json({ object: "chat.completion", choices: [] }));
    expect(await models.complete(plain("gpt-4o"), never)).toMatchObject({
      failure: { kind: "model_failed", retryable: false },
    });
  });
});

describe("Anthropic's messages", () => {
  test("get system apart, and all results of a turn in one message", async () => {
    const answer = anthropicMessage([{ type: "text", text: "A right." }], "end_turn");
    const { models, seen } = await vendor(json(answer));
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
        // 100 at 3, 700 read at 0.30, 200 written at 3.75, 50 out at 15 dollars a million.
        usage: { inputTokens: 1000, outputTokens: 50, costMicros: 300 + 210 + 750 + 750 },
      },
    });
    expect(seen[0]?.path).toBe("/v1/messages");
    expect(seen[0]?.headers).toMatchObject({
      authorization: "Bearer sk-ant-test",
      "idempotency-key": "run_1:step_1:model:0",
    });
    expect(seen[0]?.body).toEqual({
      model: "claude-sonnet-4-20250514",
      max_tokens: 500,
      temperature: 0.2,
      system: "Be brief.",
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
    const { models } = await vendor(json(anthropicMessage(content, "tool_use")));
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
      const { models } = await vendor(json(anthropicMessage(content, reason)));
      const request = { ...conversation, model: "claude-sonnet-4-20250514" };
      expect(await models.complete(request, never)).toMatchObject({
        value: {
          finishReason: "length",
          toolCalls: [{ arguments: null, problem: "cut off at the token limit" }],
        },
      });
    },
  );

  test("may refuse, and may leave out the usage", async () => {
    const { models } = await vendor(json(anthropicMessage([], "refusal", null)));
    expect(await models.complete(plain("claude-opus-4-5"), never)).toMatchObject({
      value: { finishReason: "refusal", usage: { inputTokens: 0, outputTokens: 0 } },
    });
  });
});

function vendorError(message: string) {
  return { type: "error", error: { type: "some_error", message, param: null, code: null } };
}

describe.each([
  ["openai", "gpt-4o"],
  ["anthropic", "claude-sonnet-4-20250514"],
])("trouble with %s", (provider, model) => {
  test.each([
    [400, "model_failed", false],
    [401, "unauthorized", false],
    [403, "unauthorized", false],
    [404, "model_failed", false],
    [408, "unavailable", true],
    [413, "model_failed", false],
    [429, "rate_limited", true],
    [500, "unavailable", true],
    [503, "unavailable", true],
    [529, "unavailable", true],
  ])("status %d is %s, retryable: %s, and is asked once", async (status, kind, retryable) => {
    const { models, seen } = await vendor(json(vendorError("key sk-test-12345 is bad"), status));
    const outcome = await models.complete(plain(model), never);
    expect(outcome).toMatchObject({ ok: false, failure: { kind, retryable } });
    expect(seen).toHaveLength(1);
    const message = outcome.ok ? "" : outcome.failure.message;
    expect(message).toContain(provider);
    if (kind === "unauthorized") {
      expect(message).not.toContain("sk-");
      expect(message).toContain(`${provider.toUpperCase()}_API_KEY`);
    }
  });

  test.each([
    ["7", 7000],
    ["86400", 60_000],
    ["soon", undefined],
    ["-5", undefined],
    ["NaN", undefined],
    ["2", 2000],
  ])("Retry-After %j is %s ms of advice", async (value, expected) => {
    const { models } = await vendor(json(vendorError("slow"), 429, { "retry-after": value }));
    const outcome = await models.complete(plain(model), never);
    expect(outcome.ok ? null : outcome.failure.retryAfterMs).toBe(expected);
  });

  test("Retry-After may be a date", async () => {
    const date = new Date(Date.now() + 30_000).toUTCString();
    const { models } = await vendor(json(vendorError("slow"), 503, { "retry-after": date }));
    const outcome = await models.complete(plain(model), never);
    const wait = outcome.ok ? 0 : (outcome.failure.retryAfterMs ?? 0);
    expect(wait).toBeGreaterThan(25_000);
    expect(wait).toBeLessThanOrEqual(30_000);
  });

  test("a server that never answers, or stops half-way, is unavailable in time", async () => {
    const silent = await vendor(() => {});
    const halting = await vendor((response) => {
      response.writeHead(200, { "content-type": "application/json" });
      response.write('{"id":');
    });
    const began = performance.now();
    const outcomes = await Promise.all([
      silent.models.complete(plain(model), never),
      halting.models.complete(plain(model), never),
    ]);
    expect(performance.now() - began).toBeLessThan(6000);
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ failure: { kind: "unavailable", retryable: true } });
    }
  });

  test("a connection that breaks, or is refused, is unavailable", async () => {
    const breaking = await vendor((response) => response.destroy());
    const torn = await vendor((response) => {
      response.writeHead(200, { "content-type": "application/json", "content-length": "500" });
      response.write('{"id":');
      setTimeout(() => response.destroy(), 20);
    });
    const closed = await vendor(() => {});
    servers.at(-1)?.close();
    for (const { models } of [breaking, torn, closed]) {
      expect(await models.complete(plain(model), never)).toMatchObject({
        failure: { kind: "unavailable", retryable: true },
      });
    }
  });

  test("is nothing but a cancellation once we call it off", async () => {
    const { models } = await vendor(() => {});
    const stop = new AbortController();
    const running = models.complete(plain(model), stop.signal);
    setTimeout(() => stop.abort(), 50);
    expect(await running).toMatchObject({ failure: { kind: "cancelled", retryable: false } });
  });
});

describe("the way to a provider", () => {
  const reply = chatCompletion({ content: "hi" }, "stop");

  test.each([
    ["gpt-4.1-mini", "gpt-4.1-mini"],
    ["o3-mini", "o3-mini"],
    ["chatgpt-4o-latest", "chatgpt-4o-latest"],
    ["openai/llama3.2", "llama3.2"],
    ["openai/org/model", "org/model"],
  ])("leads %s to OpenAI as %s", async (model, sent) => {
    const { models, seen } = await vendor(json(reply));
    expect(await models.complete(plain(model), never)).toMatchObject({ ok: true });
    expect(seen[0]).toMatchObject({ path: "/v1/chat/completions", body: { model: sent } });
  });

  test("leads anthropic/… to Anthropic", async () => {
    const answer = anthropicMessage([{ type: "text", text: "hi" }], "end_turn");
    const { models, seen } = await vendor(json(answer));
    await models.complete(plain("anthropic/claude-opus-4-5"), never);
    expect(seen[0]).toMatchObject({ path: "/v1/messages", body: { model: "claude-opus-4-5" } });
  });

  test.each(["gemini-pro", "", "open ai", "mistral/large", "scripted/"])(
    "does not exist for %j, and the failure says what would",
    async (model) => {
      const outcome = await createModels({ timeoutMs: 1000 }).complete(plain(model), never);
      expect(outcome).toMatchObject({ failure: { kind: "invalid_input", retryable: false } });
      expect(outcome.ok ? "" : outcome.failure.message).toContain("claude…");
    },
  );

  test.each([
    ["gpt-4o", "OPENAI_API_KEY"],
    ["claude-opus-4-5", "ANTHROPIC_API_KEY"],
  ])("needs a key for %s and names %s", async (model, variable) => {
    const outcome = await createModels({ timeoutMs: 1000 }).complete(plain(model), never);
    expect(outcome).toMatchObject({ failure: { kind: "unauthorized", retryable: false } });
    expect(outcome.ok ? "" : outcome.failure.message).toContain(variable);
  });
});
