/**
 * A contender that does the same work without us: reads the same jobs, retrieves with the same retriever, sends
 * the same report by the same HTTP client, and is done with a job only then.
 *
 * - `loop`: XREADGROUP in batches, one POST each, XACK and XDEL in one pipeline. No record, no retry, no lease.
 * - `bullmq`: a BullMQ worker at the same concurrency, which removes what is completed.
 *
 * usage: peer.ts loop|bullmq REDIS_URL SINK_URL CONCURRENCY [STREAM]
 */
import { Redis } from "ioredis";
import { Pool } from "undici";
import { createLocalRetriever } from "../../adapters/retrieval/local.ts";
import { group, type JobData, stream as usualStream } from "./jobs.ts";

const [kind = "", redisUrl = "", sinkUrl = "", concurrency = "64", stream = usualStream] =
  process.argv.slice(2);
const pool = new Pool(sinkUrl, { connections: 128 });
const retriever = createLocalRetriever();
const { signal } = new AbortController();
const headers = {
  authorization: "Bearer key",
  accept: "application/json",
  "content-type": "application/json",
};

async function work({ run_id: runId, step_id: stepId, input }: JobData): Promise<void> {
  const request = { query: input.query, documents: input.documents, topK: 5 };
  const found = await retriever.retrieve({ ...request, collection: "default" }, signal);
  const output = found.ok ? { ...found.value, query: input.query } : null;
  const response = await pool.request({
    method: "POST",
    path: `/v1/runs/${runId}/steps/${stepId}`,
    headers,
    body: JSON.stringify({ status: "completed", output }),
  });
  await response.body.json();
}

type Batch = [string, [string, string[]][]][] | null;

async function loop(): Promise<void> {
  const client = new Redis(redisUrl);
  const reader = new Redis(redisUrl);
  await client.xgroup("CREATE", stream, group, "0", "MKSTREAM").catch(() => {});
  for (;;) {
    const read = (await reader.xreadgroup(
      ...(["GROUP", group, `loop-${process.pid}`, "COUNT", Number(concurrency)] as const),
      ...(["BLOCK", 1_000, "STREAMS", stream, ">"] as const),
    )) as Batch;
    const entries = read?.[0]?.[1] ?? [];
    await Promise.all(
      entries.map(([, [, text = ""]]) => work((JSON.parse(text) as { payload: JobData }).payload)),
    );
    const ids = entries.map(([id]) => id);
    if (ids.length === 0) continue;
    await client
      .pipeline()
      .xack(stream, group, ...ids)
      .xdel(stream, ...ids)
      .exec();
  }
}

async function bullmq(): Promise<void> {
  const { Worker } = await import("bullmq");
  const worker = new Worker<JobData>("steps", ({ data }) => work(data), {
    connection: { url: redisUrl, maxRetriesPerRequest: null },
    concurrency: Number(concurrency),
    removeOnComplete: { count: 0 },
  });
  worker.on("error", (error) => process.stderr.write(`${error.message}\n`));
  await worker.waitUntilReady();
}

process.on("SIGTERM", () => process.exit(0));
await (kind === "loop" ? loop() : bullmq());
