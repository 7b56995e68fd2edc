import { terminal, fail } from "../../machines/contracts/domain/failure.ts";
import type { ModelProvider } from "../../machines/contracts/ports/model-provider.ts";
import { type ModelScript, createScripted } from "./scripted.ts";

export interface ModelsOptions {
  anthropicApiKey?: string;
  anthropicBaseUrl?: string;
  openaiApiKey?: string;
  openaiBaseUrl?: string;
  /** What `scripted/…` models answer. */
  script?: ModelScript;
  /** Of one call, first byte to last. */
  timeoutMs: number;
}

type ProviderName = "anthropic" | "openai" | "scripted";

/**
 * All models by name: `claude…` goes to Anthropic; `gpt…`, `chatgpt…` and `o1…`, `o3…` to OpenAI; and
 * `anthropic/…`, `openai/…` and `scripted/…` say it themselves. No name ever falls back to a script.
 */
export function createModels(options: ModelsOptions): ModelProvider {
  const providers = createProviders(options);
  return {
    async complete(request, signal) {
      const route = findRoute(request.model);
      if (route === null) return fail(unknownModel(request.model));
      const provider = providers[route.provider];
      if (provider === null) return fail(notConfigured(route.provider, request.model));
      return provider.complete({ ...request, model: route.model }, signal);
    },
  };
}

function createProviders(options: ModelsOptions): Record<ProviderName, ModelProvider | null> {
  const { anthropicApiKey, anthropicBaseUrl, openaiApiKey, openaiBaseUrl, script, timeoutMs } =
    options;
  return {
    anthropic: anthropicApiKey
      ? whenUsed(async () =>
          (await import("./anthropic.ts")).createAnthropic({
            apiKey: anthropicApiKey,
            ...(anthropicBaseUrl ? { baseUrl: anthropicBaseUrl } : {}),
            timeoutMs,
          }),
        )
      : null,
    openai: openaiApiKey
      ? whenUsed(async () =>
          (await import("./openai.ts")).createOpenai({
            apiKey: openaiApiKey,
            ...(openaiBaseUrl ? { baseUrl: openaiBaseUrl } : {}),
            timeoutMs,
          }),
        )
      : null,
    scripted: script === undefined ? null : createScripted(script),
  };
}

/** A vendor's SDK is hundreds of modules: it is loaded at the first call, not at every start. */
function whenUsed(load: () => Promise<ModelProvider>): ModelProvider {
  let loading: Promise<ModelProvider> | null = null;
  return {
    async complete(request, signal) {
      loading ??= load();
      return (await loading).complete(request, signal);
    },
  };
}

function findRoute(model: string): { provider: ProviderName; model: string } | null {
  const [, provider, name] = /^(anthropic|openai|scripted)\/(.+)$/u.exec(model) ?? [];
  if (provider !== undefined && name !== undefined) {
    return { provider: provider as ProviderName, model: name };
  }
  if (model.startsWith("claude")) return { provider: "anthropic", model };
  return /^(?:gpt|chatgpt|o\d)/u.test(model) ? { provider: "openai", model } : null;
}

function unknownModel(model: string) {
  const known = "claude…, gpt…, chatgpt…, o1… to o9…, anthropic/…, openai/… or scripted/…";
  const named = JSON.stringify(model.slice(0, 200));
  return terminal("invalid_input", `model ${named} is unknown here; expected ${known}`);
}

function notConfigured(provider: ProviderName, model: string) {
  if (provider === "scripted") {
    return terminal("invalid_input", `model ${JSON.stringify(model)}: no script is configured`);
  }
  const variable = provider === "anthropic" ? "ANTHROPIC_API_KEY" : "OPENAI_API_KEY";
  return terminal("unauthorized", `model ${JSON.stringify(model)} needs ${variable} to be set`);
}
