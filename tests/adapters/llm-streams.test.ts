import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createModels } from "../../adapters/llm/models.ts";
import { usageOfFailure } from "../../machines/contracts/domain/step-result.ts";
import type { ModelPart } from "../../machines/contracts/ports/model-provider.ts";
import { answerJson } from "../support/answer-json.ts";
import { lookUp, plain } from "../support/model-requests.ts";
import { useVendors, vendorProviders } from "../support/vendor-server.ts";
import { answerStream, type Delivery, type Spoken, streams } from "../support/vendor-streams.ts";

const never = new AbortController().signal;
const { vendor } = useVendors();

const spoken: Spoken = {
  text: ["Zwei ", "W\u00f6rter: ", "\u{1F600}", " fertig."],
  calls: [
    { id: "call_a", name: "files_look-up", pieces: ['{"wo', 'rd":"f\u00fcr', ' \u{1F600}"}'] },
    { id: "call_b", name: "files_look-up", pieces: ["", '{"word":', '"b"}'] },
    { id: "call_c", name: "files_look-up", pieces: ["  "] },
  ],
  finish: "tool_calls",
  usage: { input: 1000, output: 50, cacheRead: 400 },
};

const asked = (provider: string, model: string) => ({
  ...plain(`${provider}/${model}`),
  tools: [lookUp],
});

