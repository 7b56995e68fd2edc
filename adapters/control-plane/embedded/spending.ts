import type { DatabaseSync } from "node:sqlite";
import { type } from "arktype";
import {
  addSpent,
  type BrokenLimit,
  brokenLimit,
  type Budget,
  budgetShape,
  nothingSpent,
  type Spent,
} from "../../../machines/contracts/domain/budget.ts";
import { isJsonObject, notList } from "../../../machines/contracts/domain/json.ts";
import { looseJson } from "../../../machines/contracts/wire/record-text.ts";
import type { Change } from "./changes/change.ts";
import { type Agent, type Run, seedIds } from "./documents.ts";
import { ApiError } from "./routes/request.ts";
import type { Rows } from "./rows.ts";
import type { Tenant } from "./tenants.ts";

/*
 * Budgets of agents and tenants: what all their runs together may spend in a day, in a month, and ever. What a run has
 * spent and reserved is added to the sums of its agent and its tenant in the transaction that keeps the run, and each
 * reservation is held to them in its own; so runs side by side never pass a limit together.
 *
 * A run counts to the day (UTC) on which it was made, for as long as it goes on: what it reserves one day and settles the
 * next stays in one sum.
 */
export const periods = ["day", "month", "total"] as const;
export type Period = (typeof periods)[number];

/** By the period; null or nothing for no limit. Wall time is no amount that runs share. */
export type Budgets = { [P in Period]?: Partial<Budget> | null };

const limits = budgetShape
  .omit("max_wall_time_ms")
  .onUndeclaredKey("reject")
  .narrow(notList)
  .or("null");
export const budgetsShape = type({
  "+": "reject",
  "day?": limits,
  "month?": limits,
  "total?": limits,
}).narrow(notList);

export const spendingLayout = `
CREATE TABLE spending (owner TEXT NOT NULL, day TEXT NOT NULL, input INTEGER NOT NULL, output INTEGER NOT NULL,
  calls INTEGER NOT NULL, cost INTEGER NOT NULL, PRIMARY KEY (owner, day)) WITHOUT ROWID;
${["doc ->> 'agentId'", "tenant"]
  .map(
    (owner) => `INSERT INTO spending
  SELECT ${owner}, date((doc ->> 'createdAt') / 1000, 'unixepoch'),
    ${["inputTokens", "outputTokens", "toolCalls", "costMicros"].map((each) => `CAST(min(total(doc ->> '${each}'), ${Number.MAX_SAFE_INTEGER}) AS INTEGER)`)}
  FROM runs GROUP BY 1, 2;`,
  )
  .join("\n")}
`;

/** The sums anew from the runs: those of the layout before lack what open reservations hold, and lose it when they settle. */
export function recountSpending(db: DatabaseSync): void {
  db.exec("DELETE FROM spending");
  const spending = openSpending(db);
  for (const row of db.prepare("SELECT doc FROM runs").iterate()) {
    const doc = looseJson(String(row["doc"]));
    if (!isJsonObject(doc)) continue;
    const run = doc as unknown as Run;
    countRun(spending, undefined, { ...run, tenantId: run.tenantId ?? seedIds.tenant });
  }
}

type Amounts = Omit<Spent, "wallTimeMs">;

export function openSpending(db: DatabaseSync) {
  const add = db.prepare(
    `INSERT INTO spending (owner, day, input, output, calls, cost) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT (owner, day) DO UPDATE SET input = max(0, input + excluded.input),
       output = max(0, output + excluded.output), calls = max(0, calls + excluded.calls),
       cost = max(0, cost + excluded.cost)`,
  );
  const sum = db.prepare(
    // No more than a number holds, whatever amounts were reported; and `sum` fails where it overflows.
    `SELECT ${["input", "output", "calls", "cost"].map((each) => `min(total(${each}), ${Number.MAX_SAFE_INTEGER}.0) AS ${each}`)}
     FROM spending WHERE owner = ? AND day BETWEEN ? AND ?`,
  );
  return {
    add: (owner: string, day: string, more: Amounts): void =>
      void add.run(
        owner,
        day,
        more.inputTokens,
        more.outputTokens,
        more.toolCalls,
        more.costMicros,
      ),
    /** Of the period that a moment is in. */
    of(owner: string, period: Period, at: number): Spent {
      const [from, to] = boundsOf(period, at);
      const row = sum.get(owner, from, to) ?? {};
      return {
        inputTokens: Number(row["input"] ?? 0),
        outputTokens: Number(row["output"] ?? 0),
        toolCalls: Number(row["calls"] ?? 0),
        costMicros: Number(row["cost"] ?? 0),
        wallTimeMs: 0,
      };
    },
  };
}

const dayOf = (at: number): string => new Date(at).toISOString().split("T")[0] ?? "";

