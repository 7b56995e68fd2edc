import { readFile } from "node:fs/promises";
import { refusesKey } from "../../adapters/llm/check-key.ts";
import { createFallbacks, type Fallbacks } from "../../adapters/llm/fallbacks.ts";
import { createModels } from "../../adapters/llm/models.ts";
import { createPricedModels } from "../../adapters/llm/priced-models.ts";
import { createPrices, type PriceTable } from "../../adapters/llm/prices.ts";
import type { ProviderOptions } from "../../adapters/llm/providers.ts";
import { createRecorded } from "../../adapters/llm/recorded.ts";
import { type ModelScript, readModelScript } from "../../adapters/llm/scripted.ts";
import { InvalidSetting } from "../../machines/contracts/domain/errors.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import type { ModelProvider } from "../../machines/contracts/ports/model-provider.ts";
import type { Config } from "../config/load-config.ts";
import { type Env, readVariable } from "../config/secret-files.ts";
import type { Settings } from "../config/settings.ts";
import { hiding, secrets } from "../secrets.ts";

/**
 * All models that the settings name, with their prices and fallbacks.
 *
 * @throws InvalidSetting for a setting that can't be used
 */
export async function composeModels(
  config: Pick<Config, "settings" | "sources">,
  env: Env,
  prices: PriceTable,
  log: Log,
): Promise<ModelProvider> {
  const { settings, sources } = config;
  const { modelScript, modelRecording: file, recordModels, unknownPrices } = settings;
  const models = createModels({
    providers: providersOf(settings, env),
    ...(modelScript === null ? {} : { script: await readScript(modelScript, sources.modelScript) }),
    ...(file === null
      ? {}
      : {
          recording: (live) =>
            createRecorded({
              file,
              hide: secrets.redact,
              live: recordModels === "yes" ? live : null,
            }),
        }),
  });
  const strict = unknownPrices === "refuse";
  // The failure of one that was asked in vain stands in an answer, too: secrets are taken out of it before.
  const priced = hiding(createPricedModels(models, { prices, strict, log }));
  return createFallbacks(priced, fallbacksOf(settings), log);
}

/** The providers that are configured, and those whose keys are there. What is configured goes before. */
export function providersOf(settings: Settings, env: Env): ProviderOptions[] {
  const { modelTimeoutMs: totalMs, modelIdleTimeoutMs: idleMs, providers = {} } = settings;
  const times = { totalMs, idleMs };
  const configured = Object.entries(providers).map(([name, { kind, baseURL, apiKeyEnv }]) => ({
    name,
    kind,
    apiKey:
      (apiKeyEnv === undefined ? undefined : readVariable(apiKeyEnv, env)?.value.trim()) || null,
    keyVariable: apiKeyEnv ?? "",
    ...(baseURL === undefined ? {} : { baseUrl: baseURL }),
    ...times,
  }));
  const { anthropicApiKey, anthropicBaseUrl, openaiApiKey, openaiBaseUrl } = settings;
  const own = [
    ["anthropic", anthropicApiKey, "ANTHROPIC_API_KEY", anthropicBaseUrl],
    ["openai", openaiApiKey, "OPENAI_API_KEY", openaiBaseUrl],
  ] as const;
  const byKey = own.flatMap(([name, apiKey, keyVariable, baseUrl]) => {
    if (apiKey === null || Object.hasOwn(providers, name)) return [];
    const base = baseUrl === null ? {} : { baseUrl };
    // Another server under OpenAI's name often knows only the older parts of its API.
    const isOthers = baseUrl !== null && URL.parse(baseUrl)?.hostname !== "api.openai.com";
    const kind = name === "openai" && isOthers ? ("openai-compatible" as const) : name;
    return [{ name, kind, apiKey, keyVariable, ...base, ...times }];
  });
  return [...configured, ...byKey];
}

function fallbacksOf({ fallbacks = {} }: Settings): Fallbacks {
  const chains = Object.entries(fallbacks).map(([model, chain]) => [
    model,
    chain.map((fallback) => (typeof fallback === "string" ? { model: fallback } : fallback)),
  ]);
  return Object.fromEntries(chains) as Fallbacks;
}

