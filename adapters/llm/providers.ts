/** What a provider speaks: Anthropic's messages, OpenAI's chat completions or responses, or the former by another server. */
export const providerKinds = [
  "anthropic",
  "openai",
  "openai-responses",
  "openai-compatible",
] as const;
export type ProviderKind = (typeof providerKinds)[number];

/** One provider, as it is asked. */
export interface ProviderOptions {
  /** As the configuration names it; stands before the slash in the names of its models. */
  name: string;
  kind: ProviderKind;
  /** Null where the server needs none. */
  apiKey: string | null;
  /** The environment variable that holds the key, for people. */
  keyVariable: string;
  /** The vendor's own when left out. */
  baseUrl?: string;
  /** Of one call, first byte to last. */
  totalMs: number;
  /** Between two pieces of an answer, and before the first. */
  idleMs: number;
}

interface KnownProvider {
  baseUrl: string;
  keyVariable: string | null;
}

/**
 * Providers that model names speak of in litellm's spelling, with the address of their OpenAI-compatible endpoint:
 * what is asked for and not configured is answered with the configuration that would serve it.
 */
const knownProviders: Readonly<Record<string, KnownProvider>> = {
  azure: { baseUrl: "https://RESOURCE.openai.azure.com/openai/v1/", keyVariable: "AZURE_API_KEY" },
  cerebras: { baseUrl: "https://api.cerebras.ai/v1", keyVariable: "CEREBRAS_API_KEY" },
  cohere: {
    baseUrl: "https://api.cohere.ai/compatibility/v1",
    keyVariable: "COHERE_API_KEY",
  },
  deepinfra: { baseUrl: "https://api.deepinfra.com/v1/openai", keyVariable: "DEEPINFRA_API_KEY" },
  deepseek: { baseUrl: "https://api.deepseek.com", keyVariable: "DEEPSEEK_API_KEY" },
  fireworks_ai: {
    baseUrl: "https://api.fireworks.ai/inference/v1",
    keyVariable: "FIREWORKS_AI_API_KEY",
  },
  gemini: {
    baseUrl: "https://generativelanguage.googleapis.com/v1beta/openai/",
    keyVariable: "GEMINI_API_KEY",
  },
  groq: { baseUrl: "https://api.groq.com/openai/v1", keyVariable: "GROQ_API_KEY" },
  hosted_vllm: { baseUrl: "http://localhost:8000/v1", keyVariable: null },
  litellm_proxy: { baseUrl: "http://localhost:4000", keyVariable: "LITELLM_PROXY_API_KEY" },
  lm_studio: { baseUrl: "http://localhost:1234/v1", keyVariable: null },
  huggingface: { baseUrl: "https://router.huggingface.co/v1", keyVariable: "HF_TOKEN" },
  mistral: { baseUrl: "https://api.mistral.ai/v1", keyVariable: "MISTRAL_API_KEY" },
  nvidia_nim: {
    baseUrl: "https://integrate.api.nvidia.com/v1",
    keyVariable: "NVIDIA_NIM_API_KEY",
  },
  ollama: { baseUrl: "http://localhost:11434/v1", keyVariable: null },
  ollama_chat: { baseUrl: "http://localhost:11434/v1", keyVariable: null },
  openrouter: { baseUrl: "https://openrouter.ai/api/v1", keyVariable: "OPENROUTER_API_KEY" },
  perplexity: { baseUrl: "https://api.perplexity.ai", keyVariable: "PERPLEXITYAI_API_KEY" },
  sambanova: { baseUrl: "https://api.sambanova.ai/v1", keyVariable: "SAMBANOVA_API_KEY" },
  together_ai: { baseUrl: "https://api.together.xyz/v1", keyVariable: "TOGETHERAI_API_KEY" },
  vllm: { baseUrl: "http://localhost:8000/v1", keyVariable: null },
  xai: { baseUrl: "https://api.x.ai/v1", keyVariable: "XAI_API_KEY" },
};

/** Whose a model is that is named without its provider; null where the name does not tell. */
export function providerOfBareName(model: string): string | null {
  if (model.startsWith("claude")) return "anthropic";
  if (/^(?:gpt-\d|chatgpt|o\d)/u.test(model)) return "openai";
  if (model.startsWith("gemini-")) return "gemini";
  return /^(?:mistral|codestral|magistral|ministral)-/u.test(model) ? "mistral" : null;
}

/** What has to be set so that a provider of this name can be asked; null for what can't be the name of one. */
export function configurationFor(provider: string): string | null {
  if (provider === "anthropic") return "set ANTHROPIC_API_KEY";
  if (provider === "openai") return "set OPENAI_API_KEY";
  if (!/^[\w-]{1,64}$/u.test(provider)) return null;
  const known = Object.hasOwn(knownProviders, provider) ? knownProviders[provider] : undefined;
  const keyVariable = known === undefined ? variableFor(provider) : known.keyVariable;
  const settings = {
    kind: "openai-compatible",
    baseURL: known?.baseUrl ?? "https://HOST/v1",
    ...(keyVariable === null ? {} : { apiKeyEnv: keyVariable }),
  };
  const where =
    known === undefined
      ? ", with the address of its OpenAI-compatible endpoint or of a LiteLLM proxy"
      : "";
  const key = keyVariable === null ? "" : `, and set ${keyVariable}`;
  return `configure providers: {"${provider}": ${JSON.stringify(settings)}}${where}${key}`;
}

const variableFor = (provider: string) => `${provider.toUpperCase().replaceAll("-", "_")}_API_KEY`;