function boundsOf(period: Period, at: number): [string, string] {
  const day = dayOf(at);
  if (period === "day") return [day, day];
  if (period === "total") return ["", "~"];
  const month = day.replace(/-\d\d$/, "");
  return [`${month}-01`, `${month}-31`];
}

/** What a run has spent, and what its open reservations may. Of those that were counted at its end, that is in its numbers. */
function takenBy(run: Run | undefined): Amounts {
  if (run === undefined) return nothingSpent;
  const held = Object.values(run.held ?? {}).filter(({ isCounted }) => isCounted !== true);
  const sum = (each: (one: (typeof held)[number]) => number) =>
    held.reduce((total, one) => total + each(one), 0);
  return {
    inputTokens: run.inputTokens + sum(({ inputTokens }) => inputTokens),
    outputTokens: run.outputTokens + sum(({ outputTokens }) => outputTokens),
    toolCalls: run.toolCalls,
    costMicros: run.costMicros + sum(({ costMicros }) => costMicros ?? 0),
  };
}

/** Adds what a change of a run takes, or gives back, to the sums of its agent and its tenant. */
export function countRun(
  spending: Pick<ReturnType<typeof openSpending>, "add">,
  before: Run | undefined,
  after: Run,
): void {
  const [was, is] = [takenBy(before), takenBy(after)];
  const more = {
    inputTokens: is.inputTokens - was.inputTokens,
    outputTokens: is.outputTokens - was.outputTokens,
    toolCalls: is.toolCalls - was.toolCalls,
    costMicros: is.costMicros - was.costMicros,
  };
  if (Object.values(more).every((amount) => amount === 0)) return;
  for (const owner of [after.agentId, after.tenantId])
    spending.add(owner, dayOf(after.createdAt), more);
}

/** The first limit of the run's agent or tenant that was passed, or that `more` would pass; null when all hold. */
export function brokenBudgets(
  { store }: Pick<Change, "store">,
  run: Pick<Run, "agentId" | "tenantId" | "createdAt">,
  more: Partial<Spent>,
): (BrokenLimit & { whose: string }) | null {
  for (const { budgets, name, id } of ownersOf(store, run)) {
    for (const period of periods) {
      const budget = budgets?.[period];
      if (budget == null) continue;
      const broken = brokenLimit(budget, addSpent(store.spending(id, period, run.createdAt), more));
      if (broken === null) continue;
      const whose = `${words[period]} of ${name}`;
      return { ...broken, message: `${broken.message} ${whose}`, whose };
    }
  }
  return null;
}

const words = { day: "for the day", month: "for the month", total: "in all" } as const;

/**
 * Of some limit nothing is left, so no run can begin; refused in FerrumDeck's words. Tool calls are none of it: a run may
 * need none.
 *
 * @throws ApiError 403
 */
export function refuseSpentUp(
  change: Pick<Change, "store">,
  run: Pick<Run, "agentId" | "tenantId" | "createdAt">,
): void {
  const broken = brokenBudgets(change, run, { inputTokens: 1, outputTokens: 1, costMicros: 1 });
  if (broken === null) return;
  const message = `no run can begin: ${broken.limit} (${broken.most}) ${broken.whose} is spent`;
  throw new ApiError(403, message, "BUDGET_EXCEEDED");
}

function ownersOf(store: Rows, { agentId, tenantId }: Pick<Run, "agentId" | "tenantId">) {
  const agent = store.agents.find(agentId);
  const tenant = store.tenants.find(tenantId);
  return [
    ...(agent === undefined
      ? []
      : [{ id: agent.id, budgets: agent.budgets, name: `agent "${agent.slug}"` }]),
    ...(tenant === undefined
      ? []
      : [{ id: tenant.id, budgets: tenant.budgets, name: `tenant "${tenant.slug}"` }]),
  ];
}

/** The budgets of an agent or a tenant, and what was spent and reserved of them, as the wire has it. */
export function budgetsResponse(store: Rows, owner: Agent | Tenant, now: number) {
  const spent = (period: Period) => {
    const { inputTokens, outputTokens, toolCalls, costMicros } = store.spending(
      owner.id,
      period,
      now,
    );
    return {
      input_tokens: inputTokens,
      output_tokens: outputTokens,
      tool_calls: toolCalls,
      cost_micros: costMicros,
    };
  };
  const { day = null, month = null, total = null } = owner.budgets ?? {};
  return {
    budgets: { day, month, total },
    spending: { day: spent("day"), month: spent("month"), total: spent("total") },
  };
}

/** Some periods' limits in the place of those that there are. */
export const withBudgets = (known: Budgets | undefined, some: Budgets): Budgets => ({
  ...known,
  ...some,
});
