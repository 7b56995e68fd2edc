import { randomUUID } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { defaultOptions, type RuntimeOptions } from "../../actors/options.ts";
import type { StepHandler } from "../../actors/handlers/handler.ts";
import type { RuntimePorts } from "../../actors/ports.ts";
import { watchRuns } from "../../adapters/control-plane/watch-runs.ts";
import { retryable } from "../../machines/contracts/domain/failure.ts";
import { type Job, toEnvelope } from "../../machines/contracts/domain/job.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { composeWorker, type TestWorker } from "../support/compose-worker.ts";
import { startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";
import { sqliteBackends } from "../support/backends.ts";
import {
  type GatewayOptions,
  type FerrumDeckGateway,
  startFerrumDeckGateway,
} from "../support/ferrumdeck-gateway.ts";

const backends = sqliteBackends();
let folder: string;
let backend: StepBackend;
let worker: TestWorker | undefined;
let gateway: FerrumDeckGateway | undefined;
let plane: TestPlane | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane-test-"));
  backend = await backends.backend(`room${randomUUID().slice(0, 8)}`);
});
afterEach(async () => {
  await worker?.close();
  await gateway?.close();
  await plane?.close();
  await backend.close();
  await rm(folder, { recursive: true, force: true });
  worker = gateway = plane = undefined;
});

async function start(options: Partial<RuntimeOptions>, gatewayOptions: GatewayOptions = {}) {
  gateway = await startFerrumDeckGateway(gatewayOptions);
  worker = composeWorker({ backend, controlPlane: gateway, artifacts: folder, options });
  return { worker, gateway };
}

function publish(stepId: string, over: Partial<Job> = {}) {
  const scope = { tenantId: "t", projectId: "p", agentId: null, traceId: null, spanId: null };
  const job: Job = {
    runId: "run_1",
    stepId,
    stepType: "retrieval",
    input: { query: "x" },
    ...scope,
    createdAt: Date.now(),
    ...over,
  };
  return backend.queue.publish({ data: toEnvelope(job) });
}

const deadlines = defaultOptions.deadlines;
const done: StepHandler = async () => ({ kind: "done", output: { done: true } });
const stuck: StepHandler = ({ signal }) =>
  new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });

describe("the four deadlines", () => {
  const error = (gate: FerrumDeckGateway) => gate.results().at(-1)?.body["error"];

  it("a job that waited too long in the queue is reported failed, its work never begun", async () => {
    const handler = vi.fn(done);
    const options = { deadlines: { ...deadlines, queueMs: 100 }, handlers: { retrieval: handler } };
    const { worker: w, gateway: g } = await start(options);
    await publish("stp_1", { createdAt: Date.now() - 1_000 });
    await w.ended("stp_1");
    expect(error(g)).toMatchObject({ kind: "timeout", details: { deadline: "queue" } });
    expect(handler).not.toHaveBeenCalled();
  });

  it("work that takes too long is aborted and reported failed", async () => {
    const aborted = vi.fn();
    const handler: StepHandler = (scope) => {
      scope.signal.addEventListener("abort", aborted);
      return stuck(scope);
    };
    const options = {
      deadlines: { ...deadlines, executingMs: 50 },
      handlers: { retrieval: handler },
    };
    const { worker: w, gateway: g } = await start(options);
    await publish("stp_1");
    await w.ended("stp_1");
    expect(error(g)).toMatchObject({ kind: "timeout", details: { deadline: "executing" } });
    expect(aborted).toHaveBeenCalled();
  });

  it("a step as a whole has an end too", async () => {
    const options = { deadlines: { ...deadlines, totalMs: 200 }, handlers: { retrieval: stuck } };
    const { worker: w, gateway: g } = await start(options);
    await publish("stp_1");
    await w.ended("stp_1");
    expect(error(g)).toMatchObject({ kind: "timeout", details: { deadline: "total" } });
  });

  it("an approval that nobody gives in time ends the step, without a worker waiting for it", async () => {
    const options = { deadlines: { ...deadlines, approvalMs: 300 } };
    const { worker: w, gateway: g } = await start(options);
    await publish("stp_1", { stepType: "approval", input: { message: "deploy?" } });
    const [end] = await w.ended("stp_1", 2);
    expect(end).toMatchObject({ how: "parked" });
    expect(error(g)).toMatchObject({ kind: "approval_expired" });
    expect(await backend.queue.stats()).toMatchObject({ length: 0, pending: 0 });
  });
});

