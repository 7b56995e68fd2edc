import {
  type BudgetOwner,
  budgetsApi,
  type PeriodLimits,
} from "../../adapters/control-plane/budgets-api.ts";
import { dollars } from "../../machines/contracts/domain/budget.ts";
import type { Command, Context } from "../command.ts";
import { CliError } from "../output/errors.ts";
import type { Output } from "../output/output.ts";
import { withControlPlane } from "./with-control-plane.ts";

const periods = ["day", "month", "total"] as const;
type Kind = "agent" | "tenant";

/** `budgets show`. */
export const showBudgets: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const { output } = context;
    const budgets = budgetsApi(api);
    const agents = await value(budgets.list("agent", signal));
    const tenants = await value(budgets.list("tenant", signal));
    if (output.isJson) output.json({ agents, tenants });
    else {
      tell(output, [
        ...agents.map((owner) => ["agent", owner] as const),
        ...tenants.map((owner) => ["tenant", owner] as const),
      ]);
    }
    return 0;
  });

/** `budgets set`. */
export const setBudget: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const { output, invocation } = context;
    const { kind, key } = readOwner(invocation.args[0] ?? "");
    const { period: given = "month" } = invocation.flags;
    const period = periods.find((each) => each === given);
    if (period === undefined) throw new CliError(2, "--period: expected day, month or total");
    const most = readLimits(invocation.flags);
    const owner = await value(budgetsApi(api).set({ kind, key, period, most }, signal));
    if (output.isJson) output.json(owner);
    else tell(output, [[kind, owner]]);
    return 0;
  });

function tell(output: Output, owners: readonly (readonly [Kind, BudgetOwner])[]): void {
  const rows = owners.flatMap(([kind, { slug, budgets, spending }]) =>
    periods.flatMap((period) => {
      const most = budgets[period];
      const { cost_micros: cost, input_tokens, output_tokens, tool_calls } = spending[period];
      const isUnused = cost + input_tokens + output_tokens + tool_calls === 0;
      if (most === null && isUnused) return [];
      const of = (used: string, limit: string | null) =>
        limit === null ? used : `${used} of ${limit}`;
      const count = (limit: number | null | undefined) => (limit == null ? null : String(limit));
      return [
        [
          `${kind}/${slug}`,
          period,
          of(dollars(cost), moneyOf(most)),
          of(String(input_tokens + output_tokens), count(most?.max_total_tokens)),
          of(String(tool_calls), count(most?.max_tool_calls)),
        ],
      ];
    }),
  );
  if (rows.length === 0) output.remark("there is no budget, and nothing was spent");
  else output.table(["OWNER", "PERIOD", "COST", "TOKENS", "TOOL CALLS"], rows);
}

function moneyOf(most: PeriodLimits | null): string | null {
  if (most?.max_cost_micros != null) return dollars(most.max_cost_micros);
  return most?.max_cost_cents == null ? null : dollars(most.max_cost_cents * 10_000);
}

/** @throws CliError */
function readOwner(given: string): { kind: Kind; key: string } {
  const [, kind, key] = /^(agent|tenant)\/(.+)$/u.exec(given) ?? [];
  if (kind !== undefined && key !== undefined) return { kind: kind as Kind, key };
  throw new CliError(2, `expected agent/SLUG or tenant/SLUG, not ${JSON.stringify(given)}`);
}

/** Null for no limit. @throws CliError */
function readLimits(flags: Context["invocation"]["flags"]): PeriodLimits | null {
  const cost = readNumber(flags, "cost", /^\d{1,9}(?:\.\d{1,6})?$/u);
  const tokens = readNumber(flags, "tokens", /^\d{1,15}$/u);
  const calls = readNumber(flags, "tool-calls", /^\d{1,15}$/u);
  const isGiven = cost !== null || tokens !== null || calls !== null;
  if (isGiven === (flags["none"] === true)) {
    throw new CliError(
      2,
      "budgets set: expected some of --cost, --tokens and --tool-calls, or --none",
    );
  }
  if (!isGiven) return null;
  return {
    ...(cost !== null && { max_cost_micros: Math.round(cost * 1_000_000) }),
    ...(tokens !== null && { max_total_tokens: tokens }),
    ...(calls !== null && { max_tool_calls: calls }),
  };
}

function readNumber(
  flags: Context["invocation"]["flags"],
  name: string,
  shape: RegExp,
): number | null {
  const text = flags[name];
  if (typeof text !== "string") return null;
  if (shape.test(text)) return Number(text);
  throw new CliError(2, `--${name}: expected a number of at least 0, not "${text}"`);
}
