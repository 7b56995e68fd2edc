import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import { Redis } from "ioredis";
import { createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { startEmbeddedControlPlane } from "../../adapters/control-plane/embedded/start.ts";
import { createRedisBackend } from "../../adapters/redis/backend.ts";
import { startTestRedis } from "../support/redis.ts";
import { mib } from "./figures.ts";
import type { Answer, Question } from "./parked-worker.ts";

export interface ParkedFigures {
  parked: number;
  redisBytesEach: number;
  /** The largest of a sample of records, all of its keys. */
  redisBytesLargest: number;
  /** Of the worker, from a fifth parked to all parked; the heap after a full collection. */
  workerHeapGrowthBytes: number;
  workerRssGrowthBytes: number;
  stepsAlive: number;
  /** Milliseconds from asking for the approval to the worker executing the step. */
  continuedMedianMs: number;
  continuedP95Ms: number;
}

const apiKey = "bench-key";
const silent = () => {};

/** Parks `count` approval steps, weighs them, and approves `samples` of them one by one. */
export async function benchParked(count: number, samples: number): Promise<ParkedFigures> {
  const redis = await startTestRedis();
  const backend = await createRedisBackend({
    url: redis.url,
    prefix: "fd:queue:",
    consumer: "bench",
  });
  const log = { debug: silent, info: silent, warn: silent, error: silent };
  const plane = await startEmbeddedControlPlane({
    path: ":memory:",
    port: 0,
    host: "127.0.0.1",
    apiKey,
    agents: [{ slug: "bench", model: "none" }],
    publish: (fields) => backend.queue.publish(fields),
    log,
  });
  const api = createControlPlaneApi({ url: plane.url, apiKey, timeoutMs: 30_000 });
  const client = new Redis(redis.url);
  const worker = startWorker(redis.url, plane.url, apiKey);
  try {
    await worker.next("ready");
    const usedBefore = await usedMemory(client);
    const signal = AbortSignal.timeout(300_000);
    const create = async () => {
      const steps = [{ type: "approval" as const, input: { message: "May it go on?" } }];
      const run = await api.createRun({ agentId: "bench", input: { task: "wait" }, steps }, signal);
      if (!run.ok) throw new Error(run.failure.message);
    };
    let created = 0;
    const parkUpTo = async (total: number) => {
      for (; created < total; created += 50) await Promise.all(Array.from({ length: 50 }, create));
      let now = await worker.measure();
      while (now.parked < created || now.alive > 0) {
        await new Promise((resolve) => setTimeout(resolve, 200));
        now = await worker.measure();
      }
      return now;
    };
    // A fifth first: what the runtime itself needs under load is not the parked steps' weight.
    const before = await parkUpTo(count / 5);
    const now = await parkUpTo(count);
    const usedAfter = await usedMemory(client);
    const largest = await largestRecord(client, 200);
    const waits: number[] = [];
    const pending = await api.approvals(samples, signal);
    for (const approval of pending.ok ? pending.value : []) {
      const executing = worker.executing(approval.run_id);
      const asked = Number(process.hrtime.bigint());
      await api.resolveApproval(approval.id, true, null, signal);
      waits.push(((await executing) - asked) / 1e6);
    }
    waits.sort((a, b) => a - b);
    return {
      parked: created,
      redisBytesEach: Math.round((usedAfter - usedBefore) / created),
      redisBytesLargest: largest,
      workerHeapGrowthBytes: now.heapBytes - before.heapBytes,
      workerRssGrowthBytes: now.rssBytes - before.rssBytes,
      stepsAlive: now.alive,
      continuedMedianMs: waits[Math.floor(waits.length / 2)] ?? Number.NaN,
      continuedP95Ms: waits[Math.floor(waits.length * 0.95)] ?? Number.NaN,
    };
  } finally {
    await worker.stop();
    client.disconnect();
    await api.close();
    await plane.close();
    await backend.close();
    await redis.stop();
  }
}

function startWorker(...args: string[]) {
  const file = join(import.meta.dirname, "parked-worker.ts");
  const child: ChildProcess = fork(file, args, { execArgv: ["--expose-gc"] });
  const next = <K extends Answer["kind"]>(
    kind: K,
    isMine: (answer: Answer) => boolean = () => true,
  ) => {
    const { promise, resolve, reject } = Promise.withResolvers<Extract<Answer, { kind: K }>>();
    const onExit = (code: number | null) => reject(new Error(`the bench's worker ended: ${code}`));
    const onMessage = (answer: Answer) => {
      if (answer.kind !== kind || !isMine(answer)) return;
      child.off("message", onMessage);
      child.off("exit", onExit);
      resolve(answer as Extract<Answer, { kind: K }>);
    };
    child.on("message", onMessage);
    child.once("exit", onExit);
    return promise;
  };
  const ask = (question: Question) => child.send(question);
  child.setMaxListeners(0);
  return {
    next,
    measure: () => {
      const measured = next("measured");
      ask("measure");
      return measured;
    },
    executing: async (runId: string) => {
      const notice = await next(
        "executing",
        (answer) => "runId" in answer && answer.runId === runId,
      );
      return notice.at;
    },
    stop: () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      child.once("exit", () => resolve());
      if (child.exitCode !== null) resolve();
      else ask("stop");
      return promise;
    },
  };
}

async function usedMemory(client: Redis): Promise<number> {
  const info = await client.info("memory");
  return Number(/used_memory:(\d+)/.exec(info)?.[1]);
}

async function largestRecord(client: Redis, samples: number): Promise<number> {
  const [, keys] = await client.scan(0, "MATCH", "fd:queue:step:*", "COUNT", samples);
  const sizes = await Promise.all(keys.map((key) => client.memory("USAGE", key)));
  return Math.max(0, ...sizes.map(Number));
}

export function parkedTable(figures: ParkedFigures): string {
  const { parked, redisBytesEach, redisBytesLargest, workerHeapGrowthBytes } = figures;
  const { workerRssGrowthBytes, stepsAlive, continuedMedianMs, continuedP95Ms } = figures;
  return [
    `${parked} parked approvals`,
    `in Redis each ${redisBytesEach} B, the largest record ${redisBytesLargest} B`,
    `the worker's heap grew by ${mib(workerHeapGrowthBytes)}, its memory by ${mib(workerRssGrowthBytes)}; ${stepsAlive} steps alive in it`,
    `from the yes to executing ${continuedMedianMs.toFixed(1)} ms, p95 ${continuedP95Ms.toFixed(1)} ms`,
  ].join("\n");
}
