import { afterEach, describe, expect, it } from "vitest";
import { createWorkflowEngine } from "../../actors/workflow/engine.ts";
import { createWorkflowReader } from "../../adapters/workflows/step-request.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { agent, startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";

let plane: TestPlane;
afterEach(() => plane.close());
const start = async (agents = [agent]) => {
  const workflows = createWorkflowEngine(createWorkflowReader());
  plane = await startTestPlane({ workflows, agents });
};

const definition = {
  steps: [
    {
      id: "plan",
      type: "llm",
      config: { model: "gpt-4o", system_prompt: "Plan it.", task: "plan" },
    },
    {
      id: "read",
      type: "tool",
      depends_on: ["plan"],
      config: {
        tool_name: "read",
        tool_input_from: { path: "$.plan.file" },
        requires_approval: true,
      },
    },
  ],
};
const register = (over: JsonObject = {}) =>
  plane.fetch("POST", "/v1/workflows", { name: "Mend", version: "1.0.0", definition, ...over });
const startRun = async (over: JsonObject = {}) => {
  const { body: workflow } = await register();
  return plane.fetch("POST", "/v1/workflow-runs", {
    workflow_id: workflow["id"],
    input: { task: "x" },
    ...over,
  });
};
const done = (output: unknown) => ({ status: "completed", output }) as never;

