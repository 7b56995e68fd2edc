import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { vi, expect } from "vitest";
import type { PlannedStep } from "../../adapters/control-plane/api.ts";
import type { RuntimeOptions } from "../../actors/options.ts";
import type { RuntimePorts } from "../../actors/ports.ts";
import { systemClock } from "../../actors/runtime.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Clock } from "../../machines/contracts/ports/clock.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import type { ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import type { ApprovalView, StepView } from "../../machines/contracts/wire/views.ts";
import { composeWorker, type TestWorker } from "./compose-worker.ts";
import { agent, apiKey, startTestPlane, type TestPlane } from "./embedded-control-plane.ts";
import type { BackendFactory } from "./backends.ts";
import { value } from "./value.ts";

const { signal } = new AbortController();
const patience = { timeout: 60_000, interval: 10 };

/** A control plane that asks people, as many workers as the test starts, and a tool that counts its calls. */
export interface HumanScene {
  plane: TestPlane;
  backend: StepBackend;
  /** What the tools were really called with, in order. */
  calls: { name: string; input: JsonObject }[];
  clock: Clock;
  /** @param wrap ports to put in place of the worker's own, made over its backend */
  worker(
    options?: Partial<RuntimeOptions>,
    wrap?: (own: StepBackend) => Partial<RuntimePorts>,
  ): Promise<TestWorker>;
  /** A run of these steps; the ids of its steps. */
  run(steps: PlannedStep[]): Promise<{ runId: string; stepIds: string[] }>;
  /** The open questions, once there are so many, in the order they were put. */
  questions(count: number): Promise<ApprovalView[]>;
  /** A person's answer, and what the control plane said to it. */
  answer(id: string, approved: boolean): Promise<"taken" | "refused">;
  /** The step, once it has ended. */
  ended(runId: string, stepId: string): Promise<StepView>;
  /** Until no job is left on the queue. */
  idle(): Promise<void>;
  /** Moves everybody's clock on, by milliseconds. */
  pass(ms: number): void;
  /** What the tool's arguments must be, as its server says; any object at first. */
  setSchema(schema: JsonObject): void;
  close(): Promise<void>;
}

export const writeStep = (input: JsonObject, more: Partial<PlannedStep> = {}): PlannedStep => ({
  type: "tool",
  input: { tool_name: "write", tool_input: input },
  ...more,
});

/** @param allowedTools what the agent may call beside `write`, which it is asked about */
export async function humanScene(
  backends: BackendFactory,
  allowedTools: readonly string[] = ["read"],
): Promise<HumanScene> {
  const room = `room${randomUUID().slice(0, 8)}`;
  const folder = await mkdtemp(join(tmpdir(), "stateplane-human-"));
  const backend = await backends.backend(room);
  let passed = 0;
  const clock: Clock = { ...systemClock, now: () => Date.now() + passed };
  const plane = await startTestPlane({
    publish: async (fields) => backend.queue.publish(fields),
    now: clock.now,
    agents: [
      { ...agent, allowedTools: [...allowedTools, "write"], approvalRequiredTools: ["write"] },
    ],
  });
  const calls: HumanScene["calls"] = [];
  let inputSchema: JsonObject = { type: "object" };
  const opened: { backend: StepBackend; worker: TestWorker }[] = [];
  return {
    plane,
    backend,
    calls,
    clock,
    async worker(options = {}, wrap = () => ({})) {
      const own = await backends.backend(room);
      const worker = composeWorker({
        backend: own,
        controlPlane: { url: plane.url, apiKey },
        artifacts: folder,
        options: {
          allowlist: { allowed: ["write"], approvalRequired: [], denied: [] },
          ...options,
        },
        ports: { tools: countingTools(calls, () => inputSchema), clock, ...wrap(own) },
      });
      opened.push({ backend: own, worker });
      return worker;
    },
    async run(steps) {
      const created = await plane.api.createRun({ agentId: "helper", input: {}, steps }, signal);
      const { id: runId } = value(created);
      const known = value(await plane.api.steps(runId, signal));
      return { runId, stepIds: known.map(({ id }) => id) };
    },
    questions: (count) =>
      vi.waitFor(async () => {
        const open = value(await plane.api.approvals(100, signal));
        expect(open).toHaveLength(count);
        return open.toSorted((one, other) => one.id.localeCompare(other.id));
      }, patience),
    async answer(id, approved) {
      const answered = await plane.api.resolveApproval(id, approved, null, signal);
      return answered.ok ? "taken" : "refused";
    },
    ended: (runId, stepId) =>
      vi.waitFor(async () => {
        const steps = value(await plane.api.steps(runId, signal));
        const step = steps.find(({ id }) => id === stepId);
        expect(step?.status).toMatch(/completed|failed|skipped/);
        if (step === undefined) throw new Error(`no step ${stepId}`);
        return step;
      }, patience),
    idle: () =>
      vi.waitFor(
        async () => expect(await backend.queue.stats()).toMatchObject({ length: 0, pending: 0 }),
        patience,
      ),
    pass: (ms) => {
      passed += ms;
    },
    setSchema: (schema) => {
      inputSchema = schema;
    },
    async close() {
      for (const { worker, backend: own } of opened) {
        await worker.close();
        await own.close();
      }
      await plane.close();
      await backend.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** One server with one tool, `write`, that must not run twice. */
function countingTools(calls: HumanScene["calls"], schema: () => JsonObject): ToolHost {
  const described = () => ({
    name: "write",
    server: "desk",
    address: "write",
    digest: "of the first schema",
    description: "Writes.",
    inputSchema: schema(),
    outputSchema: null,
    safeToRepeat: false,
    readOnly: false,
  });
  return {
    list: async () => ({ ok: true, value: [described()] }),
    describe: async () => ({ ok: true, value: described() }),
    call: async ({ name }, input) => {
      calls.push({ name, input });
      return { ok: true, value: { server: "desk", content: "written" } };
    },
    close: async () => {},
  };
}
