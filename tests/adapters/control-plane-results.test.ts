import { createHash } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";
import { value } from "../support/value.ts";

const { signal } = new AbortController();
let plane: TestPlane;
beforeEach(async () => {
  plane = await startTestPlane();
});
afterEach(() => plane.close());

const stepPath = (runId: string, stepId: string) => `/v1/runs/${runId}/steps/${stepId}`;
describe("a step's result", () => {
  it("completes the run with its output, tokens and cost", async () => {
    const key = await plane.createRun();
    const body = {
      status: "completed",
      output: { content: "hi" },
      input_tokens: 25_000,
      output_tokens: 5,
    } as const;
    expect(await plane.report(key, body)).toEqual({ ok: true, value: "accepted" });
    expect(value(await plane.api.run(key.runId, signal))).toMatchObject({
      status: "completed",
      output: { content: "hi" },
      input_tokens: 25_000,
      output_tokens: 5,
      cost_cents: 3,
      started_at: expect.any(String),
      completed_at: expect.any(String),
    });
  });

  it("sent again is recognised and counts nothing twice", async () => {
    const key = await plane.createRun();
    const body = { status: "completed", output: "hi", input_tokens: 10, output_tokens: 1 } as const;
    await plane.report(key, body);
    expect(await plane.report(key, body)).toEqual({ ok: true, value: "repeated" });
    expect(await plane.report(key, body, { fence: 2 })).toEqual({ ok: true, value: "repeated" });
    expect(value(await plane.api.run(key.runId, signal)).input_tokens).toBe(10);
    const path = `/v1/runs/${key.runId}/steps/${key.stepId}`;
    const named = JSON.stringify([key.runId, key.stepId, "k1"]);
    const headers = { "idempotency-key": createHash("sha256").update(named).digest("hex") };
    const again = await plane.fetch("POST", path, body, headers);
    expect(again).toMatchObject({ status: 200, body: { id: key.stepId, status: "completed" } });
    expect(again.headers.get("idempotency-replayed")).toBe("true");
  });

  it("never overwrites an ended step or run", async () => {
    const key = await plane.createRun();
    await plane.report(key, { status: "failed", error: { kind: "internal", message: "no" } });
    const other = { status: "completed", output: "late" } as const;
    expect(await plane.report(key, other, { idempotencyKey: "k2" })).toEqual({
      ok: true,
      value: "ended",
    });
    expect(await plane.report(key, other)).toEqual({ ok: true, value: "ended" });
    const refused = await plane.fetch("POST", `/v1/runs/${key.runId}/steps/${key.stepId}`, other);
    expect(refused).toMatchObject({ status: 409, body: { error: { code: "CONFLICT" } } });
    expect(refused.body).toMatchObject({ error: { message: expect.stringContaining("failed") } });
    expect(await plane.statuses(key.runId)).toEqual({ run: "failed", steps: ["failed"] });
    const { body } = await plane.fetch("GET", `/v1/runs/${key.runId}`);
    expect(body["error"]).toEqual({ kind: "internal", message: "no" });
  });

  it("under a fence that was passed is a conflict, and changes nothing", async () => {
    const key = await plane.createRun();
    await plane.report(key, { status: "waiting_approval" }, { fence: 3, idempotencyKey: "w" });
    const late = await plane.report(key, { status: "completed", output: 1 }, { fence: 2 });
    expect(late).toMatchObject({
      ok: false,
      failure: { kind: "conflict", retryable: false, details: { code: "FENCED" } },
    });
    expect(await plane.statuses(key.runId)).toEqual({
      run: "waiting_approval",
      steps: ["waiting_approval"],
    });
    expect(await plane.report(key, { status: "completed", output: 1 }, { fence: 3 })).toEqual({
      ok: true,
      value: "accepted",
    });
  });

  it("without a fence, or under a lower one, lowers no fence", async () => {
    const key = await plane.createRun();
    await plane.report(key, { status: "waiting_approval" }, { fence: 3, idempotencyKey: "w" });
    const path = stepPath(key.runId, key.stepId);
    const bare = await plane.fetch("POST", path, { status: "waiting_approval" });
    expect(bare.status).toBe(200);
    const late = await plane.report(key, { status: "completed", output: 1 }, { fence: 2 });
    expect(late).toMatchObject({ failure: { details: { code: "FENCED" } } });
  });

  it("that a step gives twice counts its tokens once: the later total replaces the earlier", async () => {
    const key = await plane.createRun();
    const waiting = { status: "waiting_approval", input_tokens: 100, output_tokens: 10 } as const;
    await plane.report(key, waiting, { idempotencyKey: "w" });
    const done = { status: "completed", output: 1, input_tokens: 130, output_tokens: 15 } as const;
    await plane.report(key, done);
    expect(value(await plane.api.run(key.runId, signal))).toMatchObject({
      input_tokens: 130,
      output_tokens: 15,
    });
  });

  it("of another status, another run or no known step is refused", async () => {
    const [one, two] = [await plane.createRun(), await plane.createRun()];
    const done = { status: "completed" };
    const { fetch } = plane;
    expect(
      (await fetch("POST", stepPath(one.runId, one.stepId), { status: "running" })).status,
    ).toBe(422);
    expect((await fetch("POST", stepPath(one.runId, two.stepId), done)).status).toBe(400);
    expect((await fetch("POST", stepPath(one.runId, "stp_none"), done)).status).toBe(404);
    expect((await fetch("POST", stepPath("run_none", one.stepId), done)).status).toBe(404);
    const fenced = { "x-stateplane-fence": "high" };
    expect((await fetch("POST", stepPath(one.runId, one.stepId), done, fenced)).status).toBe(400);
  });

  it("over two mebibytes is too large, in FerrumDeck's words, and the connection goes on", async () => {
    const key = await plane.createRun();
    const big = await plane.report(key, {
      status: "completed",
      output: "x".repeat(3 * 1024 * 1024),
    });
    expect(big).toMatchObject({
      ok: false,
      failure: { kind: "refused", retryable: false, details: { status: 400 } },
    });
    expect(
      await plane.report(key, { status: "completed", output: "x".repeat(1024 * 1024) }),
    ).toEqual({
      ok: true,
      value: "accepted",
    });
  });

  it("that breaks the run's budget kills the run and keeps the step", async () => {
    const key = await plane.createRun({ task: "t" }, { budget: { max_total_tokens: 100 } });
    await plane.report(key, {
      status: "completed",
      output: "o",
      input_tokens: 90,
      output_tokens: 11,
    });
    expect(await plane.statuses(key.runId)).toEqual({ run: "budget_killed", steps: ["completed"] });
    const { body } = await plane.fetch("GET", `/v1/runs/${key.runId}`);
    expect(body).toMatchObject({
      output: null,
      status_reason: "budget exceeded: tokens 101 of 100",
    });
    const run = value(await plane.api.run(key.runId, signal));
    expect([run.status_reason, run.error, run.agent_id]).toEqual([
      body["status_reason"],
      null,
      body["agent_id"],
    ]);
    const [step] = value(await plane.api.steps(key.runId, signal));
    expect([step?.name, step?.started_at]).toEqual([null, expect.stringMatching(/T.*Z$/)]);
  });
});
