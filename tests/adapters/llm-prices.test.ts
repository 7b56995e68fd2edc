import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { costOf, createPrices, priceTableVersion } from "../../adapters/llm/prices.ts";
import { dollars } from "../../machines/contracts/domain/budget.ts";

/** Some prices of the lists hold from a date on. */
const now = () => Date.UTC(2026, 10, 25);
const prices = createPrices({ now });
const million = { inputTokens: 1_000_000, outputTokens: 0 };
const anthropic = (model: string) => ({ provider: "anthropic", model });
const openai = (model: string) => ({ provider: "openai", model });

/** Dollars per million tokens, from the vendors' public price pages: input, output, cache read, write 5 m, write 1 h. */
const published: [provider: string, model: string, ...rates: number[]][] = [
  ["anthropic", "claude-opus-4-5-20251101", 5, 25, 0.5, 6.25, 10],
  ["anthropic", "claude-opus-4-1-20250805", 15, 75, 1.5, 18.75, 30],
  ["anthropic", "claude-opus-4-20250514", 15, 75, 1.5, 18.75, 30],
  ["anthropic", "claude-sonnet-4-20250514", 3, 15, 0.3, 3.75, 6],
  ["anthropic", "claude-haiku-4-5-20251001", 1, 5, 0.1, 1.25, 2],
  ["anthropic", "claude-3-5-haiku-20241022", 0.8, 4, 0.08, 1, 1.6],
  ["anthropic", "claude-3-haiku-20240307", 0.25, 1.25, 0.03, 0.3, 0.5],
  ["openai", "gpt-5", 1.25, 10, 0.125],
  ["openai", "gpt-5-mini", 0.25, 2, 0.025],
  ["openai", "gpt-5-nano", 0.05, 0.4, 0.005],
  ["openai", "gpt-4.1", 2, 8, 0.5],
  ["openai", "gpt-4.1-mini", 0.4, 1.6, 0.1],
  ["openai", "gpt-4.1-nano", 0.1, 0.4, 0.025],
  ["openai", "gpt-4o", 2.5, 10, 1.25],
  ["openai", "gpt-4o-2024-08-06", 2.5, 10, 1.25],
  ["openai", "gpt-4o-mini", 0.15, 0.6, 0.075],
  ["openai", "o3", 2, 8, 0.5],
  ["openai", "o4-mini", 1.1, 4.4, 0.275],
  ["openai", "o1", 15, 60, 7.5],
  ["openai", "gpt-4-turbo", 10, 30],
  ["openai", "gpt-4", 30, 60],
  ["openai", "gpt-3.5-turbo", 0.5, 1.5],
];

test.each(published)(
  "%s's %s costs what its vendor publishes [prices.facts]",
  (provider, model, input = 0, output = 0, read = input, write5m = input, write1h = write5m) => {
    const [tier] = prices.find({ provider, model })?.tiers ?? [];
    const micros = (rate: number) => Math.round(rate * 1_000_000);
    expect(tier?.rates).toMatchObject({
      input: micros(input),
      output: micros(output),
      cacheRead: micros(read),
      ...(provider === "anthropic"
        ? { cacheWrite5m: micros(write5m), cacheWrite1h: micros(write1h) }
        : {}),
    });
  },
);

test("a long input makes all of its call dearer, from the first token above the bound [prices.long-context]", () => {
  const target = anthropic("claude-sonnet-4-5");
  const cost = (inputTokens: number, outputTokens = 0) =>
    prices.cost(target, { inputTokens, outputTokens });
  expect(cost(200_000)).toBe(600_000);
  expect(cost(200_001)).toBe(1_200_006);
  expect(cost(200_001, 1_000)).toBe(1_200_006 + 22_500);
  // What was read from a cache is part of the length.
  const cached = { inputTokens: 200_001, outputTokens: 0, cacheReadTokens: 200_001 };
  expect(prices.cost(target, cached)).toBe(Math.ceil(200_001 * 0.6));
});

describe("what has no price", () => {
  test.each([
    anthropic("claude-opus-99"),
    anthropic(""),
    openai("constructor"),
    openai("llama-3"),
    { provider: "no-such-provider", model: "gpt-4o" },
    { provider: "scripted", model: "gpt-4o" },
  ])("$provider/$model costs null, never 0 [prices.unknown]", (target) => {
    expect(prices.cost(target, million)).toBeNull();
    expect(prices.find(target)).toBeNull();
  });
});

test("configuration prices a model before the lists do, by provider, by name, and beyond a length", () => {
  const table = createPrices({
    now,
    overrides: {
      "gpt-4o": { input: 1, output: 2 },
      "proxy/llama": { input: 0.1, output: 0.2, longContext: { above: 10, input: 1, output: 2 } },
    },
    providers: { own: { prices: { m: { input: 3, output: 4, cacheRead: 0 } } } },
  });
  expect(table.cost(openai("gpt-4o"), million)).toBe(1_000_000);
  expect(table.cost({ provider: "azure", model: "gpt-4o" }, million)).toBe(1_000_000);
  const llama = { provider: "proxy", model: "llama" };
  expect(table.cost(llama, { inputTokens: 10, outputTokens: 10 })).toBe(3);
  expect(table.cost(llama, { inputTokens: 11, outputTokens: 10 })).toBe(31);
  const own = { provider: "own", model: "m" };
  expect(table.cost(own, { inputTokens: 10, outputTokens: 1, cacheReadTokens: 9 })).toBe(3 + 4);
  expect(table.findByName("proxy/llama")?.target).toEqual(llama);
});

