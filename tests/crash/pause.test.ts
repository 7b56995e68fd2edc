import { tmpdir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { toEnvelope, type StepType } from "../../machines/contracts/domain/job.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Crash } from "../chaos/boundaries.ts";
import type { LedgerWorkerOptions } from "../chaos/ledger-worker.ts";
import { planStep, repeatOf } from "../chaos/plan-step.ts";
import type { Child } from "../chaos/spawn-child.ts";
import { composeWorker } from "../support/compose-worker.ts";
import { type CrashStage, openCrashStage } from "../support/crash-stage.ts";
import { type FerrumDeckGateway, startFerrumDeckGateway } from "../support/ferrumdeck-gateway.ts";
import { startTestRedis, type TestRedis } from "../support/redis.ts";

/** Of the worker that is paused for longer; kept by one that is at work on a busy machine. */
const leaseMs = 2_000;

/** Another takes over, and keeps what it takes however long this process stands still. */
async function takeOver(options: Partial<LedgerWorkerOptions> = {}): Promise<{ pid: number }> {
  await sleep(1.2 * leaseMs);
  await stage.expireLeases();
  return stage.takeOver({ ...options, leaseMs: 60_000 });
}

const stopAt = (at: Crash["at"]): Crash => ({ deed: "stop", at, count: 1 });

let redis: TestRedis;
let stage: CrashStage;
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(() => redis.stop());
beforeEach(async () => {
  stage = await openCrashStage(redis.url);
});
afterEach(() => stage.close());

/** Writes that the store refused this worker because the fence had moved on. */
const refusals = ({ pid }: Pick<Child, "pid">): string[] =>
  stage.ledger
    .lines()
    .flatMap((line) => (line.kind === "refused" && line.pid === pid ? [line.write] : []));

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(20);
}

const touched = (child: Pick<Child, "pid">): string[] =>
  stage.ledger.touches().flatMap(({ pid, effect }) => (pid === child.pid ? [effect] : []));

/** It is alive and well: a paused worker that lost one step goes on with others. */
async function drains(worker: Child): Promise<void> {
  worker.signal("SIGTERM");
  expect(await worker.exited).toEqual({ code: 0, signal: null });
}

describe("a worker paused past its lease (SIGSTOP), while another takes over, then continued", () => {
  it("before its report: the second's report counts, and the first's last write is refused [once.fence]", async () => {
    const first = stage.spawn({ leaseMs, crash: stopAt("before:report") });
    const key = await stage.order("post");
    await first.stopped();
    const second = await takeOver();
    await stage.finished([key]);
    first.signal("SIGCONT");
    await until(() => refusals(first).length > 0);
    // Its heartbeat may hear of it while the late report is still on its way.
    expect(["settle", "renew"]).toContain(refusals(first)[0]);
    // A heartbeat that is under way while the step is settled finds no lease any more.
    expect(refusals(second).filter((write) => write !== "renew")).toEqual([]);
    expect(await stage.applied(key)).toBe(1);
    expect(touched(second)).toEqual([]);
    await drains(first);
  });

  it("before it has kept its result: the second's report counts, and the first sends none", async () => {
    const first = stage.spawn({ leaseMs, crash: stopAt("before:record") });
    const key = await stage.order("put");
    await first.stopped();
    await takeOver();
    await stage.finished([key]);
    first.signal("SIGCONT");
    // Its heartbeat may be refused as well, before or after.
    await until(() => refusals(first).includes("record"));
    await drains(first);
    expect(passed(first)).not.toContain("before:report");
    expect(await stage.applied(key)).toBe(1);
  });

  it("between the outbox's answer and the sending: it asks the store again, and sends nothing", async () => {
    const first = stage.spawn({ leaseMs, crash: stopAt("after:record") });
    const key = await stage.order("put");
    await first.stopped();
    await takeOver();
    await stage.finished([key]);
    first.signal("SIGCONT");
    await until(() => refusals(first).length > 0);
    await drains(first);
    expect(passed(first)).not.toContain("before:report");
    expect(await stage.applied(key)).toBe(1);
  });

  it("in mid-effect: a person is asked before the second repeats it, and the first's result is refused", async () => {
    const first = stage.spawn({ leaseMs, crash: stopAt("during:effect") });
    const key = await stage.order("post");
    await first.stopped();
    const second = await takeOver();
    let [asked] = await stage.approveAll();
    while (asked === undefined) {
      expect(touched(second)).toEqual([]);
      await sleep(20);
      [asked] = await stage.approveAll();
    }
    expect(repeatOf(asked.action_details)).toBe("tool:post");
    await stage.finished([key]);
    first.signal("SIGCONT");
    // Its heartbeat may be refused as well, before or after.
    await until(() => refusals(first).includes("append"));
    await drains(first);
    expect(touched(second)).toEqual(["post"]);
    expect(await stage.applied(key)).toBe(1);
  });

  it("while a person still thinks: the control plane itself refuses the older fence", async () => {
    const first = stage.spawn({ leaseMs, crash: stopAt("during:effect") });
    const key = await stage.order("post");
    await first.stopped();
    const second = await takeOver();
    while ((await stage.step(key)).status !== "waiting_approval") await sleep(20);
    await until(() => passed(second).includes("after:park"));
    const late = await stage.reportAs(key, 1);
    expect(late).toMatchObject({ ok: false, failure: { details: { code: "FENCED" } } });
    first.signal("SIGCONT");
    await until(() => refusals(first).length > 0);
    await stage.approveAll();
    await stage.finished([key]);
    expect(await stage.applied(key)).toBe(1);
  });
});

