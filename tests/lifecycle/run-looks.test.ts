import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { systemClock } from "../../actors/runtime.ts";
import { createSqliteBackend } from "../../adapters/sqlite/backend.ts";
import type { StepType } from "../../machines/contracts/domain/job.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { terminal } from "../../machines/contracts/domain/failure.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { composeWorker, type TestWorker } from "../support/compose-worker.ts";
import {
  type FerrumDeckGateway,
  type GatewayOptions,
  startFerrumDeckGateway,
} from "../support/ferrumdeck-gateway.ts";

const documents = [{ content: "Lunch is at noon." }];
const inputs = [
  ["llm", { task: "x" }],
  ["sandbox", { code: "true", language: "bash" }],
  ["retrieval", { query: "lunch", documents }],
] as const satisfies (readonly [StepType, JsonObject])[];

let folder: string;
let path: string;
let backend: StepBackend;
let gateway: FerrumDeckGateway;
let worker: TestWorker | undefined;
/** What a model, a sandbox or a search was asked to do. */
let touched: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane-test-"));
  path = `file:${randomUUID()}?mode=memory&cache=shared`;
  backend = await createSqliteBackend({ path, consumer: "worker-1", clock: systemClock });
  touched = [];
});
afterEach(async () => {
  await worker?.close();
  worker = undefined;
  await gateway.close();
  await backend.close();
  await rm(folder, { recursive: true, force: true });
});

async function start(options: GatewayOptions = {}): Promise<void> {
  const publish = (fields: Record<string, string>) => void backend.queue.publish(fields);
  gateway = await startFerrumDeckGateway({ publish, ...options });
}

function work(): TestWorker {
  const failed = { ok: false as const, failure: terminal("internal", "touched") };
  const touch = (what: string) => async () => {
    touched.push(what);
    return failed;
  };
  const search = {
    retrieve: async () => {
      touched.push("retrieval");
      return { ok: true as const, value: { documents: [], totalFound: 0 } };
    },
  };
  worker = composeWorker({
    backend,
    controlPlane: gateway,
    artifacts: folder,
    ports: {
      models: { complete: touch("llm") },
      sandbox: { driver: "none", run: touch("sandbox") },
      retrievers: { local: search, http: null },
    },
    options: { leaseMs: 1_000 },
  });
  return worker;
}

it.each(inputs)(
  "an %s step does nothing for a run that the control plane refuses to show [policy.closed]",
  async (stepType, input) => {
    for (const status of [403, 404]) {
      const isLook = /^\/v1\/runs\/run_1$/;
      await start({
        failing: ({ method, path: at }) =>
          method === "GET" && isLook.test(at)
            ? { status, body: { error: { code: "REFUSED", message: "not yours" } } }
            : null,
      });
      gateway.enqueue({ runId: "run_1", stepId: `stp_${status}`, stepType, input });
      await work().ended(`stp_${status}`);
      expect(touched, String(status)).toEqual([]);
      await worker?.close();
      if (status === 403) await gateway.close();
    }
  },
);

it.each(inputs)("an %s step does nothing for a run that was cancelled", async (stepType, input) => {
  await start();
  gateway.cancelAndEnqueue({ runId: "run_1", stepId: "stp_1", stepType, input });
  await work().ended("stp_1");
  expect(touched).toEqual([]);
  expect(gateway.run("run_1")).toMatchObject({ status: "cancelled" });
  expect(gateway.results()).toEqual([]);
});

it("a step whose worker died after its report is reported no second time, though its run goes on", async () => {
  await start();
  const input = { query: "lunch", documents };
  gateway.enqueue({ runId: "run_1", stepId: "stp_1", stepType: "retrieval", input });
  gateway.enqueue({
    runId: "run_1",
    stepId: "stp_2",
    stepType: "approval",
    input: { message: "?" },
  });
  const dead = await createSqliteBackend({ path, consumer: "worker-0", clock: systemClock });
  const never = new AbortController().signal;
  await dead.queue.read(1, 1_000, never);
  const headers = { authorization: `Bearer ${gateway.apiKey}`, "content-type": "application/json" };
  const body = JSON.stringify({ status: "completed", output: { first: true } });
  const url = `${gateway.url}/v1/runs/run_1/steps/stp_1`;
  expect((await fetch(url, { method: "POST", headers, body })).status).toBe(200);
  await dead.close();
  await work().ended("stp_1");
  const ofStep = gateway.results().filter(({ stepId }) => stepId === "stp_1");
  expect(ofStep.map(({ body: said }) => said["output"])).toEqual([{ first: true }]);
});
