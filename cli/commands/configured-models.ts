import type { Settings } from "../config/settings.ts";

/** Which models can be asked, and what to set where none can. */
export function configuredModels(settings: Settings): string {
  const { anthropicApiKey, openaiApiKey, modelScript } = settings;
  const known = [
    ...(anthropicApiKey === null ? [] : ["Anthropic (ANTHROPIC_API_KEY)"]),
    ...(openaiApiKey === null ? [] : ["OpenAI (OPENAI_API_KEY)"]),
    ...(modelScript === null ? [] : [`scripted (${modelScript})`]),
  ];
  return known.join(", ") || "none (set ANTHROPIC_API_KEY or OPENAI_API_KEY, or --model-script)";
}
