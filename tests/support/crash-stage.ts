import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { createControlPlane } from "../../adapters/control-plane/client.ts";
import { startEmbeddedControlPlane } from "../../adapters/control-plane/embedded/start.ts";
import { createRedisBackend } from "../../adapters/redis/backend.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import type { Outcome } from "../../machines/contracts/domain/failure.ts";
import type { Reception } from "../../machines/contracts/ports/control-plane.ts";
import type { StepKey } from "../../machines/contracts/domain/record.ts";
import type { ApprovalView, StepView } from "../../machines/contracts/wire/views.ts";
import { isStepEnded } from "../../machines/contracts/domain/status.ts";
import { Ledger } from "../chaos/ledger.ts";
import { type LedgerWorkerOptions, startLedgerWorker } from "../chaos/ledger-worker.ts";
import { chaosAgent, planStep, type StepKind } from "../chaos/plan-step.ts";
import type { Child } from "../chaos/spawn-child.ts";
import { spawnWorker } from "../chaos/spawn-worker.ts";
import { value } from "./value.ts";

const apiKey = "crash-test-key";
const hour = 3_600_000;
const { signal } = new AbortController();
const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** A Redis room, an embedded control plane over real HTTP, a ledger, and workers in processes of their own. */
export interface CrashStage {
  backend: StepBackend;
  redis: Redis;
  plane: { url: string; apiKey: string };
  /** The stream's key. */
  stream: string;
  ledger: Ledger;
  spawn(options?: Partial<LedgerWorkerOptions>): Child;
  /** The same in this process, for a worker that is not to die: no process has to start for it. */
  takeOver(options?: Partial<LedgerWorkerOptions>): Promise<{ pid: number }>;
  /** Has every lease there is run out. Where no worker that was stopped is to learn how long that took. */
  expireLeases(): Promise<void>;
  /** A run of one step. */
  order(kind: StepKind, name?: string): Promise<StepKey & { name: string }>;
  step(key: StepKey): Promise<StepView>;
  /** Says yes to every open question; returns them. */
  approveAll(): Promise<ApprovalView[]>;
  /** Resolves once the steps have ended at the control plane and nothing is left on the stream. */
  finished(keys: StepKey[]): Promise<void>;
  /** A worker's report under a fence of the test's choice. */
  reportAs(key: StepKey, fence: number): Promise<Outcome<Reception>>;
  /** How often a result of the step was applied. */
  applied(key: StepKey): Promise<number>;
  close(): Promise<void>;
}

export async function openCrashStage(redisUrl: string): Promise<CrashStage> {
  const prefix = `room${randomUUID().slice(0, 8)}:`;
  const stream = `${prefix}stream:steps`;
  const folder = await mkdtemp(join(tmpdir(), "stateplane-crash-"));
  const backend = await createRedisBackend({
    url: redisUrl,
    prefix,
    consumer: `test-${randomUUID()}`,
  });
  const redis = new Redis(redisUrl, { maxRetriesPerRequest: null });
  const plane = await startEmbeddedControlPlane({
    path: ":memory:",
    port: 0,
    host: "127.0.0.1",
    apiKey,
    agents: [chaosAgent],
    publish: (fields) => backend.queue.publish(fields),
    log: silent,
  });
  const api = createControlPlaneApi({ url: plane.url, apiKey, timeoutMs: 30_000 });
  const worker = createControlPlane(api);
  const ledger = new Ledger(join(folder, "ledger.jsonl"));
  const children: Child[] = [];
  const workers: { close(): Promise<void> }[] = [];
  const workerOptions: LedgerWorkerOptions = {
    redisUrl,
    prefix,
    controlPlane: { url: plane.url, apiKey },
    artifacts: folder,
    ledger: ledger.path,
    leaseMs: 1_000,
    capacity: 4,
    effectMs: [0, 0],
    drainMs: 5_000,
    crash: null,
    traced: true,
  };

  const step = async ({ runId, stepId }: StepKey): Promise<StepView> => {
    const found = value(await api.steps(runId, signal)).find(({ id }) => id === stepId);
    if (found === undefined) throw new Error(`step ${stepId} is unknown to the control plane`);
    return found;
  };
  const isOver = async (keys: StepKey[]): Promise<boolean> => {
    // The look that costs little first: a step may wait for a person, and is on no stream then.
    if ((await backend.queue.stats()).length > 0) return false;
    for (const key of keys) if (!isStepEnded((await step(key)).status)) return false;
    // One that was woken between the two looks.
    return (await backend.queue.stats()).length === 0;
  };

  return {
    backend,
    redis,
    plane: { url: plane.url, apiKey },
    stream,
    ledger,
    spawn(options = {}) {
      const child = spawnWorker({ ...workerOptions, ...options });
      children.push(child);
      return child;
    },
    async takeOver(options = {}) {
      workers.push(await startLedgerWorker({ ...workerOptions, ...options }));
      return { pid: process.pid };
    },
    async expireLeases() {
      type Pending = [entryId: string, owner: string, idleMs: number, deliveries: number];
      const group = [stream, "steps-workers"] as const;
      const pending = (await redis.xpending(...group, "-", "+", 1_000)) as Pending[];
      for (const [entryId, owner, , deliveries] of pending) {
        const count = ["RETRYCOUNT", deliveries, "JUSTID"] as const;
        await redis.xclaim(...group, owner, 0, entryId, "IDLE", hour, ...count);
      }
    },
    async order(kind, name = randomUUID().slice(0, 8)) {
      const run = { agentId: "chaos", input: {}, steps: [planStep(kind, name)] };
      const { id: runId } = value(await api.createRun(run, signal));
      const [first] = value(await api.steps(runId, signal));
      return { runId, stepId: first?.id ?? "", name };
    },
    step,
    async approveAll() {
      const open = value(await api.approvals(1_000, signal));
      for (const { id } of open) value(await api.resolveApproval(id, true, null, signal));
      return open;
    },
    async finished(keys) {
      while (!(await isOver(keys))) await sleep(20);
    },
    reportAs: ({ runId, stepId }, fence) =>
      worker.report(
        {
          runId,
          stepId,
          fence,
          idempotencyKey: `${runId}/${stepId}`,
          body: { status: "completed", output: null },
        },
        signal,
      ),
    async applied({ runId, stepId }) {
      const path = `/v1/runs/${runId}/audit`;
      const { body } = value(await api.http.call({ method: "GET", path }, signal));
      const audit = body as { event: string; details: { step_id?: string } }[];
      return audit.filter(
        ({ event, details }) =>
          /^step\.(completed|failed)$/.test(event) && details.step_id === stepId,
      ).length;
    },
    async close() {
      await Promise.all(children.map((child) => child.end()));
      await Promise.all(workers.map(({ close }) => close()));
      await api.close();
      await plane.close();
      await backend.close();
      const keys = await redis.keys(`${prefix}*`);
      if (keys.length > 0) await redis.del(...keys);
      redis.disconnect();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
