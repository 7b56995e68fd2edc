import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { limitProvider } from "../../adapters/llm/provider-limits.ts";
import { defaultOptions, type RuntimeOptions } from "../../actors/options.ts";
import type { RuntimePorts } from "../../actors/ports.ts";
import { fail, ok, retryable } from "../../machines/contracts/domain/failure.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { agentTools } from "../support/agent-world.ts";
import { sqliteBackends } from "../support/backends.ts";
import { composeWorker } from "../support/compose-worker.ts";
import { startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";
import { type Asked, model, prices, reply, used } from "../support/priced-model.ts";
import { value } from "../support/value.ts";

const { signal } = new AbortController();
let folder: string;
let backend: StepBackend;
let plane: TestPlane;
const open: { close(): Promise<void> }[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane-test-"));
  backend = await sqliteBackends().backend(`room${randomUUID().slice(0, 8)}`);
  plane = await startTestPlane({
    agents: [{ slug: "helper", model: "m", allowedTools: ["read"] }],
    publish: (fields) => backend.queue.publish(fields),
    now: Date.now,
  });
});
afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each.close();
  await plane.close();
  await backend.close();
  await rm(folder, { recursive: true, force: true });
});

function worker(
  asked: Pick<Asked, "models">,
  ports: Partial<RuntimePorts> = {},
  options: Partial<RuntimeOptions> = {},
) {
  const composed = composeWorker({
    backend,
    controlPlane: { url: plane.url, apiKey: "test-key" },
    artifacts: folder,
    ports: { models: asked.models, prices, tools: agentTools(["read"]).tools, ...ports },
    options: {
      // What is stopped gives nothing back: whoever takes over waits for so long.
      leaseMs: 3_000,
      allowlist: { allowed: ["read"], approvalRequired: [], denied: [] },
      ...options,
    },
  });
  open.push(composed);
  return composed;
}

it("an answer whose settlement waits for the control plane is kept, and settled by whoever takes the step over [budget.answer-first]", async () => {
  const call = { id: "call_1", name: "read", arguments: { path: "a" } };
  const asked = model((_, number) => {
    const said = reply(used(30, 20), number === 1 ? "" : "done");
    return number === 1 && said.ok
      ? ok({ ...said.value, toolCalls: [call], finishReason: "tool_calls" })
      : said;
  });
  let settling = 0;
  const { worker: controlPlane } = plane;
  const { budgets } = controlPlane;
  if (budgets === undefined) throw new Error("the client keeps no budgets");
  // The control plane goes away after each second answer has come.
  const settle: typeof budgets.settle = async (settlement, given) => {
    if (asked.calls.length === 1) return budgets.settle(settlement, given);
    settling += 1;
    return fail(retryable("unavailable", "the control plane is away"));
  };
  const first = worker(asked, {
    controlPlane: { ...controlPlane, budgets: { ...budgets, settle } },
  });
  const { runId, stepId } = await plane.createRun({ task: "go on", max_tokens: 100 });
  await vi.waitFor(() => expect(settling).toBeGreaterThan(0), 60_000);
  await first.runtime.stop();
  const second = worker(asked);
  await second.ended(stepId);
  expect(asked.calls).toHaveLength(2);
  expect(value(await plane.api.run(runId, signal))).toMatchObject({
    status: "completed",
    input_tokens: 60,
    output_tokens: 40,
    cost_micros: 140,
  });
});

it("a call that still waits for a place at its provider when it is given up has used nothing [budget.place]", async () => {
  const asked = model(() => new Promise(() => {}));
  const { targets } = asked.models;
  if (targets === undefined) throw new Error("the model has no targets");
  const models = { targets, ...limitProvider("test", asked.models) };
  const places = 16;
  const request = { model: "m", messages: [], maxTokens: 10, idempotencyKey: "k" };
  for (let taken = 0; taken < places; taken += 1) void models.complete(request, signal);
  await vi.waitFor(() => expect(asked.calls).toHaveLength(places), { timeout: 20_000 });
  const deadlines = { ...defaultOptions.deadlines, executingMs: 500 };
  const { ended } = worker({ models }, {}, { deadlines });
  const { runId, stepId } = await plane.createRun({ task: "go on", max_tokens: 100 });
  await ended(stepId);
  expect(asked.calls).toHaveLength(places);
  const [step] = value(await plane.api.steps(runId, signal));
  expect(step?.error).toMatchObject({ kind: "timeout" });
  const nothing = { input_tokens: 0, output_tokens: 0, cost_micros: 0 };
  expect(value(await plane.api.run(runId, signal))).toMatchObject(nothing);
});
