import { type } from "arktype";
import type { JsonObject } from "../../../../machines/contracts/json.ts";
import { type Budget, budgetShape } from "./budget.ts";

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
