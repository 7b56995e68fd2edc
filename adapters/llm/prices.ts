import type { Usage } from "../../machines/contracts/domain/step-result.ts";

/**
 * Micro-dollars per million tokens, all integers. `cacheRead` and `cacheWrite` price the part of the input that
 * was read from or written to the provider's cache; without them that part costs what input costs.
 * Reasoning tokens are output tokens with both providers.
 */
export interface Price {
  input: number;
  output: number;
  cacheRead?: number;
  cacheWrite?: number;
}

/** Tokens as they are priced: `inputTokens` counts cached ones too. */
export interface PricedUsage {
  inputTokens: number;
  outputTokens: number;
  cacheReadTokens?: number;
  cacheWriteTokens?: number;
}

/** Raised with every change to the table, so that a recorded cost can be told from a later one. */
export const priceTableVersion = "2025-12-01";

const million = 1_000_000;
const dollars = (amount: number) => Math.round(amount * million);

/** Anthropic reads its cache at a tenth of the input price and writes it (for five minutes) at five quarters. */
const claude = (input: number, output: number): Price => ({
  input: dollars(input),
  output: dollars(output),
  cacheRead: dollars(input / 10),
  cacheWrite: dollars(input * 1.25),
});

const gpt = (input: number, output: number, cached = input): Price => ({
  input: dollars(input),
  output: dollars(output),
  cacheRead: dollars(cached),
});

/** From the providers' public price lists, in US dollars. */
const prices: Readonly<Record<string, Price>> = {
  "claude-opus-4-5": claude(5, 25),
  "claude-opus-4-1": claude(15, 75),
  "claude-opus-4-0": claude(15, 75),
  "claude-opus-4": claude(15, 75),
  "claude-sonnet-4-5": claude(3, 15),
  "claude-sonnet-4-0": claude(3, 15),
  "claude-sonnet-4": claude(3, 15),
  "claude-haiku-4-5": claude(1, 5),
  "claude-3-7-sonnet": claude(3, 15),
  "claude-3-5-sonnet": claude(3, 15),
  "claude-3-5-haiku": claude(0.8, 4),
  "claude-3-opus": claude(15, 75),
  "claude-3-sonnet": claude(3, 15),
  "claude-3-haiku": {
    ...claude(0.25, 1.25),
    cacheRead: dollars(0.03),
    cacheWrite: dollars(0.3),
  },
  "gpt-5": gpt(1.25, 10, 0.125),
  "gpt-5-mini": gpt(0.25, 2, 0.025),
  "gpt-5-nano": gpt(0.05, 0.4, 0.005),
  "gpt-4.1": gpt(2, 8, 0.5),
  "gpt-4.1-mini": gpt(0.4, 1.6, 0.1),
  "gpt-4.1-nano": gpt(0.1, 0.4, 0.025),
  "gpt-4o": gpt(2.5, 10, 1.25),
  "gpt-4o-mini": gpt(0.15, 0.6, 0.075),
  "gpt-4-turbo": gpt(10, 30),
  "gpt-4": gpt(30, 60),
  "gpt-3.5-turbo": gpt(0.5, 1.5),
  "o4-mini": gpt(1.1, 4.4, 0.275),
  o3: gpt(2, 8, 0.5),
  "o3-mini": gpt(1.1, 4.4, 0.55),
  o1: gpt(15, 60, 7.5),
  "o1-mini": gpt(3, 12, 1.5),
};

/** A dated snapshot costs what its model costs; anything else that is not in the table is unknown. */
const snapshot = /(?:-\d{8}|-\d{4}-\d{2}-\d{2}|-\d{4}|-latest)$/u;

/** The price of a model, named with or without its provider and its date; null when it is not in the table. */
export function findPrice(model: string): Price | null {
  const name = model.replace(/^(?:openai|anthropic)\//u, "");
  for (const candidate of [name, name.replace(snapshot, "")]) {
    if (Object.hasOwn(prices, candidate)) return prices[candidate] ?? null;
  }
  return null;
}

/** What a model call costs in whole micro-dollars, rounded up; null for a model without a price. */
export function costMicros(model: string, usage: PricedUsage): number | null {
  const price = findPrice(model);
  if (price === null) return null;
  const { inputTokens, outputTokens, cacheReadTokens = 0, cacheWriteTokens = 0 } = usage;
  const plain = Math.max(0, inputTokens - cacheReadTokens - cacheWriteTokens);
  const total =
    plain * price.input +
    outputTokens * price.output +
    cacheReadTokens * (price.cacheRead ?? price.input) +
    cacheWriteTokens * (price.cacheWrite ?? price.input);
  return Math.ceil(total / million);
}

/**
 * The provider's count as a step keeps it. The cost is left out when the model has no price or the provider
 * counted nothing: whoever reserved money for the call then knows better than a zero would.
 */
export function pricedUsage(model: string, counted: PricedUsage | null): Usage {
  if (counted === null) return { inputTokens: 0, outputTokens: 0 };
  const cost = costMicros(model, counted);
  const { inputTokens, outputTokens } = counted;
  return { inputTokens, outputTokens, ...(cost === null ? {} : { costMicros: cost }) };
}

/** A token count from outside as a whole number that is not negative; 0 for anything else. */
export function tokenCount(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) ? Math.max(0, Math.round(value)) : 0;
}
