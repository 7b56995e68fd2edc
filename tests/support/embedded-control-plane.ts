import { expect, vi } from "vitest";
import { type ControlPlaneApi, createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { createControlPlane } from "../../adapters/control-plane/client.ts";
import type { AgentSeed } from "../../adapters/control-plane/embedded/changes/register-agent.ts";
import {
  type EmbeddedOptions,
  startEmbeddedControlPlane,
} from "../../adapters/control-plane/embedded/start.ts";
import { createSchemasApart } from "../../adapters/schemas/check-apart.ts";
import { type Job, parseJob } from "../../machines/contracts/domain/job.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Outcome } from "../../machines/contracts/domain/failure.ts";
import type {
  ControlPlane,
  Reception,
  Report,
} from "../../machines/contracts/ports/control-plane.ts";
import type { StepKey } from "../../machines/contracts/domain/record.ts";
import type { RunStatus, StepStatus } from "../../machines/contracts/domain/status.ts";
import type { StepResultBody } from "../../machines/contracts/domain/step-result.ts";
import { value } from "./value.ts";

export const apiKey = "test-key";

export const agent: AgentSeed = {
  slug: "helper",
  model: "gpt-4o",
  systemPrompt: "Be kind.",
  allowedTools: ["read"],
  approvalRequiredTools: ["write"],
  deniedTools: ["erase"],
};

export interface TestPlane {
  url: string;
  port: number;
  api: ControlPlaneApi;
  worker: ControlPlane;
  /** The jobs published so far, in order. */
  jobs: Job[];
  /** What the control plane's clock says; a test moves it. */
  clock: { now: number };
  /** A call as any HTTP client would make it. */
  fetch(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<{ status: number; headers: Headers; body: JsonObject }>;
  /** A run of the one agent, and its first step. */
  createRun(input?: JsonObject, config?: JsonObject): Promise<StepKey>;
  report(key: StepKey, body: StepResultBody, over?: Partial<Report>): Promise<Outcome<Reception>>;
  statuses(runId: string): Promise<{ run: RunStatus; steps: StepStatus[] }>;
  /** The job published as number `count`, once it is. */
  job(count: number): Promise<StepKey>;
  close(): Promise<void>;
}

const { signal } = new AbortController();
const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** An embedded control plane on a free port, in memory unless told otherwise, with a client of each kind. */
export async function startTestPlane(options: Partial<EmbeddedOptions> = {}): Promise<TestPlane> {
  const jobs: Job[] = [];
  const clock = { now: Date.parse("2026-01-26T10:00:00Z") };
  const plane = await startEmbeddedControlPlane({
    path: ":memory:",
    port: 0,
    host: "127.0.0.1",
    apiKey,
    agents: [agent],
    publish: async (fields) => void jobs.push(soundJob(fields)),
    now: () => clock.now,
    costMicros: (model, tokens) => (model === "gpt-4o" ? tokens : null),
    log: silent,
    schemas: createSchemasApart(),
    ...options,
  });
  const api = createControlPlaneApi({ url: plane.url, apiKey, timeoutMs: 30_000 });
  const worker = createControlPlane(api);
  return {
    url: plane.url,
    port: plane.port,
    api,
    worker,
    jobs,
    clock,
    async fetch(method, path, body, headers = {}) {
      const response = await fetch(plane.url + path, {
        method,
        headers: { authorization: `Bearer ${apiKey}`, ...headers },
        ...(body === undefined
          ? {}
          : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      });
      return {
        status: response.status,
        headers: response.headers,
        body: (await response.json()) as JsonObject,
      };
    },
    async createRun(input = { task: "greet" }, config) {
      const run = { agentId: "helper", input, ...(config && { config }) };
      const { id: runId } = value(await api.createRun(run, signal));
      const [step] = value(await api.steps(runId, signal));
      return { runId, stepId: step?.id ?? "" };
    },
    report: ({ runId, stepId }, body, over = {}) =>
      worker.report({ runId, stepId, fence: 1, idempotencyKey: "k1", body, ...over }, signal),
    async statuses(runId) {
      const run = value(await api.run(runId, signal)).status;
      return { run, steps: value(await api.steps(runId, signal)).map((step) => step.status) };
    },
    async job(count) {
      await vi.waitFor(() => expect(jobs).toHaveLength(count), { timeout: 20_000 });
      const { runId = "", stepId = "" } = jobs.at(-1) ?? {};
      return { runId, stepId };
    },
    async close() {
      await api.close();
      await plane.close();
    },
  };
}

/** The stream's entry as a worker reads it. */
export function soundJob(fields: Record<string, string>): Job {
  const parsed = parseJob(fields);
  if (!parsed.valid) throw new Error(`published an invalid job: ${parsed.invalid.failure.message}`);
  return parsed.job;
}
