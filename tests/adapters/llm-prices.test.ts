import * as fc from "fast-check";
import { expect, test } from "vitest";
import { costMicros, findPrice } from "../../adapters/llm/prices.ts";
import { createToolNames } from "../../adapters/llm/tool-calls.ts";

test.each([
  ["claude-opus-4-5", 5_000_000, 25_000_000],
  ["claude-opus-4-5-20251101", 5_000_000, 25_000_000],
  ["claude-opus-4-20250514", 15_000_000, 75_000_000],
  ["claude-3-5-haiku-20241022", 800_000, 4_000_000],
  ["gpt-4o", 2_500_000, 10_000_000],
  ["gpt-4o-2024-08-06", 2_500_000, 10_000_000],
  ["openai/gpt-4o-mini", 150_000, 600_000],
  ["gpt-4-0613", 30_000_000, 60_000_000],
  ["o1-mini", 3_000_000, 12_000_000],
])("a million tokens of %s cost %d in and %d out, in micro-dollars", (model, input, output) => {
  expect(costMicros(model, { inputTokens: 1_000_000, outputTokens: 0 })).toBe(input);
  expect(costMicros(model, { inputTokens: 0, outputTokens: 1_000_000 })).toBe(output);
});

test.each([
  "claude-opus-9",
  "claude-opus-4-7",
  "gpt-4o-audio-preview",
  "",
  "constructor",
  "gemini-pro",
])("%j has no price, and none is made up", (model) => {
  expect(costMicros(model, { inputTokens: 1, outputTokens: 1 })).toBeNull();
  expect(findPrice(model)).toBeNull();
});

test("a cost is a whole number, rounded up, and grows with every token", () => {
  const tokens = fc.nat(10_000_000);
  fc.assert(
    fc.property(tokens, tokens, tokens, (inputTokens, outputTokens, cacheReadTokens) => {
      const usage = { inputTokens: inputTokens + cacheReadTokens, outputTokens, cacheReadTokens };
      const cost = costMicros("claude-3-haiku", usage) ?? -1;
      const more = costMicros("claude-3-haiku", { ...usage, outputTokens: outputTokens + 1 }) ?? -1;
      expect(Number.isSafeInteger(cost)).toBe(true);
      expect(cost).toBeGreaterThanOrEqual(0);
      expect(more).toBeGreaterThan(cost);
    }),
  );
  expect(costMicros("gpt-4o-mini", { inputTokens: 1, outputTokens: 0 })).toBe(1);
});

test("every tool's name goes out in the vendors' alphabet and comes back as it was", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string({ minLength: 1, maxLength: 80 })), (names) => {
      const table = createToolNames(names);
      const out = names.map(table.outward);
      expect(new Set(out).size).toBe(names.length);
      expect(out.every((name) => /^[A-Za-z0-9_-]{1,64}$/u.test(name))).toBe(true);
      expect(out.map(table.inward)).toEqual(names);
    }),
  );
  const { outward } = createToolNames(["git.status", "git_status"]);
  expect([outward("git.status"), outward("git_status")]).toEqual(["git_status_2", "git_status"]);
});
