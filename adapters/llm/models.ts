import {
  type Failure,
  fail,
  ok,
  type Outcome,
  terminal,
} from "../../machines/contracts/domain/failure.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { ModelProvider, ModelTarget } from "../../machines/contracts/ports/model-provider.ts";
import { limitProvider } from "./provider-limits.ts";
import { configurationFor, providerOfBareName, type ProviderOptions } from "./providers.ts";
import { createScripted, type ModelScript } from "./scripted.ts";
import { toFailure } from "./vendor-trouble.ts";

export interface ModelsOptions {
  providers: readonly ProviderOptions[];
  /** What `scripted/…` models answer. */
  script?: ModelScript;
  /** What answers as `scripted/…` in place of a script. */
  standIn?: ModelProvider;
  /** What `recorded/…` models answer; given the providers, who are asked for what is to be recorded. */
  recording?: (live: ModelProvider) => ModelProvider;
}

/**
 * All models by name: `provider/model` where a provider of that name is configured, or bare where the name tells whose
 * the model is. No name ever falls back to a script.
 */
export function createModels({
  providers,
  script,
  standIn,
  recording,
}: ModelsOptions): ModelProvider {
  const asked = new Map<string, ModelProvider>(
    providers.map((options) => [options.name, limitProvider(options.name, whenUsed(options))]),
  );
  const keyless = new Map(
    providers.filter(isWithoutKey).map(({ name, keyVariable }) => [name, keyVariable]),
  );
  if (standIn !== undefined) asked.set("scripted", standIn);
  if (script !== undefined) asked.set("scripted", createScripted(script));

  function find(name: string): Outcome<ModelTarget> {
    const slash = name.indexOf("/");
    const provider = slash < 0 ? providerOfBareName(name) : name.slice(0, slash);
    const model = slash < 0 ? name : name.slice(slash + 1);
    if (provider === null || model === "") return fail(unknownModel(name, [...asked.keys()]));
    const keyVariable = keyless.get(provider);
    if (keyVariable !== undefined) return fail(withoutKey(name, provider, keyVariable));
    if (asked.has(provider)) return ok({ provider, model });
    return fail(notConfigured(name, provider) ?? unknownModel(name, [...asked.keys()]));
  }

  const models: ModelProvider = {
    async complete(request, signal, onPart) {
      const target = find(request.model);
      if (!target.ok) return target;
      const { provider, model } = target.value;
      const outcome = await asked.get(provider)?.complete({ ...request, model }, signal, onPart);
      if (outcome === undefined) throw new Error(`provider ${provider} was found and is not there`);
      return outcome.ok ? outcome : fail(withModel(outcome.failure, model));
    },
    targets(model) {
      const target = find(model);
      if (!target.ok) return target;
      // Who stands before others says who is paid.
      return asked.get(target.value.provider)?.targets?.(target.value.model) ?? ok([target.value]);
    },
  };
  if (recording !== undefined) asked.set("recorded", recording(models));
  return models;
}

/** A vendor's SDK is hundreds of modules: it is loaded at the first call, not at every start. */
function whenUsed(options: ProviderOptions): ModelProvider {
  let loading: Promise<ModelProvider> | null = null;
  return {
    async complete(request, signal, onPart) {
      loading ??= load(options);
      return (await loading).complete(request, signal, onPart);
    },
  };
}

async function load(options: ProviderOptions): Promise<ModelProvider> {
  switch (options.kind) {
    case "anthropic":
      return (await import("./anthropic.ts")).createAnthropic(options);
    case "openai-responses":
      return (await import("./openai-responses.ts")).createOpenaiResponses(options);
    case "openai":
    case "openai-compatible":
      return (await import("./openai-chat.ts")).createOpenaiChat(options);
  }
}

const isWithoutKey = ({ apiKey, keyVariable }: ProviderOptions) =>
  apiKey === null && keyVariable !== "";

function withModel(failure: Failure, model: string): Failure {
  return failure.details?.["model"] === undefined
    ? { ...failure, details: { ...failure.details, model } }
    : failure;
}

const shown = (model: string) => JSON.stringify(cutText(model, 200));

function unknownModel(model: string, names: readonly string[]): Failure {
  const configured = names.map((name) => `${name}/…`).join(", ");
  const expected = `a name that begins with claude, gpt-, chatgpt or o1 to o9, or provider/model of a configured provider (${configured || "none is configured"})`;
  const message = `model ${shown(model)} is unknown here; expected ${expected}`;
  return terminal("invalid_input", message, { reason: "unknown_model" });
}

function withoutKey(model: string, name: string, keyVariable: string): Failure {
  return toFailure({ name }, "auth", `model ${shown(model)} needs ${keyVariable} to be set`);
}

function notConfigured(model: string, name: string): Failure | null {
  if (name === "scripted" || name === "recorded") {
    const setting = name === "scripted" ? "STATEPLANE_MODEL_SCRIPT" : "STATEPLANE_MODEL_RECORDING";
    const what = name === "scripted" ? "script" : "recording";
    const message = `model ${shown(model)}: no ${what} is configured; name its file in ${setting}`;
    return terminal("invalid_input", message, { reason: "unknown_model", provider: name });
  }
  const needed = configurationFor(name);
  if (needed === null) return null;
  const message = `model ${shown(model)} needs a provider ${JSON.stringify(name)}: ${needed}`;
  const isKeyOnly = name === "anthropic" || name === "openai";
  if (isKeyOnly) return toFailure({ name }, "auth", message);
  return terminal("invalid_input", message, { reason: "unknown_model", provider: name });
}
