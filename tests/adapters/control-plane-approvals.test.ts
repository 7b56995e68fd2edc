import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Ask } from "../../machines/contracts/domain/action.ts";
import type { StepKey } from "../../machines/contracts/domain/record.ts";
import { agent, startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";
import { value } from "../support/value.ts";

const { signal } = new AbortController();
const dayMs = 24 * 60 * 60 * 1000;
let plane: TestPlane;
beforeEach(async () => {
  plane = await startTestPlane();
});
afterEach(() => plane.close());

const ask = (digest: string): Ask => ({
  digest,
  action: { kind: "tool", name: "write", input: { path: digest } },
  reason: "it writes",
  approvalId: null,
  expiresAt: null,
});
const request = async (key: StepKey, digest = "d1") =>
  value(await plane.worker.requestApproval(key, ask(digest), signal));
const find = async (id: string) => value(await plane.worker.findApproval(id, signal));
const resolve = (id: string, approved: boolean, note: string | null = null) =>
  plane.api.resolveApproval(id, approved, note, signal);

describe("a question to people", () => {
  it("stops step and run, is listed, and shows exactly what would be done", async () => {
    const key = await plane.createRun();
    const approval = await request(key);
    expect(approval).toMatchObject({
      run_id: key.runId,
      step_id: key.stepId,
      status: "pending",
      action_type: "tool",
      action_details: ask("d1").action,
      digest: "d1",
      reason: "it writes",
      expires_at: new Date(plane.clock.now + dayMs).toISOString(),
    });
    expect(await plane.statuses(key.runId)).toEqual({
      run: "waiting_approval",
      steps: ["waiting_approval"],
    });
    expect(value(await plane.api.approvals(50, signal))).toEqual([approval]);
  });

  it("asked twice is one question, whatever became of it", async () => {
    const key = await plane.createRun();
    const first = await request(key);
    expect(await request(key)).toEqual(first);
    value(await resolve(first.id, false));
    expect(await request(key)).toMatchObject({ id: first.id, status: "rejected" });
    const body = {
      run_id: key.runId,
      step_id: key.stepId,
      action_type: "tool",
      digest: "d2",
      reason: "",
    };
    expect((await plane.fetch("POST", "/v1/approvals", body)).status).toBe(201);
    expect((await plane.fetch("POST", "/v1/approvals", body)).status).toBe(200);
  });

  it("is refused for a step that has ended, which stays as it ended", async () => {
    const steps = ["a", "b"].map((name) => ({
      type: "tool" as const,
      name,
      input: { tool_name: "read" },
    }));
    const { id: runId } = value(
      await plane.api.createRun({ agentId: "helper", input: {}, steps }, signal),
    );
    const key = await plane.job(1);
    await plane.report(key, { status: "completed", output: 1 });
    expect(await plane.worker.requestApproval(key, ask("d1"), signal)).toMatchObject({
      ok: false,
      failure: { kind: "conflict", details: { status: 409 } },
    });
    expect((await plane.statuses(runId)).steps).toEqual(["completed", "pending"]);
  });

  it("is refused for a run that has ended", async () => {
    const key = await plane.createRun();
    value(await plane.api.cancel(key.runId, signal));
    expect(await plane.worker.requestApproval(key, ask("d1"), signal)).toMatchObject({
      ok: false,
      failure: { kind: "conflict" },
    });
  });
});

describe("an answer", () => {
  it.each([
    [true, "approved"],
    [false, "rejected"],
  ])("of %s is taken once and enqueues the same job again", async (approved, status) => {
    const key = await plane.createRun();
    await plane.job(1);
    const { id } = await request(key);
    expect(value(await resolve(id, approved, "because"))).toMatchObject({
      status,
      resolution_note: "because",
      resolved_by: "key_01JFVX0000000000000000001",
      resolved_by_name: "the first key",
      resolved_at: expect.any(String),
    });
    expect(await plane.job(2)).toEqual(key);
    expect(plane.jobs[1]).toEqual(plane.jobs[0]);
    // Never `running` without a yes: who reads only the step would take it for one.
    const shown = approved ? "running" : "waiting_approval";
    expect(await plane.statuses(key.runId)).toEqual({ run: shown, steps: [shown] });
    const second = await resolve(id, !approved);
    expect(second).toMatchObject({
      ok: false,
      failure: { kind: "refused", details: { status: 400 } },
    });
    expect(await find(id)).toMatchObject({ status });
    expect(plane.jobs).toHaveLength(2);
  });

  it("of many people at once is the first one's alone", async () => {
    const key = await plane.createRun();
    const { id } = await request(key);
    const answers = await Promise.all([true, false, true, false].map((yes) => resolve(id, yes)));
    expect(answers.filter((answer) => answer.ok)).toHaveLength(1);
  });

  it("to one of two questions leaves the step waiting for the other", async () => {
    const key = await plane.createRun();
    const [one, two] = [await request(key, "d1"), await request(key, "d2")];
    value(await resolve(one.id, true));
    expect((await plane.statuses(key.runId)).run).toBe("waiting_approval");
    value(await resolve(two.id, true));
    expect(await plane.statuses(key.runId)).toEqual({ run: "running", steps: ["running"] });
    expect(value(await plane.api.run(key.runId, signal)).tool_calls).toBe(2);
  });

  it("of no that is quicker than the worker's word that it waits is not shown as running", async () => {
    const key = await plane.createRun();
    const { id } = await request(key);
    value(await resolve(id, false));
    await plane.report(key, { status: "waiting_approval" }, { idempotencyKey: "w" });
    expect(await plane.statuses(key.runId)).toEqual({
      run: "waiting_approval",
      steps: ["waiting_approval"],
    });
  });

  it("that is quicker than the worker's word that it waits leaves nothing waiting", async () => {
    const key = await plane.createRun();
    const { id } = await request(key);
    value(await resolve(id, true));
    await plane.report(key, { status: "waiting_approval" }, { idempotencyKey: "w" });
    expect(await plane.statuses(key.runId)).toEqual({ run: "running", steps: ["running"] });
  });

  it("after a night does not break the wall time budget", async () => {
    const key = await plane.createRun();
    const { id } = await request(key);
    plane.clock.now += dayMs / 2;
    value(await resolve(id, true));
    await plane.report(key, { status: "completed", output: "ok" });
    expect((await plane.statuses(key.runId)).run).toBe("completed");
    const slow = await plane.createRun();
    plane.clock.now += dayMs / 2;
    await plane.report(slow, { status: "completed", output: "ok" });
    expect((await plane.statuses(slow.runId)).run).toBe("budget_killed");
  });
});

describe("a question nobody answers", () => {
  it("expires after a day, takes no answer, and is told to the worker, which ends the step [approval.told]", async () => {
    const key = await plane.createRun();
    const { id } = await request(key);
    plane.clock.now += dayMs;
    const late = await resolve(id, true);
    expect(late).toMatchObject({
      ok: false,
      failure: { message: expect.stringContaining("expired") },
    });
    expect(await find(id)).toMatchObject({ status: "expired", resolved_by: null });
    expect(value(await plane.api.approvals(50, signal))).toEqual([]);
    expect(await plane.statuses(key.runId)).toEqual({
      run: "waiting_approval",
      steps: ["waiting_approval"],
    });
    expect(await plane.job(2)).toEqual(key);
    const ended = await plane.report(key, {
      status: "failed",
      error: { kind: "approval_expired" },
    });
    expect(ended).toEqual({ ok: true, value: "accepted" });
    expect((await plane.statuses(key.runId)).run).toBe("failed");
  });

  it("expires when the request, or else the agent version, says so", async () => {
    const quick = await startTestPlane({ agents: [{ ...agent, approvalExpiresInMs: 1_000 }] });
    try {
      const key = await quick.createRun();
      const base = { run_id: key.runId, step_id: key.stepId, action_type: "tool", reason: "" };
      const usual = await quick.fetch("POST", "/v1/approvals", { ...base, digest: "a" });
      const asked = { ...base, digest: "b", expires_in_ms: 5 };
      const sooner = await quick.fetch("POST", "/v1/approvals", asked);
      const at = (ms: number) => new Date(quick.clock.now + ms).toISOString();
      expect(usual.body["expires_at"]).toBe(at(1_000));
      expect(sooner.body["expires_at"]).toBe(at(5));
    } finally {
      await quick.close();
    }
  });

  it("expires with its run, and its parked step is enqueued so that a worker lets go", async () => {
    const key = await plane.createRun();
    await plane.job(1);
    const { id } = await request(key);
    value(await plane.api.cancel(key.runId, signal));
    expect(await find(id)).toMatchObject({ status: "expired", resolution_note: "run cancelled" });
    expect(await plane.job(2)).toEqual(key);
    const told = await plane.report(key, { status: "failed" });
    expect(told).toEqual({ ok: true, value: "ended" });
    expect(await plane.statuses(key.runId)).toEqual({ run: "cancelled", steps: ["skipped"] });
  });

  it("expires with its step", async () => {
    const key = await plane.createRun();
    const { id } = await request(key);
    await plane.report(key, { status: "failed", error: { kind: "timeout" } });
    expect(await find(id)).toMatchObject({ status: "expired", resolution_note: "step failed" });
  });
});