describe.each(streams)("a stream of $provider", ({ provider, model, stream }) => {
  async function ask(delivery: Delivery, said = spoken, times = {}) {
    const { url, seen } = await vendor(answerStream(stream(said), delivery));
    const models = createModels({ providers: vendorProviders(url, times) });
    const parts: ModelPart[] = [];
    const outcome = await models.complete(asked(provider, model), never, (part) => {
      parts.push(part);
    });
    return { outcome, parts, seen };
  }

  test("is read the same however its bytes are cut, with either line end [llm.stream]", async () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(sizes, fc.boolean(), async (cuts, crlf) => {
        const { outcome, parts } = await ask({ sizes: cuts, crlf });
        expect(outcome).toMatchObject({
          ok: true,
          value: {
            provider,
            content: "Zwei W\u00f6rter: \u{1F600} fertig.",
            finishReason: "tool_calls",
            toolCalls: [
              { id: "call_a", name: lookUp.name, arguments: { word: "f\u00fcr \u{1F600}" } },
              { id: "call_b", name: lookUp.name, arguments: { word: "b" } },
              { id: "call_c", name: lookUp.name, arguments: {} },
            ],
            usage: { inputTokens: 1000, outputTokens: 50, cacheReadTokens: 400 },
          },
        });
        // What was told, put together, is what was answered.
        const text = parts.flatMap((part) => (part.type === "text" ? part.text : [])).join("");
        const second = parts.flatMap((part) =>
          part.type === "arguments" && part.index === 1 ? part.text : [],
        );
        expect(text).toBe("Zwei W\u00f6rter: \u{1F600} fertig.");
        expect(second.join("")).toBe('{"word":"b"}');
        expect(parts.every((part) => !("text" in part) || part.text.isWellFormed())).toBe(true);
      }),
      { numRuns: 15 },
    );
  });

  test("may come without our asking twice, and asks for one", async () => {
    const { seen } = await ask({});
    expect(seen).toHaveLength(1);
    expect(seen[0]?.body).toMatchObject({ stream: true });
  });

  test.each(["disconnect", "end"] as const)(
    "that is cut (%s) is unavailable, and says what was used [llm.used]",
    async (then) => {
      const { outcome } = await ask({ until: { part: 0.6, after: then } });
      expect(outcome).toMatchObject({
        ok: false,
        failure: { kind: "unavailable", retryable: true, details: { reason: "network" } },
      });
      const usage = outcome.ok ? null : usageOfFailure(outcome.failure);
      expect(usage?.estimated).toBe(true);
      expect(usage?.inputTokens).toBeGreaterThan(10);
      expect(usage?.outputTokens).toBeGreaterThan(0);
      if (provider === "anthropic") expect(usage?.inputTokens).toBe(1000);
    },
  );

  test("that falls silent is noticed long before the call's time is over [llm.idle]", async () => {
    const began = performance.now();
    const times = { idleMs: 1_500, totalMs: 60_000 };
    const { outcome } = await ask({ until: { part: 0.6, after: "silence" } }, spoken, times);
    expect(performance.now() - began).toBeLessThan(30_000);
    expect(outcome).toMatchObject({
      failure: {
        kind: "unavailable",
        retryable: true,
        message: expect.stringContaining("1500 ms"),
        details: { reason: "timeout", usage: { estimated: true } },
      },
    });
  });

  test("that trickles is given the whole time, and not more", async () => {
    const times = { idleMs: 2_000, totalMs: 2_500 };
    const began = performance.now();
    const { outcome } = await ask({ sizes: [8], pauseMs: 60 }, spoken, times);
    expect(performance.now() - began).toBeGreaterThan(2_400);
    expect(outcome).toMatchObject({
      failure: { details: { reason: "timeout" }, message: expect.stringContaining("2500 ms") },
    });
  });

  test("waits for a slow listener, and no time runs meanwhile [llm.back-pressure]", async () => {
    const { url } = await vendor(answerStream(stream(spoken), { sizes: [64] }));
    const times = { idleMs: 1_500, totalMs: 2_000 };
    const models = createModels({ providers: vendorProviders(url, times) });
    let running = 0;
    let most = 0;
    let heard = 0;
    const outcome = await models.complete(asked(provider, model), never, async () => {
      running += 1;
      most = Math.max(most, running);
      heard += 1;
      await new Promise((resolve) => setTimeout(resolve, heard === 1 ? 3_000 : 10));
      running -= 1;
    });
    expect(outcome).toMatchObject({ ok: true });
    expect(most).toBe(1);
  });

  test("that we call off says what was used [llm.used]", async () => {
    const { url } = await vendor(
      answerStream(stream(spoken), { until: { part: 0.6, after: "silence" } }),
    );
    const models = createModels({ providers: vendorProviders(url) });
    const stop = new AbortController();
    const outcome = await models.complete(asked(provider, model), stop.signal, () => {
      setTimeout(() => stop.abort(), 100);
    });
    expect(outcome).toMatchObject({
      failure: {
        kind: "cancelled",
        retryable: false,
        details: { reason: "cancelled", usage: { estimated: true } },
      },
    });
  });

  test.each(["content_filter", "length"] as const)("may end for %s", async (finish) => {
    const { outcome } = await ask({}, { ...spoken, finish });
    const expected =
      finish === "length"
        ? {
            finishReason: "length",
            toolCalls: Array.from({ length: 3 }, () => ({ arguments: null, cutOff: true })),
          }
        : { finishReason: "refusal" };
    expect(outcome).toMatchObject({ ok: true, value: expected });
  });

  test.each([
    ['{"word":', "not a JSON object"],
    ["[1]", "not a JSON object"],
    ['{"id":9007199254740993}', "9007199254740993"],
  ])("may hold the arguments %j, which never run", async (text, why) => {
    const calls = [{ id: "call_a", name: "files_look-up", pieces: [...text] }];
    const { outcome } = await ask({}, { calls, finish: "tool_calls" });
    expect(outcome).toMatchObject({
      value: { toolCalls: [{ arguments: null, problem: expect.stringContaining(why) }] },
    });
  });

  test("may bring an error in its midst", async () => {
    const events = stream(spoken);
    const half = events.slice(0, events.indexOf("\n\n", events.length / 2) + 2);
    const said = { type: "overloaded_error", code: "server_error", message: "all full" };
    const error =
      provider === "openai"
        ? `data: ${JSON.stringify({ error: said })}\n\n`
        : `event: error\ndata: ${JSON.stringify({ type: "error", error: said })}\n\n`;
    const { models } = await vendor(answerStream(half + error));
    const outcome = await models.complete(asked(provider, model), never);
    expect(outcome).toMatchObject({
      failure: {
        kind: "unavailable",
        retryable: true,
        message: expect.stringContaining("all full"),
        details: { reason: "overloaded", usage: { estimated: true } },
      },
    });
  });

  test.each([
    ["a page of HTML", "<html><body>Sign in</body></html>"],
    ["nothing at all", ""],
    ["half a document", '{"id":"x","choices":['],
  ])("in whose place %s comes is no answer", async (_what, body) => {
    const { models } = await vendor((response) => {
      response.writeHead(200, { "content-type": "text/html" });
      response.end(body);
    });
    const outcome = await models.complete(asked(provider, model), never);
    expect(outcome).toMatchObject({ failure: { kind: "unavailable", retryable: true } });
  });

  test.each([
    [429, { "retry-after": "7" }, "rate_limited", 7_000],
    [429, { "retry-after": "in 30 s" }, "rate_limited", 30_000],
    [529, {}, "overloaded", null],
    [500, {}, "overloaded", null],
    [413, {}, "context_too_long", null],
    [404, {}, "unknown_model", null],
    [401, {}, "auth", 60_000],
    [402, {}, "quota", null],
    [400, {}, "bad_request", null],
  ] as const)("status %d with %j is %s", async (status, headers, reason, waitMs) => {
    const body = { type: "error", error: { type: "some_error", message: "no", code: null } };
    const soon = { "retry-after": new Date(Date.now() + 30_000).toUTCString() };
    const given = Object.values(headers).includes("in 30 s") ? soon : headers;
    const { models } = await vendor(answerJson(body, status, given));
    const outcome = await models.complete(asked(provider, model), never);
    expect(outcome).toMatchObject({ failure: { details: { reason, provider, model, status } } });
    const wait = outcome.ok ? null : (outcome.failure.retryAfterMs ?? null);
    if (waitMs === null) expect(wait).toBeNull();
    else expect(Math.abs((wait ?? 0) - waitMs)).toBeLessThan(3_000);
    expect(outcome.ok ? null : usageOfFailure(outcome.failure)).toBeNull();
  });

  test.each([
    ["invalid_request_error", null, "prompt is too long: 210000 tokens", "context_too_long"],
    ["invalid_request_error", "context_length_exceeded", "too many", "context_too_long"],
    ["invalid_request_error", "content_policy_violation", "not allowed", "content_refused"],
    ["invalid_request_error", null, "Your credit balance is too low", "quota"],
    ["invalid_request_error", "invalid_value", "top_p must be a number", "bad_request"],
    ["insufficient_quota", "insufficient_quota", "pay first", "quota"],
  ])("a 400 of type %s, code %s, %j is %s", async (type, code, message, reason) => {
    const { models } = await vendor(
      answerJson({ type: "error", error: { type, code, message } }, 400),
    );
    expect(await models.complete(asked(provider, model), never)).toMatchObject({
      failure: { retryable: false, message: expect.stringContaining(message), details: { reason } },
    });
  });
});
