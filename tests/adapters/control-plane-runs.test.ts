import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { readBudget } from "../../machines/contracts/domain/budget.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { stepInputProblem } from "../../machines/contracts/domain/step-input.ts";
import { startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";
import { value } from "../support/value.ts";

const { signal } = new AbortController();
let plane: TestPlane;
beforeEach(async () => {
  plane = await startTestPlane();
});
afterEach(() => plane.close());

describe("creating a run", () => {
  it("publishes its one llm step, with the agent's settings under the caller's task", async () => {
    const { runId, stepId } = await plane.createRun({ task: "greet", system_prompt: "Obey." });
    await vi.waitFor(() => expect(plane.jobs).toHaveLength(1), { timeout: 20_000 });
    expect(plane.jobs[0]).toEqual({
      runId,
      stepId,
      stepType: "llm",
      input: {
        task: "greet",
        model: "gpt-4o",
        system_prompt: "Be kind.",
        model_params: null,
        allowed_tools: ["read", "write"],
      },
      tenantId: "ten_01JFVX0000000000000000001",
      projectId: "prj_01JFVX0000000000000000001",
      agentId: value(await plane.api.agents("prj_01JFVX0000000000000000001", signal))[0]?.id,
      traceId: expect.stringMatching(/^[0-9a-f]{32}$/),
      spanId: expect.stringMatching(/^[0-9a-f]{16}$/),
      isTraceRoot: true,
      createdAt: plane.clock.now,
    });
    expect(await plane.statuses(runId)).toEqual({ run: "queued", steps: ["pending"] });
  });

  it("is refused where its model is not the agent's: nobody gets another one in silence", async () => {
    const input = { task: "greet", model: "cheap" };
    const { status, body } = await plane.fetch("POST", "/v1/runs", { agent_id: "helper", input });
    expect(status).toBe(422);
    expect(JSON.stringify(body)).toContain("the agent uses");
    expect(plane.jobs).toEqual([]);
  });

  it("hands the caller's trace on to the worker", async () => {
    const [traceId, spanId] = ["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"];
    const traceparent = `00-${traceId}-${spanId}-01`;
    await plane.fetch("POST", "/v1/runs", { agent_id: "helper", input: {} }, { traceparent });
    await vi.waitFor(() => expect(plane.jobs[0]).toMatchObject({ traceId, spanId }), {
      timeout: 20_000,
    });
  });

  it("names an unknown agent, and says what a bad request lacks", async () => {
    const unknown = await plane.fetch("POST", "/v1/runs", { agent_id: "nobody", input: {} });
    expect(unknown.status).toBe(404);
    expect(unknown.body).toEqual({
      error: { code: "NOT_FOUND", message: 'agent "nobody" not found' },
    });
    const noInput = await plane.fetch("POST", "/v1/runs", { agent_id: "helper" });
    expect(noInput).toMatchObject({ status: 422, body: { error: { code: "VALIDATION_ERROR" } } });
    const noJson = await plane.fetch("POST", "/v1/runs", "{");
    expect(noJson).toMatchObject({ status: 400, body: { error: { code: "BAD_REQUEST" } } });
    const badBudget = { agent_id: "helper", input: {}, config: { budget: { max_tool_calls: -1 } } };
    expect((await plane.fetch("POST", "/v1/runs", badBudget)).status).toBe(422);
    expect(value(await plane.api.runs("prj_01JFVX0000000000000000001", 10, 0, signal)).total).toBe(
      0,
    );
  });

  it.each([
    [{ max_tool_call: 1 }, 'did you mean "max_tool_calls"?'],
    [{ maxCostMicros: 1 }, 'did you mean "max_cost_micros"?'],
    [{ max_wall_time_secs: 1 }, 'did you mean "max_wall_time_ms"?'],
    [{ max_cost_usd: 1 }, "expected max_cost_cents, max_cost_micros"],
    [[], "an object"],
    ["5", "an object"],
    [{ max_total_tokens: "5" }, "a number"],
  ])(
    "refuses a limit that nobody would keep, wherever it comes in: %j [budget.words]",
    async (budget, hint) => {
      const run = { agent_id: "helper", input: { task: "x" } };
      const step = { type: "llm", input: { task: "x", budget } };
      const version = "/v1/registry/agents/helper/versions";
      const tries: [string, object][] = [
        ["/v1/runs", { ...run, config: { budget } }],
        ["/v1/runs", { ...run, input: { task: "x", budget } }],
        ["/v1/runs", { ...run, steps: [step] }],
        [version, { version: "9.0.0", budget }],
      ];
      for (const [path, body] of tries) {
        const { status, body: said } = await plane.fetch("POST", path, body);
        expect(status).toBe(422);
        expect(JSON.stringify(said)).toContain(JSON.stringify(hint).slice(1, -1));
      }
      // A job of another control plane's, which passed over it.
      const problem = stepInputProblem("llm", { task: "x", budget } as JsonObject);
      expect(problem).toMatchObject({
        kind: "invalid_input",
        message: expect.stringContaining(hint),
      });
    },
  );

  it("reads the limits of a run that began under an earlier version, whatever else they say [budget.words]", () => {
    const kept = { budget: { max_tool_calls: 3, max_cost_usd: 1 } };
    expect(readBudget(kept)).toEqual({ max_tool_calls: 3 });
  });

  it("refuses another agent's version, with whose tools and prompt it would run", async () => {
    const post = (path: string, body: object) => plane.fetch("POST", path, body);
    await post("/v1/registry/agents", { name: "Other", slug: "other" });
    const made = await post("/v1/registry/agents/other/versions", {
      version: "1",
      allowed_tools: ["erase"],
    });
    const version = made.body["id"];
    expect(typeof version).toBe("string");
    const run = (agent_id: string) =>
      post("/v1/runs", { agent_id, agent_version: version, input: {} });
    expect(await run("helper")).toMatchObject({ status: 404 });
    expect(await run("other")).toMatchObject({ status: 201 });
  });

  it("can be listed newest first, by status and in pages", async () => {
    const first = await plane.createRun();
    const second = await plane.createRun();
    value(await plane.api.cancel(first.runId, signal));
    const list = async (query: string) => {
      const { body } = await plane.fetch("GET", `/v1/runs?${query}`);
      const runs = body["runs"] as { id: string }[];
      return { ids: runs.map((run) => run.id), total: body["total"] };
    };
    expect(await list("")).toEqual({ ids: [second.runId, first.runId], total: 2 });
    expect(await list("limit=1&offset=1")).toEqual({ ids: [first.runId], total: 2 });
    expect(await list("status=cancelled")).toEqual({ ids: [first.runId], total: 1 });
    expect((await plane.fetch("GET", "/v1/runs?limit=101")).status).toBe(422);
    expect((await plane.fetch("GET", "/v1/runs?status=odd")).status).toBe(422);
  });
});

const steps = (...onError: ("fail" | "continue")[]) =>
  onError.map((on_error, at) => ({
    type: "tool" as const,
    name: `s${at}`,
    input: { tool_name: "read" },
    on_error,
  }));
const start = async (...onError: ("fail" | "continue")[]) =>
  value(
    await plane.api.createRun({ agentId: "helper", input: {}, steps: steps(...onError) }, signal),
  ).id;

describe("a run that names its steps", () => {
  it("enqueues one after the other and ends with the last output", async () => {
    const runId = await start("fail", "fail");
    expect(await plane.statuses(runId)).toEqual({ run: "queued", steps: ["pending", "pending"] });
    await plane.report(await plane.job(1), { status: "completed", output: "one" });
    expect(await plane.statuses(runId)).toEqual({
      run: "running",
      steps: ["completed", "pending"],
    });
    await plane.report(await plane.job(2), { status: "completed", output: "two" });
    expect(value(await plane.api.run(runId, signal))).toMatchObject({
      status: "completed",
      output: "two",
    });
    expect(plane.jobs[1]?.input).toEqual({ tool_name: "read", allowed_tools: ["read", "write"] });
  });

  it("fails with a failed step, skipping the rest, unless the step said continue", async () => {
    const passed = await start("continue", "fail");
    await plane.report(await plane.job(1), { status: "failed" });
    await plane.report(await plane.job(2), { status: "completed", output: "two" });
    expect(await plane.statuses(passed)).toEqual({
      run: "completed",
      steps: ["failed", "completed"],
    });
    const failed = await start("fail", "fail");
    await plane.report(await plane.job(3), { status: "failed" });
    expect(await plane.statuses(failed)).toEqual({ run: "failed", steps: ["failed", "skipped"] });
  });

  it("is refused when a step could not be run", async () => {
    const bad = { agent_id: "helper", input: {}, steps: [{ type: "tool", input: {} }] };
    const refused = await plane.fetch("POST", "/v1/runs", bad);
    expect(refused).toMatchObject({
      status: 422,
      body: { error: { message: expect.stringContaining("step 1") } },
    });
    const human = { agent_id: "helper", input: {}, steps: [{ type: "human", input: {} }] };
    expect((await plane.fetch("POST", "/v1/runs", human)).status).toBe(422);
  });

  it("when cancelled says of a step that was at work that it was cut short, and what it did [runs.cut-short]", async () => {
    const runId = await start("fail", "fail");
    const key = await plane.job(1);
    value(await plane.api.cancel(runId, signal));
    const at = plane.clock.now;
    const effects = [{ name: "tool:read#1", begunAt: at, completedAt: at }];
    const trace = { states: ["pending", "executing", "reported"], entered: [at, at, at], effects };
    const failed = { status: "failed", error: { kind: "cancelled", message: "m" } } as const;
    await plane.report(key, failed, { trace });
    const [cut, never] = value(await plane.api.steps(runId, signal));
    expect(cut).toMatchObject({
      status: "skipped",
      error: { kind: "cancelled", message: expect.stringContaining("while this step was at work") },
      trace: { effects: [{ name: "tool:read#1" }] },
    });
    expect(never).toMatchObject({ status: "skipped", error: null });
    // A worker that had only taken it up has done nothing.
    const other = await start("fail");
    const taken = await plane.job(2);
    value(await plane.api.cancel(other, signal));
    const untouchedTrace = { states: ["pending", "reported"], entered: [at, at], effects: [] };
    await plane.report(taken, failed, { trace: untouchedTrace });
    const [untouched] = value(await plane.api.steps(other, signal));
    expect(untouched).toMatchObject({ status: "skipped", error: null });
  });

  it("when cancelled gives up a step of whose worker nothing is heard, once it had time to report [runs.left-at-work]", async () => {
    const runId = await start("fail");
    const key = await plane.job(1);
    const tellStarted = () =>
      plane.worker.checkTool(
        { runId, callId: `${key.stepId}/1`, toolName: "read", toolInput: {} },
        signal,
      );
    value(await tellStarted());
    // At work for longer than anybody may be silent, which is no reason while its run goes on.
    const minuteMs = 60_000;
    plane.clock.now += 30 * minuteMs;
    value(await plane.api.cancel(runId, signal));
    const statusAfter = async (minutes: number) => {
      plane.clock.now += minutes * minuteMs;
      // Whoever asks moves the control plane's time on.
      await plane.fetch("GET", "/v1/runs");
      return (await plane.statuses(runId)).steps;
    };
    expect(await statusAfter(0)).toEqual(["running"]);
    expect(await statusAfter(9)).toEqual(["running"]);
    expect(await statusAfter(2)).toEqual(["skipped"]);
    const [step] = value(await plane.api.steps(runId, signal));
    expect(step).toMatchObject({
      error: { kind: "cancelled", message: expect.stringContaining("what it did is not known") },
    });
    expect(await plane.report(key, { status: "completed", output: "late" })).toEqual({
      ok: true,
      value: "ended",
    });
    expect(await statusAfter(60)).toEqual(["skipped"]);
  });

  it("has begun when its first step did, though that is heard of only as it ends [runs.cut-short]", async () => {
    const runId = await start("fail");
    const key = await plane.job(1);
    const began = plane.clock.now + 10;
    plane.clock.now += 50;
    const trace = { states: ["pending", "reported"], entered: [began, began + 40], effects: [] };
    await plane.report(key, { status: "completed", output: "one" }, { trace });
    expect(value(await plane.api.run(runId, signal))).toMatchObject({
      started_at: new Date(began).toISOString(),
      completed_at: new Date(began + 40).toISOString(),
    });
  });

  it("when cancelled skips what was never enqueued, and tells the worker that reports late", async () => {
    const runId = await start("fail", "fail");
    const key = await plane.job(1);
    expect(value(await plane.api.cancel(runId, signal)).status).toBe("cancelled");
    expect(await plane.statuses(runId)).toEqual({
      run: "cancelled",
      steps: ["pending", "skipped"],
    });
    expect(await plane.report(key, { status: "completed", output: "late" })).toEqual({
      ok: true,
      value: "ended",
    });
    expect(await plane.statuses(runId)).toEqual({
      run: "cancelled",
      steps: ["skipped", "skipped"],
    });
    const again = await plane.api.cancel(runId, signal);
    expect(again).toMatchObject({ ok: false, failure: { kind: "refused" } });
  });
});