describe("a worker that misses its heartbeats, with nobody to take over", () => {
  it("paused and continued, reports once", async () => {
    const only = stage.spawn({ leaseMs, crash: stopAt("during:effect"), effectMs: [3_000, 3_000] });
    const key = await stage.order("put");
    await only.stopped();
    await sleep(1.2 * leaseMs);
    only.signal("SIGCONT");
    await stage.finished([key]);
    expect(await stage.applied(key)).toBe(1);
    await drains(only);
  });

  it("takes its own step from itself: the first session ends, the second keeps its lease and reports", async () => {
    const hour = 3_600_000;
    let deaf = true;
    const sessions: AbortSignal[] = [];
    const { queue } = stage.backend;
    const worker = composeWorker({
      backend: stage.backend,
      controlPlane: stage.plane,
      artifacts: tmpdir(),
      ports: {
        queue: { ...queue, renew: async (entries) => (deaf ? [] : await queue.renew(entries)) },
      },
      options: {
        leaseMs,
        handlers: {
          async retrieval({ signal }) {
            sessions.push(signal);
            deaf = sessions.length === 1;
            await sleep(deaf ? hour : 2 * leaseMs, undefined, { signal });
            return { kind: "done", output: sessions.length };
          },
        },
      },
    });
    const key = await stage.order("retrieve");
    await stage.finished([key]);
    expect(sessions.map(({ aborted }) => aborted)).toEqual([true, expect.any(Boolean)]);
    expect((await stage.step(key)).output).toBe(2);
    expect(await stage.applied(key)).toBe(1);
    expect(worker.runtime.steps()).toEqual([]);
    await worker.close();
  });
});

describe("the same against FerrumDeck's gateway, which knows no fence", () => {
  let gateway: FerrumDeckGateway;
  beforeEach(async () => {
    gateway = await startFerrumDeckGateway({
      verdicts: { put: "allow", post: "allow", "post-asked": "ask" },
    });
  });
  afterEach(() => gateway.close());

  const spawn = (crash: Crash) => stage.spawn({ controlPlane: gateway, leaseMs, crash });
  const publish = async (kind: "put" | "post" | "post-asked") => {
    const { type, input } = planStep(kind, "order-1");
    await stage.backend.queue.publish({ data: envelope(type, input) });
  };
  const reports = () => gateway.results().map(({ body }) => body["status"]);
  const isDone = async () => (await stage.backend.queue.stats()).length === 0;

  it.each(["before:record", "after:record", "after:complete"] as const)(
    "stopped %s: one report, by the second",
    async (at) => {
      const first = spawn(stopAt(at));
      await publish("put");
      await first.stopped();
      const second = await takeOver({ controlPlane: gateway });
      while (!(await isDone())) await sleep(20);
      expect(reports()).toEqual(["completed"]);
      first.signal("SIGCONT");
      await until(() => refusals(first).length > 0);
      await drains(first);
      expect(passed(first)).not.toContain("before:report");
      expect(passed(second)).toContain("after:report");
      expect(reports()).toEqual(["completed"]);
    },
  );

  const yes = async () => {
    gateway.approve("run_1", "stp_1");
    await publish("post-asked");
  };
  const touches = () => stage.ledger.touches().map(({ effect }) => effect);

  it.each(["after:reportWaiting", "before:park"] as const)(
    "killed %s and answered before anybody takes over: the yes stands, and nothing is asked again [approval.answered]",
    async (at) => {
      const first = spawn({ deed: "kill", at, count: 1 });
      await publish("post-asked");
      await first.exited;
      await yes();
      await takeOver({ controlPlane: gateway });
      while (!(await isDone())) await sleep(20);
      expect(reports()).toEqual(["waiting_approval", "completed"]);
      expect(touches()).toEqual(["post-asked"]);
    },
  );

  it("the same with a second question, of a step shown as running since the first yes: each yes answers its own [approval.answered]", async () => {
    const first = spawn({ deed: "kill", at: "during:effect", count: 1 });
    await publish("post-asked");
    await until(() => passed(first).includes("after:park"));
    await yes();
    await first.exited;
    const second = spawn({ deed: "kill", at: "before:park", count: 1 });
    await second.exited;
    expect(touches()).toEqual(["post-asked"]);
    expect(reports()).toEqual(["waiting_approval", "waiting_approval"]);
    await yes();
    await takeOver({ controlPlane: gateway });
    while (!(await isDone())) await sleep(20);
    expect(reports()).toEqual(["waiting_approval", "waiting_approval", "completed"]);
    expect(touches()).toEqual(["post-asked", "post-asked"]);
  });

  it("stopped in mid-effect: it waits for a person, and one report follows the yes", async () => {
    const first = spawn(stopAt("during:effect"));
    await publish("post");
    await first.stopped();
    const second = await takeOver({ controlPlane: gateway });
    await until(() => passed(second).includes("after:park"));
    first.signal("SIGCONT");
    await until(() => refusals(first).length > 0);
    expect(reports()).toEqual(["waiting_approval"]);
    gateway.approve("run_1", "stp_1");
    await publish("post");
    await until(
      () => passed(second).includes("after:settle") || passed(first).includes("after:settle"),
    );
    expect(reports()).toEqual(["waiting_approval", "completed"]);
  });
});

const passed = ({ pid }: Pick<Child, "pid">): string[] =>
  stage.ledger
    .lines()
    .flatMap((line) => (line.kind === "passed" && line.pid === pid ? [line.boundary] : []));

function envelope(stepType: StepType, input: JsonObject): string {
  const scope = { tenantId: null, projectId: null, agentId: null, traceId: null, spanId: null };
  const key = { runId: "run_1", stepId: "stp_1" };
  return toEnvelope({ ...key, ...scope, stepType, input, createdAt: Date.now() });
}
