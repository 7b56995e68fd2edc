import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createSqliteBackend } from "../../adapters/sqlite/backend.ts";
import { defaultOptions, type RuntimeOptions } from "../../actors/options.ts";
import { digestOf } from "../../actors/step/approvals.ts";
import { readRecord } from "../../actors/step/pending.ts";
import { ok, retryable } from "../../machines/contracts/domain/failure.ts";
import { toEnvelope } from "../../machines/contracts/domain/job.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import type { ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import { putBack } from "../corpus/put-back.ts";
import { liveOnce, noNeighbours } from "../kit/live-once.ts";
import {
  type SimulatedControlPlane,
  simulatedControlPlane,
} from "../kit/simulated-control-plane.ts";
import { sampleInput, sampleJob } from "../kit/step-events.ts";
import { type VirtualClock, virtualClock } from "../kit/virtual-clock.ts";

const tool = {
  name: "git_commit",
  server: "git",
  digest: "first",
  address: "git_commit",
  description: "",
  inputSchema: {},
  outputSchema: null,
  safeToRepeat: false,
  readOnly: false,
};
const quiet = () => new Promise<false>((resolve) => setTimeout(resolve, 5, false));

describe("a verdict", () => {
  let backend: StepBackend;
  let clock: VirtualClock;
  let plane: SimulatedControlPlane;
  let called: number;
  beforeEach(async () => {
    clock = virtualClock();
    called = 0;
    backend = await createSqliteBackend({ path: ":memory:", consumer: randomUUID(), clock });
    plane = simulatedControlPlane(sampleJob, {
      answers: [],
      now: clock.now,
      approvalMs: defaultOptions.deadlines.approvalMs,
    });
  });
  afterEach(() => backend.close());

  const tools = (call: ToolHost["call"]): ToolHost => ({
    ...noNeighbours.tools,
    describe: async () => ok(tool),
    call: async (...given) => {
      called += 1;
      return call(...given);
    },
  });
  const written: ToolHost["call"] = async () => ok({ server: "git", content: "done" });
  const job = { ...sampleJob, createdAt: null };

  async function live(call: ToolHost["call"], more: Partial<RuntimeOptions> = {}) {
    await backend.queue.publish({ data: toEnvelope(job) });
    const [delivery] = await backend.queue.read(1, 0, new AbortController().signal);
    if (delivery === undefined) throw new Error("nothing was delivered");
    const ports = {
      ...noNeighbours,
      queue: backend.queue,
      store: backend.store,
      clock,
      controlPlane: plane,
      tools: tools(call),
    };
    const options = {
      ...defaultOptions,
      leaseMs: 10_000_000,
      allowlist: { allowed: ["git/git_commit"], approvalRequired: [], denied: [] },
      ...more,
    };
    return liveOnce(ports, options, { job, delivery });
  }

  it.each([1_000, 20_000])(
    "is not used after a back-off of %d ms for a run that has ended meanwhile [policy.holds]",
    async (baseDelayMs) => {
      const limits = {
        ...sampleInput.limits,
        baseDelayMs,
        maxDelayMs: baseDelayMs,
        parkAfterMs: 60_000,
      };
      const busyOnce: ToolHost["call"] = async (...given) =>
        called === 1
          ? { ok: false, failure: retryable("unavailable", "not sent") }
          : written(...given);
      const { ended } = await live(busyOnce, { limits });
      while (called === 0) await quiet();
      plane.checkTool = async () => ok({ kind: "deny", reason: "the run has ended" });
      const over = ended.then(() => true);
      // The back-off may begin a moment after the call has failed.
      while (!(await Promise.race([over, quiet()]))) clock.advance(baseDelayMs);
      expect(await ended).toBe("settled");
      expect(plane.accepted).toMatchObject([{ body: { status: "failed" } }]);
      expect(called).toBe(1);
    },
  );

  it("an approval that version 1 parked without a server is asked about again, never trusted [version.read]", async () => {
    const action = { kind: "tool", name: "git_commit", input: sampleJob.input["tool_input"] };
    const digest = digestOf({ runId: job.runId, stepId: job.stepId, action });
    const question = { digest, action, reason: "writes need approval" };
    plane.questions.push({
      ...(question as never as (typeof plane.questions)[number]),
      id: "apr_old",
      status: "approved",
      expiresAt: clock.now() + 1_000_000,
    });
    const context = {
      verdict: { kind: "ask", reason: "writes need approval" },
      asks: [{ ...question, approvalId: "apr_old", expiresAt: clock.now() + 1_000_000 }],
      grants: [],
      attempts: 0,
      repairs: 0,
      repairNote: null,
      retryAt: null,
      costly: false,
    };
    const value = { "awaiting-approval": "parking" };
    const snapshot = { version: 1, snapshot: { status: "done", value, context } };
    await putBack(backend, { snapshot, journal: [] }, job);
    const record = await backend.store.find(job);
    expect(record !== null && readRecord(record).ok).toBe(true);
    const asking = { allowlist: { allowed: [], approvalRequired: ["git_commit"], denied: [] } };
    expect(await (await live(written, asking)).ended).toBe("parked");
    expect(called).toBe(0);
    expect(plane.questions.map(({ action: asked }) => asked.server)).toEqual([undefined, "git"]);
    const [, second] = plane.questions;
    if (second !== undefined) second.status = "approved";
    expect(await (await live(written, asking)).ended).toBe("settled");
    expect(called).toBe(1);
  });
});
