import { createRequire } from "node:module";
import { type } from "arktype";
import type { ModelPrice, TieredPrices } from "@pydantic/genai-prices";
import { once } from "../../machines/contracts/domain/once.ts";
import type { Usage } from "../../machines/contracts/domain/step-result.ts";
import type { ModelTarget } from "../../machines/contracts/ports/model-provider.ts";
import type { Prices } from "../../machines/contracts/ports/prices.ts";

/** Whose price lists these are, and of which version: a recorded cost can be told from a later one. */
export const priceTableVersion = "@pydantic/genai-prices 0.1.8";

const amount = "number >= 0";
/** Dollars per million tokens. What is left out costs what the next broader kind costs: cache reads cost input, for one. */
const rates = {
  "cacheRead?": amount,
  /** Written to a cache for five minutes, and for an hour. */
  "cacheWrite5m?": amount,
  "cacheWrite1h?": amount,
  "reasoning?": amount,
} as const;

/** A price as configuration gives it. */
export const priceShape = once(() =>
  type({
    "+": "reject",
    input: amount,
    output: amount,
    ...rates,
    /** What all tokens of a call cost when its input, cached parts included, is longer than `above` tokens. */
    "longContext?": type({
      "+": "reject",
      above: "number.integer > 0",
      input: amount,
      output: amount,
      ...rates,
    }),
  }),
);
export type GivenPrice = ReturnType<typeof priceShape>["infer"];

/** Integers: micro-dollars per million tokens. */
interface Rates {
  input: number;
  output: number;
  cacheRead: number;
  cacheWrite5m: number;
  cacheWrite1h: number;
  reasoning: number;
}

export interface Price {
  /** By the length of the input from which they hold, shortest first; the first holds from 0. */
  tiers: readonly { above: number; rates: Rates }[];
  /** Micro-dollars of each call, beside its tokens. */
  perCall: number;
  /** Where it comes from, for people. */
  source: string;
}

export interface PriceOptions {
  /** By `provider/model`, or by model for any provider. They go before the lists. */
  overrides?: Readonly<Record<string, GivenPrice>>;
  /** Configured providers by name: whose lists theirs are is told by their address or their own name. */
  providers?: Readonly<
    Record<
      string,
      { baseUrl?: string; prices?: Readonly<Record<string, GivenPrice>>; contextWindow?: number }
    >
  >;
  /** Some prices hold from a date on. Epoch milliseconds. */
  now?: () => number;
}

export interface PriceTable extends Prices {
  find(target: ModelTarget): Price | null;
  /** Tokens that a model reads and writes at most; null where neither configuration nor the lists say. */
  contextWindow(target: ModelTarget): number | null;
  /** Of a name with or without its provider, as a person writes it. */
  findByName(name: string): { target: ModelTarget; price: Price } | null;
  /** Every model of the lists and the overrides, by provider. */
  list(): { target: ModelTarget; price: Price }[];
}

type Lists = typeof import("@pydantic/genai-prices");
let loaded: Lists | null = null;
/** Nearly a megabyte: read when a price is first asked for. */
const lists = (): Lists =>
  (loaded ??= createRequire(import.meta.url)("@pydantic/genai-prices") as Lists);

/** Models whose prices stand in memory. */
const mostLooks = 200;
const million = 1_000_000;
const integer = (dollars: number): number => Math.round(dollars * million);

/** Names that people use for providers, and the lists' own. */
const aliases: Readonly<Record<string, string>> = { gemini: "google", xai: "x-ai", grok: "x-ai" };
/** What is listed for people: the lists also hold hundreds of resold models. */
const listed = ["anthropic", "openai", "google", "mistral", "groq", "deepseek", "x-ai", "cohere"];

/**
 * Prices by the lists of genai-prices, which others keep, offline; what configuration gives goes before them.
 * Reasoning tokens cost what output costs where the list has no price of their own.
 */
export function createPrices(options: PriceOptions = {}): PriceTable {
  const { overrides = {}, providers = {}, now = Date.now } = options;

  function given({ provider, model }: ModelTarget): Price | null {
    const own = providers[provider]?.prices;
    for (const [table, name, source] of [
      [own, model, `providers.${provider}.prices`],
      [overrides, `${provider}/${model}`, "prices"],
      [overrides, model, "prices"],
    ] as const) {
      const price = table !== undefined && Object.hasOwn(table, name) ? table[name] : undefined;
      if (price !== undefined) return fromGiven(price, `configuration (${source})`);
    }
    return null;
  }

  // A look goes through the lists name by name, and each call asks three times. A price changes at a date, or with the hour.
  let minute = 0;
  const looks = new Map<string, ReturnType<typeof lookUp>>();
  function inLists({ provider, model }: ModelTarget) {
    if (provider === "scripted" || provider === "recorded") return null;
    const present = Math.floor(now() / 60_000);
    if (present !== minute || looks.size >= mostLooks) looks.clear();
    minute = present;
    const name = JSON.stringify([provider, model]);
    let found = looks.get(name);
    if (found === undefined) looks.set(name, (found = lookUp({ provider, model })));
    return found;
  }

  function lookUp({ provider, model }: ModelTarget) {
    const baseUrl = providers[provider]?.baseUrl;
    const byAddress =
      baseUrl === undefined ? undefined : lists().findProvider({ providerApiUrl: baseUrl });
    const providerId = byAddress?.id ?? aliases[provider] ?? provider;
    const timestamp = new Date(now());
    return lists().calcPrice({}, model, { providerId, timestamp });
  }

  function find(target: ModelTarget): Price | null {
    const own = given(target);
    if (own !== null) return own;
    const inList = inLists(target);
    return inList === null ? null : fromList(inList.model_price);
  }

  return {
    find,
    contextWindow(target) {
      const own = providers[target.provider]?.contextWindow;
      return own ?? inLists(target)?.model.context_window ?? null;
    },
    cost(target, usage) {
      const price = find(target);
      return price === null ? null : costOf(price, usage);
    },
    findByName(name) {
      for (const target of targetsOf(name)) {
        const price = find(target);
        if (price !== null) return { target, price };
      }
      return null;
    },
    list() {
      const named = listed.flatMap((provider) =>
        (lists().findProvider({ providerId: provider })?.models ?? []).map(({ id }) => ({
          provider,
          model: id,
        })),
      );
      const own = Object.entries(providers).flatMap(([provider, { prices = {} }]) =>
        Object.keys(prices).map((model) => ({ provider, model })),
      );
      const known = Object.keys(overrides).flatMap((name) => targetsOf(name).slice(0, 1));
      const all = new Map<string, ModelTarget>();
      for (const target of [...own, ...known, ...named]) {
        all.set(`${target.provider}/${target.model}`, target);
      }
      return [...all.values()].flatMap((target) => {
        const price = find(target);
        return price === null ? [] : [{ target, price }];
      });
    },
  };
}