/** What models cost, by the lists that come with the program and by configuration. */
export function pricesOf(settings: Settings): PriceTable {
  const { prices } = settings;
  const known = providersOf(settings, {}).map(({ name, baseUrl }) => {
    const { prices: own, contextWindow } = settings.providers?.[name] ?? {};
    return [
      name,
      {
        ...(baseUrl === undefined ? {} : { baseUrl }),
        ...(own === undefined ? {} : { prices: own }),
        ...(contextWindow === undefined ? {} : { contextWindow }),
      },
    ] as const;
  });
  return createPrices({
    ...(prices === undefined ? {} : { overrides: prices }),
    providers: Object.fromEntries(known),
  });
}

/** A warning for each agent whose budget in money does not hold a model that it may ask: no price of that is known. */
export function unpricedBudgets(settings: Settings): string[] {
  const prices = pricesOf(settings);
  return Object.entries(settings.agents ?? {}).flatMap(([slug, { model: own, budget }]) => {
    const { max_cost_cents: cents, max_cost_micros: micros } = budget ?? {};
    if ((cents ?? micros ?? null) === null) return [];
    const model = own ?? settings.defaultModel;
    const chain = fallbacksOf(settings)[model] ?? [];
    return [model, ...chain.map((fallback) => fallback.model)]
      .filter((name) => !/^(?:scripted|recorded)\//u.test(name) && prices.findByName(name) === null)
      .map(
        (name) =>
          `no price of ${name} is known, so the budget of agent ${slug} does not limit what it costs`,
      );
  });
}

/**
 * What `scripted/…` models answer, from a JSON or YAML file.
 *
 * @param source where the file's name came from
 * @throws InvalidSetting
 */
async function readScript(file: string, source: string): Promise<ModelScript> {
  const problem = (expected: string) => new InvalidSetting("modelScript", source, expected);
  const content = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw problem(`a readable file; ${file}: ${error.code}`);
  });
  let parsed: unknown;
  try {
    // YAML reads JSON too.
    const { parse } = await import("yaml");
    parsed = parse(content);
  } catch {
    throw problem(`JSON or YAML in ${file}`);
  }
  const script = readModelScript(parsed);
  if (typeof script === "string") throw problem(`a script in ${file}; ${script}`);
  return script;
}

export interface ShownProvider {
  name: string;
  /** For people: the address, and where its key comes from. */
  detail: string;
  /** What is missing; null when it can be asked. */
  fix: string | null;
}

/** Every provider that can be named, for people. */
export function shownProviders(settings: Settings, env: Env): ShownProvider[] {
  const providers = providersOf(settings, env).map(
    ({ name, kind, apiKey, keyVariable, baseUrl }) => {
      const host = baseUrl === undefined ? "" : ` at ${URL.parse(baseUrl)?.host ?? baseUrl}`;
      const key = keyVariable === "" ? "no key" : keyVariable;
      const isMissing = keyVariable !== "" && apiKey === null;
      return {
        name,
        detail: `${kind}${host} (${key}${isMissing ? ", which is not set" : ""})`,
        fix: isMissing ? `set ${keyVariable}` : null,
      };
    },
  );
  const { modelScript, modelRecording } = settings;
  const files = [
    ["scripted", modelScript],
    ["recorded", modelRecording],
  ] as const;
  const played = files.flatMap(([name, detail]) =>
    detail === null ? [] : [{ name, detail, fix: null }],
  );
  return [...providers, ...played];
}

/** The providers that refuse the key that is set for them, as far as they can be asked now. */
export async function refusedKeys(
  settings: Settings,
  env: Env,
  signal: AbortSignal,
): Promise<Set<string>> {
  const asked = providersOf(settings, env).map(async (provider) =>
    (await refusesKey(provider, signal)) ? [provider.name] : [],
  );
  return new Set((await Promise.all(asked)).flat());
}

/** Which models can be asked, and what to set where none can. */
export function configuredModels(settings: Settings, env: Env): string {
  const known = shownProviders(settings, env).map(({ name, detail }) => `${name}: ${detail}`);
  return known.join(", ") || "none (set ANTHROPIC_API_KEY or OPENAI_API_KEY, or --model-script)";
}
