import type { Budget } from "../../../machines/contracts/domain/budget.ts";

/** The engine's own limits. */
const defaults: Budget = {
  max_input_tokens: 100_000,
  max_output_tokens: 50_000,
  max_total_tokens: 150_000,
  max_tool_calls: 50,
  max_wall_time_ms: 300_000,
  max_cost_cents: 500,
  max_cost_micros: null,
};

/** Each limit from the first that sets it: the run, its agent version, the defaults. */
export function resolveBudget(run: Partial<Budget>, version: Partial<Budget>): Budget {
  return { ...defaults, ...version, ...run };
}
