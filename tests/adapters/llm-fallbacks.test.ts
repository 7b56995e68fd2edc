import * as fc from "fast-check";
import { afterEach, describe, expect, test, vi } from "vitest";
import { createFallbacks, type Fallbacks } from "../../adapters/llm/fallbacks.ts";
import { createModels } from "../../adapters/llm/models.ts";
import { AdaptivePlaces, type Place } from "../../adapters/llm/provider-limits.ts";
import { usageOfFailure } from "../../machines/contracts/domain/step-result.ts";
import {
  type ModelPart,
  modelFailureDetails,
  modelTroubles,
} from "../../machines/contracts/ports/model-provider.ts";
import { answerJson } from "../support/answer-json.ts";
import { chatCompletion } from "../support/chat-completion.ts";
import { plain } from "../support/model-requests.ts";
import { useVendors, vendorProviders } from "../support/vendor-server.ts";
import { answerStream, chatStream, messageStream } from "../support/vendor-streams.ts";

const never = new AbortController().signal;
const { vendor } = useVendors();
const claude = "claude-opus-4-5";
const spoken = { text: ["A ", "right."], usage: { input: 100, output: 20 } };

/** Anthropic and OpenAI at servers of their own, and chains between them. */
async function chain(
  fallbacks: Fallbacks,
  anthropic: Parameters<typeof vendor>[0],
  openai: Parameters<typeof vendor>[0] = answerStream(chatStream(spoken)),
  log?: Parameters<typeof createFallbacks>[2],
) {
  const [first, second] = await Promise.all([vendor(anthropic), vendor(openai)]);
  const providers = [
    ...vendorProviders(first.url).filter(({ name }) => name === "anthropic"),
    ...vendorProviders(second.url).filter(({ name }) => name !== "anthropic"),
  ];
  const models = createFallbacks(createModels({ providers }), fallbacks, log);
  return { models, first, second };
}

const error = (message: string, type = "some_error") => ({
  type: "error",
  error: { type, message },
});

describe("a chain of fallbacks [llm.fallback]", () => {
  test("asks the next one, and says who served and who was asked in vain", async () => {
    const lines: string[] = [];
    const { models, first, second } = await chain(
      { [claude]: [{ model: "openai/gpt-4o" }] },
      answerJson(error("all full"), 529),
      undefined,
      { info: (_, text) => void lines.push(text) },
    );
    const asked = await models.complete(plain(claude), never);
    expect(lines).toEqual([
      expect.stringMatching(/^openai\/gpt-4o\S* answered in place of anthropic\/claude.*all full/u),
    ]);
    expect(asked).toMatchObject({
      ok: true,
      value: {
        provider: "openai",
        content: "A right.",
        attempts: [
          {
            provider: "anthropic",
            model: claude,
            reason: "overloaded",
            message: expect.stringContaining("all full"),
          },
        ],
      },
    });
    expect([first.seen.length, second.seen.length]).toEqual([1, 1]);
    expect(models.targets?.(claude)).toEqual({
      ok: true,
      value: [
        { provider: "anthropic", model: claude },
        { provider: "openai", model: "gpt-4o" },
      ],
    });
  });

  test("goes by the kind of the failure: each fallback says for what it stands in", async () => {
    const fallbacks: Fallbacks = {
      [claude]: [
        { model: "openai/gpt-4o", on: ["rate_limited"] },
        { model: "openai/gpt-4.1", on: ["context_too_long"] },
      ],
    };
    const said = error("prompt is too long: 9 tokens > 8 maximum", "invalid_request_error");
    const { models, second } = await chain(fallbacks, answerJson(said, 400));
    expect(await models.complete(plain(claude), never)).toMatchObject({
      value: { attempts: [{ reason: "context_too_long" }] },
    });
    expect(second.seen.map(({ body }) => body["model"])).toEqual(["gpt-4.1"]);
  });

  test.each([
    [400, "bad_request"],
    [404, "unknown_model"],
  ])("is not gone on with for what the request brought about (%d)", async (status, reason) => {
    const { models, second } = await chain(
      { [claude]: [{ model: "openai/gpt-4o" }] },
      answerJson(error("no"), status),
    );
    const outcome = await models.complete(plain(claude), never);
    expect(outcome).toMatchObject({ ok: false, failure: { details: { reason } } });
    expect(second.seen).toEqual([]);
  });

  test("tells the listener that what it heard is void", async () => {
    const cut = answerStream(messageStream(spoken), { until: { part: 0.7, after: "disconnect" } });
    const { models } = await chain({ [claude]: [{ model: "openai/gpt-4o" }] }, cut);
    const parts: ModelPart[] = [];
    const outcome = await models.complete(plain(claude), never, (part) => void parts.push(part));
    const restart = parts.findIndex(({ type }) => type === "restart");
    expect(restart).toBeGreaterThan(0);
    expect(parts[restart]).toEqual({ type: "restart", provider: "openai", model: "gpt-4o" });
    const heard = parts.slice(restart + 1).map((part) => ("text" in part ? part.text : ""));
    expect(heard.join("")).toBe("A right.");
    expect(outcome).toMatchObject({
      value: { attempts: [{ reason: "network", usage: { inputTokens: 100, estimated: true } }] },
    });
  });

  test("that ends in vain says everyone who was asked, and what all of them used [llm.used]", async () => {
    const { models } = await chain(
      { [claude]: [{ model: "openai/gpt-4o" }] },
      answerStream(messageStream(spoken), { until: { part: 0.7, after: "disconnect" } }),
      answerStream(chatStream(spoken), { until: { part: 0.7, after: "disconnect" } }),
    );
    const outcome = await models.complete(plain(claude), never);
    const failure = outcome.ok ? null : outcome.failure;
    expect(failure).toMatchObject({
      kind: "unavailable",
      details: { provider: "openai", attempts: [{ provider: "anthropic" }] },
    });
    expect(failure && usageOfFailure(failure)?.inputTokens).toBeGreaterThan(100);
  });
});

