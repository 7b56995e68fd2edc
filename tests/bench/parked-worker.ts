import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRedisBackend } from "../../adapters/redis/backend.ts";
import { composeWorker } from "../support/compose-worker.ts";

/** What the bench may ask of the worker, and what it answers. */
export type Question = "measure" | "stop";
export type Answer =
  | { kind: "ready" }
  | { kind: "executing"; runId: string; at: number }
  | { kind: "measured"; heapBytes: number; rssBytes: number; alive: number; parked: number };

const tell = (answer: Answer) => process.send?.(answer);

const [redisUrl = "", planeUrl = "", apiKey = ""] = process.argv.slice(2);
const folder = await mkdtemp(join(tmpdir(), "stateplane-bench-"));
const consumer = `bench-${process.pid}`;
const backend = await createRedisBackend({ url: redisUrl, prefix: "fd:queue:", consumer });
let parked = 0;
const worker = composeWorker({
  backend,
  controlPlane: { url: planeUrl, apiKey },
  artifacts: folder,
  keepsNotices: false,
  options: {
    capacity: 64,
    leaseMs: 30_000,
    onStepEvent: (notice) => {
      if (notice.kind === "ended" && notice.how === "parked") parked += 1;
      if (notice.kind === "entered" && notice.state === "executing") {
        tell({ kind: "executing", runId: notice.runId, at: Number(process.hrtime.bigint()) });
      }
    },
  },
});
process.on("message", (question: Question) => {
  if (question === "measure") {
    globalThis.gc?.();
    const { heapUsed, rss } = process.memoryUsage();
    const alive = worker.runtime.steps().length;
    tell({ kind: "measured", heapBytes: heapUsed, rssBytes: rss, alive, parked });
    return;
  }
  void worker
    .close()
    .then(() => backend.close())
    .then(() => rm(folder, { recursive: true, force: true }))
    .then(() => process.exit(0));
});
tell({ kind: "ready" });