/** Whom a written name may mean: the provider it names, else the one whose models are called so. */
function targetsOf(name: string): ModelTarget[] {
  const slash = name.indexOf("/");
  const provider = lists().findProvider({ modelId: name.toLowerCase() })?.id;
  return [
    ...(slash > 0 ? [{ provider: name.slice(0, slash), model: name.slice(slash + 1) }] : []),
    { provider: provider ?? "", model: name },
  ];
}

/** What one call costs, exactly, rounded up to the next whole micro-dollar. */
export function costOf({ tiers, perCall }: Price, usage: Usage): number {
  const { inputTokens, outputTokens } = usage;
  const rate = tiers.findLast(({ above }) => above === 0 || inputTokens > above)?.rates;
  if (rate === undefined) throw new Error("a price without a first tier");
  const read = usage.cacheReadTokens ?? 0;
  const written5m = usage.cacheWrite5mTokens ?? 0;
  const written1h = usage.cacheWrite1hTokens ?? 0;
  const reasoning = Math.min(usage.reasoningTokens ?? 0, outputTokens);
  const parts: [tokens: number, rate: number][] = [
    [Math.max(0, inputTokens - read - written5m - written1h), rate.input],
    [read, rate.cacheRead],
    [written5m, rate.cacheWrite5m],
    [written1h, rate.cacheWrite1h],
    [outputTokens - reasoning, rate.output],
    [reasoning, rate.reasoning],
  ];
  // Counts come from outside: their product can be more than a double holds exactly.
  let sum = BigInt(perCall) * BigInt(million);
  for (const [tokens, each] of parts) sum += BigInt(tokens) * BigInt(each);
  return Number((sum + BigInt(million - 1)) / BigInt(million));
}

function fromGiven({ longContext, ...base }: GivenPrice, source: string): Price {
  const tiers = [{ above: 0, rates: givenRates(base) }];
  if (longContext !== undefined) {
    tiers.push({ above: longContext.above, rates: givenRates(longContext) });
  }
  return { tiers, perCall: 0, source };
}

function givenRates(given: Omit<GivenPrice, "longContext">): Rates {
  const { input, output, cacheRead = input, cacheWrite5m = input, reasoning = output } = given;
  const { cacheWrite1h = cacheWrite5m } = given;
  return {
    input: integer(input),
    output: integer(output),
    cacheRead: integer(cacheRead),
    cacheWrite5m: integer(cacheWrite5m),
    cacheWrite1h: integer(cacheWrite1h),
    reasoning: integer(reasoning),
  };
}

/** A price of the lists; null for a model that is not paid by its tokens. */
function fromList(price: ModelPrice): Price | null {
  const { input_mtok: input, output_mtok: output } = price;
  if (input === undefined && output === undefined) return null;
  const starts = new Set([0]);
  for (const rate of Object.values(price)) {
    if (typeof rate === "object") for (const { start } of rate.tiers) starts.add(start);
  }
  const perCall = price["requests_kcount"];
  return {
    tiers: [...starts]
      .sort((a, b) => a - b)
      .map((above) => ({ above, rates: listRates(price, above) })),
    perCall: typeof perCall === "number" ? integer(perCall / 1_000) : 0,
    source: priceTableVersion,
  };
}

function listRates(price: ModelPrice, above: number): Rates {
  const at = (...keys: string[]): number => {
    const key = keys.find((candidate) => price[candidate] !== undefined);
    return key === undefined ? 0 : integer(rateAt(price[key] ?? 0, above));
  };
  return {
    input: at("input_mtok"),
    output: at("output_mtok"),
    cacheRead: at("cache_read_mtok", "input_mtok"),
    cacheWrite5m: at("cache_write_5m_mtok", "cache_write_mtok", "input_mtok"),
    cacheWrite1h: at("cache_write_1h_mtok", "cache_write_mtok", "input_mtok"),
    reasoning: at("output_reasoning_mtok", "output_mtok"),
  };
}

/** Of a tiered rate the one that holds for an input of more than `above` tokens: the last that begins no later. */
function rateAt(rate: number | TieredPrices, above: number): number {
  if (typeof rate === "number") return rate;
  const tier = rate.tiers.filter(({ start }) => start <= above && above > 0);
  return tier.sort((a, b) => a.start - b.start).at(-1)?.price ?? rate.base;
}
