import { once } from "node:events";
import { createServer } from "node:http";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { Pool } from "undici";
import { createRedisBackend } from "../../adapters/redis/backend.ts";
import { type Job, toEnvelope } from "../../machines/contracts/domain/job.ts";
import { composeWorker } from "../integration/support/compose-worker.ts";
import { startTestRedis } from "../integration/support/redis.ts";

export interface ThroughputFigures {
  steps: number;
  stepsPerSecond: number;
  /** The same jobs read in batches, one POST each, acknowledged in pipelines: no machine, no record, no fence. */
  barePerSecond: number;
  ratio: number;
}

const stream = "fd:queue:stream:steps";
const group = "steps-workers";

/** The whole worker on plain steps, against a bare loop that does nothing but read, POST and acknowledge. */
export async function benchThroughput(steps: number, capacity: number): Promise<ThroughputFigures> {
  const redis = await startTestRedis();
  const sink = await startSink();
  try {
    await publish(redis.url, steps);
    const bare = await runBare(redis.url, sink, steps, capacity);
    await publish(redis.url, steps);
    const whole = await runWhole(redis.url, sink, steps, capacity);
    return {
      steps,
      stepsPerSecond: Math.round(whole),
      barePerSecond: Math.round(bare),
      ratio: whole / bare,
    };
  } finally {
    sink.close();
    await redis.stop();
  }
}

async function startSink() {
  let received = 0;
  const server = createServer((request, response) => {
    request.resume().on("end", () => {
      const isReport = request.method === "POST";
      if (isReport) received += 1;
      response.setHeader("content-type", "application/json");
      const id = request.url?.split("/").at(-1) ?? "";
      const step = { id, run_id: "run_1", step_type: "retrieval", status: "completed" };
      response.end(JSON.stringify(isReport ? step : { status: "healthy", version: "0" }));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    received: () => received,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
type Sink = Awaited<ReturnType<typeof startSink>>;

async function publish(url: string, steps: number): Promise<void> {
  const client = new Redis(url);
  await client.xgroup("CREATE", stream, group, "0", "MKSTREAM").catch(() => {});
  const pipeline = client.pipeline();
  for (let number = 0; number < steps; number += 1) {
    const scope = { tenantId: "t", projectId: "p", agentId: null, traceId: null, spanId: null };
    const key = { runId: "run_1", stepId: `stp_${Date.now()}_${number}` };
    const job: Job = {
      ...key,
      stepType: "retrieval",
      input: { query: "x" },
      ...scope,
      createdAt: 1,
    };
    pipeline.xadd(stream, "*", "data", toEnvelope(job));
  }
  await pipeline.exec();
  client.disconnect();
}

async function runBare(url: string, sink: Sink, steps: number, capacity: number): Promise<number> {
  const client = new Redis(url);
  const pool = new Pool(sink.url, { connections: capacity });
  const begun = performance.now();
  for (let done = 0; done < steps;) {
    const read = (await client.xreadgroup(
      ...(["GROUP", group, "bare", "COUNT", capacity, "STREAMS", stream, ">"] as const),
    )) as [string, [string, string[]][]][] | null;
    const entries = read?.[0]?.[1] ?? [];
    const body = JSON.stringify({ status: "completed", output: { documents: [] } });
    await Promise.all(
      entries.map(async () => {
        const answer = await pool.request({
          method: "POST",
          path: "/v1/runs/run_1/steps/stp",
          body,
        });
        await answer.body.dump();
      }),
    );
    const ids = entries.map(([id]) => id);
    await client
      .pipeline()
      .xack(stream, group, ...ids)
      .xdel(stream, ...ids)
      .exec();
    done += entries.length;
  }
  const seconds = (performance.now() - begun) / 1_000;
  client.disconnect();
  await pool.close();
  return steps / seconds;
}

async function runWhole(url: string, sink: Sink, steps: number, capacity: number): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), "stateplane-bench-"));
  const backend = await createRedisBackend({ url, prefix: "fd:queue:", consumer: "whole" });
  const { promise, resolve } = Promise.withResolvers<number>();
  let ended = 0;
  const begun = performance.now();
  const worker = composeWorker({
    backend,
    controlPlane: { url: sink.url, apiKey: "key" },
    artifacts: folder,
    keepsNotices: false,
    options: {
      capacity,
      leaseMs: 30_000,
      handlers: { retrieval: async () => ({ kind: "done", output: { documents: [] } }) },
      onStepEvent: (notice) => {
        if (notice.kind === "ended") ended += 1;
        if (ended === steps) resolve(performance.now());
      },
    },
  });
  const seconds = ((await promise) - begun) / 1_000;
  await worker.close();
  await backend.close();
  await rm(folder, { recursive: true, force: true });
  return steps / seconds;
}
