import type { Redis } from "ioredis";

export const stream = "fd:queue:stream:steps";
export const group = "steps-workers";

/** A job's payload as the wire has it; BullMQ's jobs carry the same. */
export interface JobData {
  run_id: string;
  step_id: string;
  step_type: string;
  input: { query: string; documents: { content: string }[] } & Record<string, unknown>;
  context: Record<string, unknown>;
}

const documents = [
  "the lease of a step is renewed by its heartbeat",
  "a step that waits is parked as data",
  "policy is asked before every tool call",
].map((content) => ({ content }));

/** A small local retrieval; an llm step where a prompt is given. */
export function jobData(number: number, prompt: string | null = null): JobData {
  const input = prompt === null ? { query: "lease step" } : { prompt, model: "gpt-4o-mini" };
  return {
    run_id: "run_bench",
    step_id: `stp_${number}`,
    step_type: prompt === null ? "retrieval" : "llm",
    input: { query: "", documents, ...input },
    context: { tenant_id: "t", project_id: "p", trace_id: null, span_id: null },
  };
}

export const toEntry = (payload: JobData): string =>
  JSON.stringify({ id: payload.step_id, payload, created_at: Date.now(), attempts: 0 });

/** Puts jobs on the stream that a control plane would put them on. */
export async function publish(
  client: Redis,
  jobs: readonly JobData[],
  to: string = stream,
): Promise<void> {
  await client.xgroup("CREATE", to, group, "0", "MKSTREAM").catch(() => {});
  const pipeline = client.pipeline();
  for (const job of jobs) pipeline.xadd(to, "*", "data", toEntry(job));
  await pipeline.exec();
}

/** The same jobs for BullMQ. */
export async function publishToBullmq(url: string, jobs: readonly JobData[]): Promise<void> {
  // Not loaded by a peer that imports this file for its names.
  const { Queue } = await import("bullmq");
  const queue = new Queue<JobData>("steps", { connection: { url } });
  for (let at = 0; at < jobs.length; at += 1_000) {
    const some = jobs.slice(at, at + 1_000);
    await queue.addBulk(some.map((data) => ({ name: "step", data })));
  }
  await queue.close();
}

/** Jobs that nobody has finished. */
export async function unfinished(client: Redis): Promise<number> {
  const counts = await Promise.all([
    client.xlen(stream),
    client.llen("bull:steps:wait"),
    client.llen("bull:steps:active"),
    client.zcard("bull:steps:failed"),
  ]);
  return counts.reduce((sum, count) => sum + count, 0);
}
