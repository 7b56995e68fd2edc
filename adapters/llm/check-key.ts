import type { ProviderOptions } from "./providers.ts";

/** For a person who waits. Milliseconds. */
const patienceMs = 5_000;

const usualBases = {
  anthropic: "https://api.anthropic.com",
  openai: "https://api.openai.com/v1",
} as const;

/**
 * Whether a provider refuses its key (401), asked by a look at its list of models, which costs nothing. Whatever else it
 * answers says nothing of the key: not every server has such a list, and not every good key may read it.
 */
export async function refusesKey(
  { kind, apiKey, baseUrl }: Pick<ProviderOptions, "kind" | "apiKey" | "baseUrl">,
  signal: AbortSignal,
): Promise<boolean> {
  if (apiKey === null) return false;
  const isAnthropic = kind === "anthropic";
  const base = (baseUrl ?? usualBases[isAnthropic ? "anthropic" : "openai"]).replace(/\/+$/u, "");
  const headers: Record<string, string> = isAnthropic
    ? { authorization: `Bearer ${apiKey}`, "anthropic-version": "2023-06-01" }
    : { authorization: `Bearer ${apiKey}` };
  try {
    const response = await fetch(`${base}${isAnthropic ? "/v1/models" : "/models"}`, {
      headers,
      // The key is for this host alone.
      redirect: "manual",
      signal: AbortSignal.any([signal, AbortSignal.timeout(patienceMs)]),
    });
    await response.body?.cancel();
    return response.status === 401;
  } catch {
    // Not reached: the key may be as good as any.
    return false;
  }
}
