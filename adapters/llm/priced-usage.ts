import type { Usage } from "../../machines/contracts/step-result.ts";
import { costMicros, type PricedUsage } from "./prices.ts";

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