describe("workflows over HTTP", () => {
  it("registers a definition once, lists it, and refuses one that can't be run with each place [workflow.api]", async () => {
    await start();
    const first = await register({ project_id: "prj_1", description: "What it does" });
    expect(first).toMatchObject({
      status: 201,
      body: {
        name: "Mend",
        version: "1.0.0",
        status: "active",
        project_id: "prj_1",
        max_iterations: 10,
        on_error: "fail",
      },
    });
    const again = await register({ project_id: "prj_1", description: "What it does" });
    expect(again).toMatchObject({ status: 200, body: { id: first.body["id"] } });
    const listed = await plane.fetch("GET", "/v1/workflows?project_id=prj_1");
    expect(listed.body["workflows"]).toHaveLength(1);
    expect(await plane.fetch("GET", `/v1/workflows/${String(first.body["id"])}`)).toMatchObject({
      status: 200,
    });
    expect(await plane.fetch("GET", "/v1/workflows/wf_none")).toMatchObject({ status: 404 });
    const steps = [
      { id: "a", type: "lop" },
      { id: "b", type: "llm", depends_on: ["z"] },
    ];
    const bad = await register({ definition: { steps } });
    expect(bad).toMatchObject({ status: 422, body: { error: { code: "VALIDATION_ERROR" } } });
    const { message } = bad.body["error"] as { message: string };
    expect(message).toContain('steps[0].type: there is no step type "lop"');
    expect(message).toContain('steps[1].depends_on[0]: there is no step "z" here');
  });

  it("runs a workflow by ordinary jobs and reports, asks for what it says must be asked, and shows each step [workflow.api]", async () => {
    await start();
    const begun = await startRun();
    expect(begun).toMatchObject({
      status: 201,
      body: {
        status: "running",
        current_step_id: "plan",
        agent_id: expect.stringMatching(/^agt_/u) as string,
      },
    });
    const runId = String(begun.body["id"]);
    const plan = await plane.job(1);
    // An ordinary job: the definition's words over the agent's, and no more tools than the agent has.
    expect(plane.jobs[0]).toMatchObject({
      runId,
      stepType: "llm",
      input: { system_prompt: "Plan it.", model: "gpt-4o", allowed_tools: ["read", "write"] },
    });
    await plane.report(plan, done({ response: '{"file": "a.txt"}' }));
    const read = await plane.job(2);
    expect(plane.jobs[1]).toMatchObject({
      stepType: "tool",
      input: { tool_name: "read", tool_input: { path: "a.txt" }, allowed_tools: ["read", "write"] },
    });
    const check = (callId: string | null) =>
      plane.fetch("POST", `/v1/runs/${runId}/check-tool`, {
        tool_name: "read",
        tool_input: {},
        call_id: callId,
      });
    expect((await check(`${read.stepId}/d#1`)).body).toMatchObject({
      allowed: false,
      requires_approval: true,
    });
    const question = {
      run_id: runId,
      step_id: read.stepId,
      action_type: "tool",
      digest: "d",
      reason: "asked",
    };
    const asked = await plane.fetch("POST", "/v1/approvals", question);
    expect(await plane.api.run(runId, new AbortController().signal)).toMatchObject({
      value: { status: "waiting_approval" },
    });
    await plane.fetch("PUT", `/v1/approvals/${String(asked.body["id"])}`, { approved: true });
    await plane.report(read, done({ text: "content" }));
    const ended = await plane.fetch("GET", `/v1/workflow-runs/${runId}`);
    expect(ended.body).toMatchObject({
      status: "completed",
      output: { plan: { file: "a.txt" }, read: { text: "content" } },
      steps: [
        { name: "plan", type: "llm", status: "completed", attempt: 1 },
        { name: "read", type: "tool", status: "completed", attempt: 1 },
      ],
    });
    const executions = await plane.fetch("GET", `/v1/workflow-runs/${runId}/executions`);
    expect(executions.body["executions"]).toMatchObject([
      { step_id: "plan", status: "completed", workflow_run_id: runId, id: plan.stepId },
      { step_id: "read", status: "completed", id: read.stepId, output: { text: "content" } },
    ]);
    const steps = await plane.fetch("GET", `/v1/runs/${runId}/steps`);
    expect(steps.body).toMatchObject([{ name: "plan" }, { name: "read" }]);
  });

  it("takes the only agent there is, and asks which where there are several; cancels; knows no run of another kind [workflow.api]", async () => {
    await start([agent, { ...agent, slug: "other" }]);
    expect(await startRun()).toMatchObject({
      status: 422,
      body: { error: { message: expect.stringContaining("agent_id") as string } },
    });
    const begun = await startRun({ agent_id: "other", config: { model: "scripted/x" } });
    expect(begun.status).toBe(201);
    await plane.job(1);
    expect(plane.jobs[0]?.input["model"]).toBe("scripted/x");
    const path = `/v1/workflow-runs/${String(begun.body["id"])}`;
    expect(await plane.fetch("POST", `${path}/cancel`)).toMatchObject({
      status: 200,
      body: { status: "cancelled", steps: [{ status: "skipped" }, { status: "skipped" }] },
    });
    expect(await plane.fetch("POST", `${path}/cancel`)).toMatchObject({ status: 400 });
    const workflowId = String(begun.body["workflow_id"]);
    const runs = await plane.fetch("GET", `/v1/workflows/${workflowId}/runs`);
    expect(runs.body["runs"]).toMatchObject([{ id: begun.body["id"], status: "cancelled" }]);
    const { runId } = await plane.createRun();
    expect(await plane.fetch("GET", `/v1/workflow-runs/${runId}`)).toMatchObject({ status: 404 });
  });

  it("a run's steps that are longer together than a page are told whole, in order, and a part at a time [plane.lists]", async () => {
    await start();
    const ask = {
      id: "ask",
      type: "tool",
      config: { tool_name: "read", tool_input_from: { at: "$.index", text: "$.input.long" } },
    };
    const each = {
      id: "each",
      type: "parallel",
      config: { for_each: "$.input.items", max_concurrency: 100, steps: [ask] },
    };
    const input = { long: "x".repeat(1_000_000), items: Array.from({ length: 12 }, (_, at) => at) };
    const { body: run } = await startRun({
      workflow_id: String((await register({ definition: { steps: [each] } })).body["id"]),
      input,
    });
    await expect.poll(() => plane.jobs.length, { timeout: 30_000 }).toBe(12);
    const headers = { authorization: "Bearer test-key" };
    const get = async (path: string) => {
      const response = await fetch(`${plane.url}${path}`, { headers });
      // Nobody knew how long it would be when it began.
      expect(response.headers.get("content-length")).toBeNull();
      return response.json() as Promise<unknown>;
    };
    const id = String(run["id"]);
    const told = (await get(`/v1/runs/${id}/steps`)) as { step_number: number }[];
    expect(told.map((step) => step.step_number - 1)).toEqual(input.items);
    const { executions } = (await get(`/v1/workflow-runs/${id}/executions`)) as {
      executions: { step_id: string; input: JsonObject | null }[];
    };
    const asked = executions.filter((one) => one.input !== null);
    expect(asked).toHaveLength(12);
    expect(new Set(asked.map((one) => one.step_id)).size).toBe(12);
    const cancelled = await plane.fetch("POST", `/v1/workflow-runs/${id}/cancel`, {});
    expect(cancelled).toMatchObject({ status: 200, body: { status: "cancelled" } });
  });
});
