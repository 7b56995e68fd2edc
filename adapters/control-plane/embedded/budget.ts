import { type } from "arktype";
import type { JsonObject } from "../../../machines/contracts/domain/json.ts";

/** A run's limits, in the words of the wire (the OpenAPI file's `Budget`, `config.budget` of a run); null for no limit. */
export interface Budget {
  max_input_tokens: number | null;
  max_output_tokens: number | null;
  max_total_tokens: number | null;
  max_tool_calls: number | null;
  max_wall_time_ms: number | null;
  max_cost_cents: number | null;
}

const limit = "number.integer >= 0 | null";
export const budgetShape = type({
  "max_input_tokens?": limit,
  "max_output_tokens?": limit,
  "max_total_tokens?": limit,
  "max_tool_calls?": limit,
  "max_wall_time_ms?": limit,
  "max_cost_cents?": limit,
});

/** The engine's own limits. */
const defaults: Budget = {
  max_input_tokens: 100_000,
  max_output_tokens: 50_000,
  max_total_tokens: 150_000,
  max_tool_calls: 50,
  max_wall_time_ms: 300_000,
  max_cost_cents: 500,
};

/** Each limit from the first that sets it: the run, its agent version, the defaults. */
export function resolveBudget(run: Partial<Budget>, version: Partial<Budget>): Budget {
  return { ...defaults, ...version, ...run };
}

export interface Spent {
  inputTokens: number;
  outputTokens: number;
  toolCalls: number;
  /** Milliseconds since the run's creation, less the time it waited for people. */
  wallTimeMs: number;
  costMicros: number;
}

const microsPerCent = 10_000;

/** The first limit that was passed (strictly), as one line for a person; null when all hold. */
export function brokenLimit(budget: Budget, spent: Spent): string | null {
  const total = spent.inputTokens + spent.outputTokens;
  const measures: [string, number, number | null, string][] = [
    ["input tokens", spent.inputTokens, budget.max_input_tokens, ""],
    ["output tokens", spent.outputTokens, budget.max_output_tokens, ""],
    ["tokens", total, budget.max_total_tokens, ""],
    ["tool calls", spent.toolCalls, budget.max_tool_calls, ""],
    ["wall time", spent.wallTimeMs, budget.max_wall_time_ms, " ms"],
    ["cost", spent.costMicros / microsPerCent, budget.max_cost_cents, " cents"],
  ];
  const broken = measures.find(([, used, most]) => most !== null && used > most);
  if (broken === undefined) return null;
  const [what, used, most, unit] = broken;
  return `budget exceeded: ${what} ${Math.ceil(used)}${unit} of ${most}${unit}`;
}

/**
 * The limits in a run's `config.budget`; none where it has none.
 *
 * @throws TypeError when a limit is no whole number of at least 0
 */
export function readBudget(config: JsonObject | null): Partial<Budget> {
  const asked = config?.["budget"];
  if (asked === undefined || asked === null) return {};
  const read = budgetShape.onDeepUndeclaredKey("delete")(asked);
  if (read instanceof type.errors) throw new TypeError(`config.budget: ${read.summary}`);
  return read;
}