test("a chain fails as the last of its links that may be asked again, and names them all [llm.chain-passes]", async () => {
  const answers = [
    { status: 429, words: "slow down", passes: true },
    { status: 529, words: "all full", passes: true },
    { status: 404, words: "no such model", passes: false },
    { status: 402, words: "no money left", passes: false },
    { status: 400, words: "prompt is too long", passes: false },
  ];
  const { url, seen } = await vendor((response) => {
    const { status, words } = answers[Number(String(seen.at(-1)?.body["model"])[1])] ?? {};
    response.setHeader("retry-after", "7");
    answerJson(error(`${words}`), status)(response);
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(answers.length - 1), { minLength: 1, maxLength: 4 }),
      async (links) => {
        // Each chain has circuits of its own.
        const bare = createModels({ providers: vendorProviders(url) });
        const on = [...modelTroubles];
        const [first, ...others] = links.map((link, at) => ({
          model: `openai/m${link}-${at}`,
          on,
        }));
        const models = createFallbacks(bare, { [`${first?.model}`]: others });
        const outcome = await models.complete(plain(`${first?.model}`), never);
        const said = links.map((link) => answers[link]);
        const passing = said.findLast((answer) => answer?.passes);
        const leading = passing ?? said.at(-1);
        const failure = outcome.ok ? null : outcome.failure;
        expect(failure).toMatchObject({
          retryable: passing !== undefined,
          details: { status: leading?.status },
          message: expect.stringContaining(`${leading?.words}`),
          ...(passing === undefined ? {} : { retryAfterMs: 7_000 }),
        });
        const named = [
          failure?.message,
          ...((failure && modelFailureDetails(failure)?.attempts?.map(({ message }) => message)) ??
            []),
        ];
        for (const answer of said) expect(named.join(" ")).toContain(answer?.words);
        if (passing !== undefined) {
          const finals = said.slice(said.lastIndexOf(passing) + 1);
          for (const answer of finals) expect(failure?.message).toContain(answer?.words);
        }
      },
    ),
    { numRuns: 40 },
  );
});