describe("retries", () => {
  it("are the machine's: as many as allowed, then the failure is final", async () => {
    let calls = 0;
    const handler: StepHandler = async () => {
      calls += 1;
      return { kind: "failed", failure: retryable("unavailable", "the neighbour is away") };
    };
    const { worker: w, gateway: g } = await start({ handlers: { retrieval: handler } });
    await publish("stp_1");
    await w.ended("stp_1");
    expect(calls).toBe(defaultOptions.limits.maxAttempts);
    expect(g.results()).toMatchObject([
      { body: { status: "failed", error: { kind: "unavailable" } } },
    ]);
  });

  it("a long back-off leaves the worker, and the attempts are remembered across it", async () => {
    let calls = 0;
    const handler: StepHandler = async () => {
      calls += 1;
      if (calls === 3) return { kind: "done", output: { calls } };
      return { kind: "failed", failure: retryable("rate_limited", "later", 300) };
    };
    const limits = { ...defaultOptions.limits, maxAttempts: 3, parkAfterMs: 100, baseDelayMs: 10 };
    const { worker: w, gateway: g } = await start({ limits, handlers: { retrieval: handler } });
    await publish("stp_1");
    const ends = await w.ended("stp_1", 3);
    expect(ends.map((end) => "how" in end && end.how)).toEqual(["parked", "parked", "settled"]);
    expect(g.results()).toMatchObject([{ body: { status: "completed", output: { calls: 3 } } }]);
  });
});

describe("a control plane that is away", () => {
  it("stops the reading, keeps the result, and gets it when it is back", async () => {
    let isAway = false;
    const { worker: w, gateway: g } = await start(
      { capacity: 2, handlers: { retrieval: done } },
      { failing: () => (isAway ? { status: 503, body: {} } : null) },
    );
    isAway = true;
    for (let number = 0; number < 6; number += 1) {
      await publish(`stp_${number}`, { runId: `run_${number}` });
    }
    await vi.waitFor(() => expect(w.runtime.snapshot().context.holding).not.toEqual([]), 60_000);
    // What is not being worked on stays on the stream, for a worker that can report it.
    expect((await backend.queue.stats()).length).toBe(6);
    expect((await backend.queue.stats()).pending).toBeLessThanOrEqual(2);
    expect(g.results()).toEqual([]);
    isAway = false;
    await Promise.all([0, 1, 2, 3, 4, 5].map((number) => w.ended(`stp_${number}`)));
    expect(g.results()).toHaveLength(6);
    expect(g.results().every(({ body }) => body["status"] === "completed")).toBe(true);
  });
});

describe("a result that is longer than the control plane takes", () => {
  it("goes to an artifact, and the report carries a note of it", async () => {
    const output = { text: "x".repeat(3 * 1024 * 1024) };
    const large: StepHandler = async () => ({ kind: "done", output });
    const { worker: w, gateway: g } = await start({ handlers: { retrieval: large } });
    await publish("stp_1");
    await w.ended("stp_1");
    const [result] = g.results();
    expect(result?.body).toMatchObject({
      status: "completed",
      output: { artifact: { size: expect.any(Number) }, note: expect.stringContaining("artifact") },
    });
    const note = result?.body["output"] as { artifact: { id: string } } | undefined;
    const kept = await w.ports.artifacts.get("run_1", note?.artifact.id ?? "");
    expect(kept.ok && JSON.parse(new TextDecoder().decode(kept.value.content))).toMatchObject({
      output,
    });
    expect(await readdir(folder)).toContain("run_1");
  });
});

describe("a bulkhead", () => {
  it("keeps one step type from taking every hand", async () => {
    let inside = 0;
    let most = 0;
    const handler: StepHandler = async () => {
      inside += 1;
      most = Math.max(most, inside);
      // However late the second job comes, it finds the first one here.
      await expect.poll(() => most).toBe(2);
      await sleep(30);
      inside -= 1;
      return { kind: "done", output: null };
    };
    const options = { capacity: 8, bulkheads: { retrieval: 2 }, handlers: { retrieval: handler } };
    const { worker: w } = await start(options);
    for (let number = 0; number < 8; number += 1) await publish(`stp_${number}`);
    await Promise.all([...Array(8).keys()].map((number) => w.ended(`stp_${number}`)));
    expect(most).toBe(2);
  });
});

describe("a cancelled run", () => {
  it("has the work in flight aborted before anybody looks at it, and reports the step no more", async () => {
    plane = await startTestPlane();
    const { api } = plane;
    const begun = Promise.withResolvers<void>();
    const aborted = Promise.withResolvers<number>();
    const look = vi.fn(plane.worker.run);
    const handler: StepHandler = (scope) => {
      scope.signal.addEventListener("abort", () => aborted.resolve(look.mock.calls.length));
      begun.resolve();
      return stuck(scope);
    };
    const connected = Promise.withResolvers<void>();
    const stream: typeof api.http.stream = async (...given) => {
      const opened = await api.http.stream(...given);
      connected.resolve();
      return opened;
    };
    const ports: Partial<RuntimePorts> = {
      controlPlane: { ...plane.worker, run: look },
      watchRuns: (onChange, signal) =>
        watchRuns({ http: { ...api.http, stream } }, onChange, signal),
    };
    const controlPlane = { url: plane.url, apiKey: "test-key" };
    const options = { handlers: { llm: handler } };
    worker = composeWorker({ backend, controlPlane, artifacts: folder, options, ports });
    const { runId, stepId } = await plane.createRun();
    await publish(stepId, { runId, stepType: "llm", input: { task: "x" } });
    await Promise.all([begun.promise, connected.promise]);
    const looked = look.mock.calls.length;
    await api.cancel(runId, AbortSignal.timeout(30_000));
    expect(await aborted.promise).toBe(looked);
    await worker.ended(stepId);
    expect((await plane.statuses(runId)).run).toBe("cancelled");
  });
});
