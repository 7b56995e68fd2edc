import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { registerWorkflow, startWorkflowRun } from "../../adapters/control-plane/workflows-api.ts";
import { defineConfig, startDev } from "../../cli/library.ts";
import type { Outcome } from "../../machines/contracts/domain/failure.ts";
import type { WorkflowDefinition } from "../../machines/contracts/domain/workflow.ts";
import { WorkflowPlane } from "../support/workflow-plane.ts";
import { mib, table } from "./figures.ts";

export interface WorkflowFigures {
  /** Milliseconds of CPU for each step: starting it, and taking its report, with all that is kept of both. */
  scheduling: Record<"10" | "1000" | "5000", number>;
  /** A run of 1,000 parallel steps by a control plane and a worker in this process, in seconds. */
  wholeSeconds: number;
  /** Bytes of heap after each hundred of finished runs of 20 steps. */
  heap: number[];
}

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const unlimited = { max_tool_calls: null, max_wall_time_ms: null };

const parallel = (count: number): WorkflowDefinition => ({
  id: "parallel",
  name: "Parallel",
  steps: Array.from({ length: count }, (_, at) => ({
    id: `s${at}`,
    type: "tool",
    config: { tool_name: "t", tool_input: { at } },
  })),
});

/** Runs the definition by the control plane alone, every step answered at once. */
async function runThrough(plane: WorkflowPlane, definition: WorkflowDefinition): Promise<void> {
  const runId = await plane.begin(definition, {});
  for (let steps = plane.published(); steps.length > 0; steps = plane.published()) {
    for (const step of steps) await plane.report(step, { output: { ok: true } });
    // What one change had no room for.
    if (plane.store.progress.firstDue() !== null) await plane.tick();
  }
  const status = plane.store.runs.find(runId)?.status;
  if (status !== "completed") throw new Error(`the run is ${status}`);
  plane.turns.length = 0;
}

/** Without a disk: waiting for one takes no CPU, and changes that come together share one wait. */
async function costOf(count: number): Promise<number> {
  const plane = new WorkflowPlane();
  await runThrough(plane, parallel(10));
  const begun = process.cpuUsage();
  const rounds = Math.max(1, Math.floor(1_000 / count));
  for (let round = 0; round < rounds; round += 1) await runThrough(plane, parallel(count));
  const { user, system } = process.cpuUsage(begun);
  plane.close();
  return (user + system) / 1_000 / (rounds * count);
}

/** The whole thing: HTTP, the stream, a worker, a tool of the configuration's own. */
async function wholeRun(folder: string, count: number): Promise<number> {
  const tool = {
    name: "t",
    description: "Says what it was given.",
    input: { type: "object", properties: { at: { type: "number" } } },
    annotations: { readOnly: true },
    run: (input: unknown) => Promise.resolve(input),
  };
  const config = defineConfig({
    dataDir: join(folder, "data"),
    store: "sqlite",
    concurrency: 64,
    tools: [tool],
    allowlist: { allowed: ["t"] },
  });
  const dev = await startDev(config, { env: {}, log: silent });
  const api = createControlPlaneApi({ url: dev.url, apiKey: dev.apiKey, timeoutMs: 30_000 });
  const { signal } = new AbortController();
  const must = <T>(outcome: Outcome<T>): T => {
    if (outcome.ok) return outcome.value;
    throw new Error(outcome.failure.message);
  };
  try {
    const begun = performance.now();
    const about = { definition: parallel(count), projectId: "prj_01JFVX0000000000000000001" };
    const workflow = must(await registerWorkflow(api, about, signal));
    const asked = { workflowId: workflow.id, input: {}, config: { budget: unlimited } };
    const { id } = must(await startWorkflowRun(api, asked, signal));
    for (;;) {
      const { status } = must(await api.run(id, signal));
      if (status === "completed") return (performance.now() - begun) / 1_000;
      if (status !== "running") throw new Error(`the run is ${status}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  } finally {
    await api.close();
    await dev.close();
  }
}

/** Heap in use after a collection. */
function heapNow(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed;
}

async function heapOverRuns(hundreds: number): Promise<number[]> {
  const plane = new WorkflowPlane();
  const heap: number[] = [];
  for (let hundred = 0; hundred < hundreds; hundred += 1) {
    for (let run = 0; run < 100; run += 1) await runThrough(plane, parallel(20));
    heap.push(heapNow());
  }
  plane.close();
  return heap;
}

export async function benchWorkflow(): Promise<WorkflowFigures> {
  const folder = await mkdtemp(join(tmpdir(), "stateplane-bench-"));
  try {
    const scheduling = {
      "10": await costOf(10),
      "1000": await costOf(1_000),
      "5000": await costOf(5_000),
    };
    const heap = await heapOverRuns(5);
    return { scheduling, wholeSeconds: await wholeRun(folder, 1_000), heap };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export function workflowTable({ scheduling, wholeSeconds, heap }: WorkflowFigures): string {
  const rows = Object.entries(scheduling).map(([count, ms]) => [
    `${count} parallel steps`,
    ms.toFixed(3),
  ]);
  return [
    "the control plane's own CPU for each step of a workflow, ms",
    table(["", "CPU"], rows),
    `1,000 parallel steps with HTTP, stream, worker and tool in one process: ${wholeSeconds.toFixed(1)} s`,
    `heap after each 100 finished runs of 20 steps: ${heap.map(mib).join(", ")}`,
  ].join("\n");
}
