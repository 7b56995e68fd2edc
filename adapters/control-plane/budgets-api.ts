import { type } from "arktype";
import type { Outcome } from "../../machines/contracts/domain/failure.ts";
import { checked } from "./answer.ts";
import { type ControlPlaneApi, pathTo } from "./api.ts";

const limits = type({
  "max_input_tokens?": "number | null",
  "max_output_tokens?": "number | null",
  "max_total_tokens?": "number | null",
  "max_tool_calls?": "number | null",
  "max_cost_cents?": "number | null",
  "max_cost_micros?": "number | null",
}).or("null");
const spent = type({
  input_tokens: "number",
  output_tokens: "number",
  tool_calls: "number",
  cost_micros: "number",
});
const owner = type({
  id: "string",
  slug: "string",
  budgets: { day: limits, month: limits, total: limits },
  spending: { day: spent, month: spent, total: spent },
});
const owners = owner.array();
/** An agent or a tenant, with what all its runs together may spend, and have spent. */
export type BudgetOwner = typeof owner.infer;
export type PeriodLimits = Exclude<typeof limits.infer, null>;

export interface BudgetsApi {
  list(kind: "agent" | "tenant", signal: AbortSignal): Promise<Outcome<BudgetOwner[]>>;
  /** @param most null for no limit in this period */
  set(
    to: { kind: "agent" | "tenant"; key: string; period: string; most: PeriodLimits | null },
    signal: AbortSignal,
  ): Promise<Outcome<BudgetOwner>>;
}

/** The budgets of agents and tenants of a control plane of ours. */
export function budgetsApi({ call }: Pick<ControlPlaneApi, "call">): BudgetsApi {
  return {
    async list(kind, signal) {
      const path = kind === "agent" ? "/v1/registry/agents?limit=100" : "/v1/tenants?limit=1000";
      return checked(await call({ method: "GET", path }, signal), owners, `list of ${kind}s`);
    },
    async set({ kind, key, period, most }, signal) {
      const path =
        kind === "agent" ? pathTo`/v1/registry/agents/${key}` : pathTo`/v1/tenants/${key}`;
      if (!path.ok) return path;
      const body = { budgets: { [period]: most } };
      const answer = await call({ method: "PATCH", path: path.value, body }, signal);
      return checked(answer, owner, kind);
    },
  };
}