describe("the limits before a provider", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  test("one that fails again and again is left alone for a while [llm.circuit]", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    let isWell = false;
    const { models, seen } = await vendor((response) =>
      isWell
        ? answerJson(chatCompletion({ content: "hi" }, "stop"))(response)
        : answerJson(error("down"), 500)(response),
    );
    const ask = () => models.complete(plain("gpt-4o"), never);
    for (let count = 0; count < 5; count += 1) await ask();
    expect(await ask()).toMatchObject({
      failure: {
        kind: "unavailable",
        retryable: true,
        retryAfterMs: 10_000,
        details: { reason: "circuit_open" },
      },
    });
    expect(seen).toHaveLength(5);
    // Another provider is not touched by it.
    const other = await models.complete(plain("responses/gpt-4.1"), never);
    expect(other).toMatchObject({ failure: { details: { reason: "overloaded" } } });
    isWell = true;
    vi.advanceTimersByTime(10_001);
    expect(await ask()).toMatchObject({ ok: true });
    expect(await ask()).toMatchObject({ ok: true });
  });

  test("a rate limit makes fewer calls at once, and success more again [llm.adaptive]", async () => {
    let inside = 0;
    let most = 0;
    let refused = 0;
    const allowed = 5;
    const { models } = await vendor((response) => {
      inside += 1;
      most = Math.max(most, inside);
      const isRefused = inside > allowed;
      setTimeout(() => {
        inside -= 1;
        if (isRefused) refused += 1;
        const answer = isRefused
          ? answerJson(error("slow down"), 429)
          : answerJson(chatCompletion({ content: "hi" }, "stop"));
        answer(response);
      }, 80);
    });
    const untilAnswered = async (): Promise<void> => {
      const outcome = await models.complete(plain("gpt-4o"), never);
      if (outcome.ok) return;
      expect(modelFailureDetails(outcome.failure)?.reason).toBe("rate_limited");
      await untilAnswered();
    };
    await Promise.all(Array.from({ length: 60 }, untilAnswered));
    expect(most).toBeGreaterThan(allowed);
    // Each call that went well before the first refusal made room for one more.
    expect(most).toBeLessThanOrEqual(16 + allowed);
    most = 0;
    const before = refused;
    await Promise.all(Array.from({ length: 30 }, untilAnswered));
    expect(most).toBeLessThanOrEqual(allowed + 2);
    expect(refused - before).toBeLessThan(20);
  });

  test("a call that waits for its turn can be cancelled", async () => {
    const { models, seen } = await vendor(() => {});
    const end = new AbortController();
    const waiting = Array.from({ length: 16 }, () => models.complete(plain("gpt-4o"), end.signal));
    await vi.waitFor(() => expect(seen).toHaveLength(16), { timeout: 20_000 });
    const stop = new AbortController();
    const late = models.complete(plain("gpt-4o"), stop.signal);
    stop.abort();
    expect(await late).toMatchObject({ failure: { kind: "cancelled" } });
    expect(seen).toHaveLength(16);
    end.abort();
    await Promise.all(waiting);
  });

  test("a provider that refuses none gets twice as many calls each round; after a refusal one more [llm.adaptive]", async () => {
    const places = new AdaptivePlaces(4);
    /** All places used, and others waiting: each that leaves lets the next in. */
    const round = async () => {
      const { limit } = places;
      for (let call = 0; call < limit; call += 1) {
        inside.shift()?.leave("well");
        await new Promise(setImmediate);
      }
    };
    const inside: Place[] = [];
    for (let call = 0; call < 200; call += 1)
      void places.enter(never).then((place) => place && inside.push(place));
    await new Promise(setImmediate);
    expect(inside).toHaveLength(4);
    await round();
    expect(places.limit).toBe(8);
    await round();
    expect(places.limit).toBe(16);
    inside.shift()?.leave("refused");
    expect(places.limit).toBe(8);
    while (places.taken > 8) inside.shift()?.leave("neither");
    await round();
    await round();
    expect(places.limit).toBe(9);
  });

  test("places are given in order, never more than there are, and all get one [llm.adaptive]", async () => {
    const move = fc.oneof(
      fc.constant({ kind: "enter" as const }),
      fc.constant({ kind: "give-up" as const }),
      fc.record({
        kind: fc.constant("leave" as const),
        how: fc.constantFrom("well" as const, "refused" as const, "neither" as const),
      }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.array(move, { maxLength: 60 }),
        async (start, moves) => {
          const places = new AdaptivePlaces(start);
          const inside: { number: number; leave: (how: "well" | "refused" | "neither") => void }[] =
            [];
          const order: number[] = [];
          const waiting = new Map<number, AbortController>();
          let number = 0;
          const settle = () => new Promise(setImmediate);
          for (const step of moves) {
            if (step.kind === "enter") {
              const mine = (number += 1);
              const stop = new AbortController();
              waiting.set(mine, stop);
              void places.enter(stop.signal).then((place) => {
                waiting.delete(mine);
                if (place === null) return;
                order.push(mine);
                expect(places.taken).toBeLessThanOrEqual(places.limit);
                inside.push({ number: mine, leave: place.leave });
              });
            } else if (step.kind === "leave") inside.shift()?.leave(step.how);
            else [...waiting.values()].at(-1)?.abort();
            await settle();
            expect(places.limit).toBeGreaterThanOrEqual(1);
            expect(places.taken).toBe(inside.length);
          }
          for (let next = inside.shift(); next !== undefined; next = inside.shift()) {
            next.leave("neither");
            await settle();
          }
          expect(waiting.size).toBe(0);
          expect(order).toEqual([...order].sort((a, b) => a - b));
        },
      ),
      { numRuns: 60 },
    );
  });
});
