import type { Usage } from "../contracts/step-result.ts";

/** What two pieces of work used together: a repaired answer costs both tries. */
export function addUsage(first: Usage | null, second: Usage | null): Usage | null {
  if (first === null || second === null) return first ?? second;
  const costs = [first.costMicros, second.costMicros].filter((cost) => cost !== undefined);
  return {
    inputTokens: first.inputTokens + second.inputTokens,
    outputTokens: first.outputTokens + second.outputTokens,
    ...(costs.length === 0 ? {} : { costMicros: costs.reduce((sum, cost) => sum + cost, 0) }),
  };
}
