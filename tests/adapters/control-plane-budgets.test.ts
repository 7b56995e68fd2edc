import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import * as fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { createWorkflowEngine } from "../../actors/workflow/engine.ts";
import { createWorkflowReader } from "../../adapters/workflows/step-request.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { StepKey } from "../../machines/contracts/domain/record.ts";
import { startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";

/*
 * Budgets of an agent and of the tenant that it belongs to, over all their runs.
 */
let plane: TestPlane;
beforeAll(async () => {
  plane = await startTestPlane();
});
afterAll(() => plane.close());
/** A limit that a test has left, spent or of nothing, would keep the next one's runs from beginning. */
afterEach(async () => {
  await agentBudgets(none);
  await tenantBudgets(none);
});

/** The runs themselves have no limit: what stops them is shared. */
const unlimited = {
  max_input_tokens: null,
  max_output_tokens: null,
  max_total_tokens: null,
  max_tool_calls: null,
  max_wall_time_ms: null,
  max_cost_cents: null,
};
const begin = () => plane.createRun({ task: "t" }, { budget: unlimited });
const agentBudgets = (budgets: object) =>
  plane.fetch("PATCH", "/v1/registry/agents/helper", { budgets });
const tenantBudgets = (budgets: object) =>
  plane.fetch("PATCH", "/v1/tenants/operator", { budgets });
const none = { day: null, month: null, total: null };

interface Asked {
  input: number;
  output: number;
  cost: number | null;
}
const bodyOf = ({ stepId }: StepKey, id: string, { input, output, cost }: Asked) => ({
  reservation_id: id,
  step_id: stepId,
  input_tokens: input,
  output_tokens: output,
  cost_micros: cost,
});
const reserve = async (key: StepKey, id: string, asked: Asked) =>
  (await plane.fetch("POST", `/v1/runs/${key.runId}/reservations`, bodyOf(key, id, asked))).body;
const settle = (key: StepKey, id: string, used: Asked) =>
  plane.fetch("POST", `/v1/runs/${key.runId}/reservations/settle`, bodyOf(key, id, used));
const spending = async (path: string) =>
  (await plane.fetch("GET", path)).body["spending"] as Record<string, Record<string, number>>;

describe("a budget of an agent or a tenant", () => {
  it("is never passed by 200 reservations at once, of many runs, and what was not used is free again [budget.shared]", async () => {
    const asked = fc.record({
      input: fc.integer({ min: 0, max: 50 }),
      output: fc.integer({ min: 0, max: 50 }),
      cost: fc.option(fc.integer({ min: 0, max: 40_000 })),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(asked, { minLength: 200, maxLength: 200 }),
        fc.integer({ min: 0, max: 2_000 }),
        fc.integer({ min: 0, max: 100 }),
        fc.constantFrom("day", "month", "total"),
        async (calls, tokens, cents, period) => {
          // Another day for each, so that days start empty; what was spent before counts in the others.
          plane.clock.now += 24 * 60 * 60 * 1000;
          await agentBudgets(none);
          await tenantBudgets(none);
          const before = (await spending("/v1/registry/agents/helper"))[period] ?? {};
          const was = (before["input_tokens"] ?? 0) + (before["output_tokens"] ?? 0);
          const cost = before["cost_micros"] ?? 0;
          const runs = await Promise.all(Array.from({ length: 5 }, begin));
          const most = { tokens: was + tokens, micros: cost + cents * 10_000 };
          await agentBudgets({ ...none, [period]: { max_total_tokens: most.tokens } });
          await tenantBudgets({ ...none, [period]: { max_cost_micros: most.micros } });
          const said = await Promise.all(
            calls.map((call, at) => reserve(runs[at % 5] as StepKey, `r${at}`, call)),
          );
          const granted = calls.filter((_, at) => said[at]?.["granted"] === true);
          const sum = (of: (call: Asked) => number, among = granted) =>
            among.reduce((total, call) => total + of(call), 0);
          const all = sum(({ input, output }) => input + output);
          expect(was + all).toBeLessThanOrEqual(most.tokens);
          expect(cost + sum(({ cost: micros }) => micros ?? 0)).toBeLessThanOrEqual(most.micros);
          for (const path of ["/v1/registry/agents/helper", "/v1/tenants/operator"]) {
            const { input_tokens = 0, output_tokens = 0 } = (await spending(path))[period] ?? {};
            expect(input_tokens + output_tokens, path).toBe(was + all);
          }
          // Each is settled by a part of it: the rest is free.
          const part = ({ input, cost: micros }: Asked): Asked => ({
            input: Math.floor(input / 2),
            output: 0,
            cost: micros === null ? null : Math.floor(micros / 3),
          });
          await Promise.all(
            calls.map((call, at) => settle(runs[at % 5] as StepKey, `r${at}`, part(call))),
          );
          await Promise.all(
            runs.map(({ runId }) => plane.fetch("POST", `/v1/runs/${runId}/cancel`)),
          );
          const after = (await spending("/v1/tenants/operator"))[period] ?? {};
          const used = sum(({ input }) => input, granted.map(part));
          expect((after["input_tokens"] ?? 0) + (after["output_tokens"] ?? 0)).toBe(was + used);
          expect(after["cost_micros"]).toBe(
            cost + sum(({ cost: micros }) => micros ?? 0, granted.map(part)),
          );
        },
      ),
      { numRuns: 3 },
    );
  });

  it("stops the call that would pass it, and says whose it is and what is left; no run begins once it is spent [budget.shared]", async () => {
    plane.clock.now += 40 * 24 * 60 * 60 * 1000;
    await agentBudgets({ day: { max_cost_cents: 2, max_tool_calls: 1 } });
    const [one, two] = [await begin(), await begin()];
    const call = { input: 1, output: 1, cost: 15_000 };
    expect(await reserve(one, "a", call)).toEqual({ id: "a", granted: true });
    expect(await reserve(two, "b", call)).toEqual({
      id: "b",
      granted: false,
      limit: "max_cost_cents",
      used: 3,
      most: 2,
      reason: 'budget exceeded: cost $0.03 of $0.02 for the day of agent "helper"',
    });
    const check = ({ runId }: StepKey, id: string) =>
      plane.fetch("POST", `/v1/runs/${runId}/check-tool`, { tool_name: "read", call_id: id });
    expect((await check(one, "1")).body["allowed"]).toBe(true);
    // Checked again it is the same call.
    expect((await check(one, "1")).body["allowed"]).toBe(true);
    expect((await check(two, "2")).body).toMatchObject({
      allowed: false,
      budget_exceeded: { limit: "max_tool_calls", used: 2, most: 1 },
    });
    await settle(one, "a", { input: 1, output: 1, cost: 20_000 });
    const refused = await plane.fetch("POST", "/v1/runs", { agent_id: "helper", input: {} });
    expect(refused).toMatchObject({ status: 403, body: { error: { code: "BUDGET_EXCEEDED" } } });
    plane.clock.now += 24 * 60 * 60 * 1000;
    expect((await begin()).runId).toMatch(/^run_/);
    expect((await plane.fetch("GET", "/v1/registry/agents/helper")).body).toMatchObject({
      budgets: { day: { max_cost_cents: 2, max_tool_calls: 1 }, month: null, total: null },
      spending: { day: { cost_micros: 0, tool_calls: 0 } },
    });
    await agentBudgets(none);
  });

  it("ends a run between two steps where its worker reserves nothing [budget.shared]", async () => {
    plane.clock.now += 40 * 24 * 60 * 60 * 1000;
    await tenantBudgets({ month: { max_total_tokens: 10 } });
    const steps = [1, 2].map(() => ({ type: "llm", input: {} }));
    const config = { budget: unlimited };
    const run = { agent_id: "helper", input: {}, steps, config };
    const runId = String((await plane.fetch("POST", "/v1/runs", run)).body["id"]);
    const listed = (await plane.fetch("GET", `/v1/runs/${runId}/steps`)).body as unknown;
    const [first] = listed as JsonObject[];
    const body = { status: "completed", output: {}, input_tokens: 8, output_tokens: 4 } as const;
    await plane.report({ runId, stepId: String(first?.["id"]) }, body);
    expect((await plane.fetch("GET", `/v1/runs/${runId}`)).body).toMatchObject({
      status: "budget_killed",
      status_reason: 'budget exceeded: tokens 12 of 10 for the month of tenant "operator"',
    });
    await tenantBudgets(none);
  });

  it("is shown, and held to, whatever amounts were reported [budget.shared]", async () => {
    plane.clock.now += 40 * 24 * 60 * 60 * 1000;
    const most = Number.MAX_SAFE_INTEGER;
    for (let nth = 0; nth < 3; nth += 1) {
      const body = {
        status: "completed",
        output: {},
        input_tokens: most,
        output_tokens: most,
      } as const;
      await plane.report(await begin(), body);
    }
    expect((await spending("/v1/tenants/operator"))["day"]?.["input_tokens"]).toBe(most);
    expect((await plane.fetch("GET", "/v1/registry/agents")).status).toBe(200);
    await agentBudgets({ day: { max_total_tokens: most } });
    const refused = await plane.fetch("POST", "/v1/runs", { agent_id: "helper", input: {} });
    expect(refused.status).toBe(403);
    await agentBudgets(none);
  });

  it("ends a run of a workflow between two steps, too [budget.shared]", async () => {
    const flow = await startTestPlane({
      workflows: createWorkflowEngine(createWorkflowReader()),
    });
    onTestFinished(() => flow.close());
    const budgets = { day: { max_total_tokens: 10 } };
    await flow.fetch("PATCH", "/v1/registry/agents/helper", { budgets });
    const steps = [
      { id: "a", type: "llm", config: { task: "t" } },
      { id: "b", type: "llm", depends_on: ["a"], config: { task: "t" } },
    ];
    const workflow = { name: "w", version: "1.0.0", definition: { steps } };
    const { body } = await flow.fetch("POST", "/v1/workflows", workflow);
    const run = { workflow_id: body["id"], agent_id: "helper", input: {} };
    await flow.fetch("POST", "/v1/workflow-runs", run);
    const first = await flow.job(1);
    const used = { status: "completed", output: {}, input_tokens: 8, output_tokens: 4 } as const;
    await flow.report(first, used);
    expect((await flow.fetch("GET", `/v1/runs/${first.runId}`)).body).toMatchObject({
      status: "budget_killed",
      status_reason: 'budget exceeded: tokens 12 of 10 for the day of agent "helper"',
    });
  });

  it("takes no more yes to calls than it holds calls, so that those before stay allowed [budget.shared]", async () => {
    plane.clock.now += 40 * 24 * 60 * 60 * 1000;
    await agentBudgets({ day: { max_tool_calls: 2 } });
    const asked = await Promise.all(
      [1, 2, 3, 4].map(async (nth) => {
        const { runId, stepId } = await begin();
        const question = { run_id: runId, step_id: stepId, action_type: "tool", digest: `${nth}` };
        const put = await plane.fetch("POST", "/v1/approvals", { ...question, reason: "r" });
        return { runId, stepId, id: String(put.body["id"]) };
      }),
    );
    const said = await Promise.all(
      asked.map(({ id }) => plane.fetch("PUT", `/v1/approvals/${id}`, { approved: true })),
    );
    expect(said.map(({ status }) => status).toSorted()).toEqual([200, 200, 403, 403]);
    for (const [at, { runId, stepId, id }] of asked.entries()) {
      if (said[at]?.status === 403) {
        expect(said[at].body).toMatchObject({ error: { code: "BUDGET_EXCEEDED" } });
        const no = await plane.fetch("PUT", `/v1/approvals/${id}`, { approved: false });
        expect(no.status).toBe(200);
        continue;
      }
      const call = { tool_name: "write", call_id: `${stepId}/1` };
      const check = await plane.fetch("POST", `/v1/runs/${runId}/check-tool`, call);
      expect(check.body).toMatchObject({ requires_approval: true });
    }
    await agentBudgets(none);
  });

  it("counts anew, in a database of the layout before, what open reservations hold [budget.shared]", async () => {
    const folder = mkdtempSync(join(tmpdir(), "stateplane-budgets-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const path = join(folder, "plane.sqlite");
    const before = await startTestPlane({ path });
    const [open, ended] = [await before.createRun(), await before.createRun()];
    const call = bodyOf(open, "r", { input: 400, output: 200, cost: 50_000 });
    await before.fetch("POST", `/v1/runs/${open.runId}/reservations`, call);
    const used = {
      status: "completed",
      output: {},
      input_tokens: 300,
      output_tokens: 100,
    } as const;
    await before.report(ended, used);
    await before.close();
    const db = new DatabaseSync(path);
    // As that layout made the sums: of the runs' own numbers.
    db.exec("UPDATE spending SET input = 300, output = 100, cost = 300; PRAGMA user_version = 7");
    db.close();
    const after = await startTestPlane({ path });
    onTestFinished(() => after.close());
    const spent = async () =>
      ((await after.fetch("GET", "/v1/registry/agents/helper")).body["spending"] as JsonObject)[
        "total"
      ];
    expect(await spent()).toMatchObject({ input_tokens: 700, output_tokens: 300 });
    const settled = bodyOf(open, "r", { input: 40, output: 20, cost: 5_000 });
    await after.fetch("POST", `/v1/runs/${open.runId}/reservations/settle`, settled);
    expect(await spent()).toMatchObject({ input_tokens: 340, output_tokens: 120 });
  });

  it("takes no word that it does not know, and no limit by null [budget.shared]", async () => {
    for (const budgets of [
      { week: null },
      { day: { max_tokens: 3 } },
      { day: { max_wall_time_ms: 1 } },
      { day: { max_cost_cents: -1 } },
      [],
      { day: [] },
    ]) {
      expect((await agentBudgets(budgets)).status, JSON.stringify(budgets)).toBe(422);
      expect((await tenantBudgets(budgets)).status, JSON.stringify(budgets)).toBe(422);
    }
    const unset = { day: { max_cost_cents: null, max_total_tokens: null }, month: {} };
    expect((await agentBudgets(unset)).body["budgets"]).toEqual({ ...unset, total: null });
    const call = { input: 1e9, output: 1e9, cost: 1e12 };
    expect(await reserve(await begin(), "x", call)).toMatchObject({ granted: true });
    await agentBudgets(none);
  });
});
