/**
 * Runs steps that begin and end, in a worker without neighbours, and prints how many bytes came to the old generation
 * for each, twice, after a full collection that met many steps in flight. It is started with V8's flags, as a worker is.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { getHeapSpaceStatistics } from "node:v8";
import { defaultOptions } from "../../actors/options.ts";
import type { RuntimePorts } from "../../actors/ports.ts";
import { startRuntime, systemClock } from "../../actors/runtime.ts";
import { noNeighbours } from "../kit/live-once.ts";

const jobOf = (number: number) => ({
  id: `stp_${number}`,
  payload: {
    run_id: "run_1",
    step_id: `stp_${number}`,
    step_type: "retrieval",
    input: {
      query: "lease",
      documents: [{ content: "a step is renewed by its heartbeat".repeat(40) }],
    },
    context: { tenant_id: "t", project_id: "p", trace_id: null, span_id: null },
  },
  created_at: 0,
  attempts: 0,
});

let begun = 0;
let ended = 0;
const queue = {
  consumer: "one",
  read: async (count: number) => {
    await sleep(1);
    return Array.from({ length: count }, () => {
      begun += 1;
      const fields = { data: JSON.stringify(jobOf(begun)) };
      return { entryId: `1-${begun}`, fields, deliveries: 1 };
    });
  },
  claimStale: async () => [],
  renew: async () => [],
  release: async () => {},
} as unknown as RuntimePorts["queue"];
const store = {
  open: async (entryId: string, key: object) => {
    await sleep(1);
    return { kind: "opened", lease: { ...key, entryId, fence: 1 }, record: null, now: Date.now() };
  },
  settle: async () => {
    await sleep(1);
    ended += 1;
    return "written";
  },
  wakeDue: async () => 0,
} as unknown as RuntimePorts["store"];
const controlPlane = {
  extensions: async () => ({ ok: true, value: new Set(["idempotent-results"]) }),
  run: async (id: string) => ({ ok: true, value: { id, status: "running" } }),
  report: async ({ body }: { body: { status: string } }) => {
    if (body.status !== "completed") throw new Error(`a step was reported ${body.status}`);
    await sleep(3);
    return { ok: true, value: "accepted" };
  },
} as unknown as RuntimePorts["controlPlane"];
const found = { documents: [], totalFound: 0 };
const retrievers = {
  local: { retrieve: async () => ({ ok: true, value: found }) },
  http: null,
} as RuntimePorts["retrievers"];

const oldBytes = () =>
  getHeapSpaceStatistics()
    .filter(({ space_name }) => space_name === "old_space")
    .reduce((sum, { space_used_size }) => sum + space_used_size, 0);

const ports = { ...noNeighbours, queue, store, controlPlane, retrievers, clock: systemClock };
const runtime = startRuntime(ports, { ...defaultOptions, capacity: 64 });
const stepsEnd = async (count: number) => {
  for (const until = ended + count; ended < until;) await sleep(1);
};
await stepsEnd(4_000);
for (let time = 0; time < 2; time += 1) {
  globalThis.gc?.();
  // What was alive at the collection is moved by it, and counted by none of the figures.
  await stepsEnd(500);
  const [before, from] = [oldBytes(), ended];
  await stepsEnd(4_000);
  process.stdout.write(`${Math.round((oldBytes() - before) / (ended - from))}\n`);
}
await runtime.stop();