test("a provider under another name is priced by its address", () => {
  const table = createPrices({
    now,
    providers: {
      fast: { baseUrl: "https://api.groq.com/openai/v1" },
      local: { baseUrl: "http://127.0.0.1:1/v1" },
    },
  });
  const model = "llama-3.3-70b-versatile";
  const groq = table.cost({ provider: "groq", model }, million);
  expect(groq).toBeGreaterThan(0);
  expect(table.cost({ provider: "fast", model }, million)).toBe(groq);
  expect(table.cost({ provider: "local", model }, million)).toBeNull();
});

test("a cost is exact and rounded up once, the whole call, to the next micro-dollar [prices.rounding]", () => {
  const count = fc.nat(10_000_000);
  // Prices in millionths of a micro-dollar a token, as configuration may give them.
  const rate = fc.nat(100_000_000).map((scaled) => scaled / 1_000_000);
  const call = fc.record({ a: count, b: count, c: count, d: count, out: count, think: count });
  fc.assert(
    fc.property(
      fc.record({
        input: rate,
        output: rate,
        cacheRead: rate,
        cacheWrite5m: rate,
        cacheWrite1h: rate,
        reasoning: rate,
      }),
      call,
      (given, n) => {
        const usage = {
          inputTokens: n.a + n.b + n.c + n.d,
          outputTokens: n.out + n.think,
          cacheReadTokens: n.b,
          cacheWrite5mTokens: n.c,
          cacheWrite1hTokens: n.d,
          reasoningTokens: n.think,
        };
        const exact = [
          [n.a, given.input],
          [n.b, given.cacheRead],
          [n.c, given.cacheWrite5m],
          [n.d, given.cacheWrite1h],
          [n.out, given.output],
          [n.think, given.reasoning],
        ] as const;
        const sum = exact.reduce(
          (all, [tokens, each]) => all + BigInt(tokens) * BigInt(Math.round(each * 1e6)),
          0n,
        );
        const cost = createPrices({ overrides: { m: given } }).cost(openai("m"), usage) ?? -1;
        expect(BigInt(cost) * 1_000_000n - sum).toBeGreaterThanOrEqual(0n);
        expect(BigInt(cost) * 1_000_000n - sum).toBeLessThan(1_000_000n);
      },
    ),
  );
  expect(prices.cost(openai("gpt-4o-mini"), { inputTokens: 1, outputTokens: 0 })).toBe(1);
  expect(prices.cost(openai("gpt-4o-mini"), { inputTokens: 0, outputTokens: 0 })).toBe(0);
});

test("every listed price can be charged, and its parts are whole", () => {
  const all = prices.list();
  expect(all.length).toBeGreaterThan(150);
  for (const { target, price } of all) {
    expect(price.tiers[0]?.above).toBe(0);
    for (const { rates } of price.tiers) {
      expect(Object.values(rates).every(Number.isSafeInteger), JSON.stringify(target)).toBe(true);
    }
    expect(costOf(price, million)).toBeGreaterThanOrEqual(0);
  }
});

test("the price lists' version is the one that is installed", () => {
  const { dependencies } = JSON.parse(readFileSync("package.json", "utf8"));
  expect(priceTableVersion).toBe(
    `@pydantic/genai-prices ${dependencies["@pydantic/genai-prices"]}`,
  );
});

test.each([
  [0, "$0.00"],
  [1, "$0.000001"],
  [120, "$0.00012"],
  [9_999, "$0.009999"],
  [10_000, "$0.01"],
  [12_500, "$0.0125"],
  [50_000, "$0.05"],
  [999_999, "$0.999999"],
  [1_000_000, "$1.00"],
  [1_239_999, "$1.23"],
  [12_345_678, "$12.34"],
])("%d micro-dollars are shown as %s [money.shown]", (micros, text) => {
  expect(dollars(micros)).toBe(text);
});

test("no amount is ever shown as more than it is", () => {
  fc.assert(
    fc.property(fc.nat(2_000_000_000), (micros) => {
      const shown = Math.round(Number(dollars(micros).slice(1)) * 1_000_000);
      expect(shown).toBeLessThanOrEqual(micros);
      if (micros < 1_000_000) expect(shown).toBe(micros);
    }),
  );
});

test.each([
  [{ provider: "anthropic", model: "claude-sonnet-4-20250514" }, 200_000],
  [{ provider: "openai", model: "gpt-4.1-mini" }, 1_000_000],
  [{ provider: "own", model: "gpt-4.1-mini" }, 8_192],
  [{ provider: "openai", model: "nobody-knows-it" }, null],
  [{ provider: "scripted", model: "gpt-4o" }, null],
])("the window of %j is %j [llm.window]", (target, tokens) => {
  const table = createPrices({ providers: { own: { contextWindow: 8_192 } } });
  expect(table.contextWindow(target)).toBe(tokens);
});
