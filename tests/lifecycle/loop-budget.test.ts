import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createFallbacks } from "../../adapters/llm/fallbacks.ts";
import { fail, ok, retryable } from "../../machines/contracts/domain/failure.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { agentTools } from "../support/agent-world.ts";
import { sqliteBackends } from "../support/backends.ts";
import { composeWorker } from "../support/compose-worker.ts";
import { startTestPlane } from "../support/embedded-control-plane.ts";
import { model, prices, reply, used } from "../support/priced-model.ts";
import { value } from "../support/value.ts";

const backends = sqliteBackends();
const { signal } = new AbortController();
let folder: string;
let backend: StepBackend;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane-test-"));
  backend = await backends.backend(`room${randomUUID().slice(0, 8)}`);
});
afterEach(async () => {
  await backend.close();
  await rm(folder, { recursive: true, force: true });
});

describe("an agent's loop", () => {
  it("stops before the call that would pass its run's budget, whatever the budget, and says so [budget.loop]", async () => {
    const { tools } = agentTools(["read"]);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 30_000 }), async (limit) => {
        // Each call costs 700 micro-dollars, less than it is estimated at, and the model never stops calling.
        const asked = model((_, call) =>
          ok({
            provider: "test",
            model: "m",
            content: "",
            toolCalls: [{ id: `call_${call}`, name: "read", arguments: { path: String(call) } }],
            finishReason: "tool_calls",
            usage: used(500, 100),
          }),
        );
        const control = await startTestPlane({
          agents: [{ slug: "helper", model: "m", allowedTools: ["read"] }],
          publish: (fields) => backend.queue.publish(fields),
          now: Date.now,
        });
        const composed = composeWorker({
          backend,
          controlPlane: { url: control.url, apiKey: "test-key" },
          artifacts: folder,
          ports: { models: asked.models, prices, tools },
          options: { allowlist: { allowed: ["read"], approvalRequired: [], denied: [] } },
        });
        try {
          const { runId, stepId } = await control.createRun(
            { task: "go on", max_tokens: 100 },
            { budget: { max_cost_micros: limit } },
          );
          await composed.ended(stepId);
          const run = value(await control.api.run(runId, signal));
          const [step] = value(await control.api.steps(runId, signal));
          expect(run.cost_micros).toBe(700 * asked.calls.length);
          expect(run.cost_micros).toBeLessThanOrEqual(limit);
          if (asked.calls.length < 20) {
            expect(step?.error).toMatchObject({
              kind: "budget_exceeded",
              message: expect.stringMatching(
                /^budget exceeded: cost|it was not made: it would have reserved 100 output tokens .* at the price of test\/\S+\); a lower max_tokens/u,
              ),
              details: { scope: "run", limit: "max_cost_micros", most: limit },
            });
            expect(run.status).toBe("budget_killed");
          }
        } finally {
          await composed.close();
          await control.close();
        }
      }),
      { numRuns: 6, examples: [[753], [1_810]] },
    );
  });

  it("asks no fallback that its run's budget does not hold beside what was used in vain [budget.chain]", async () => {
    const { tools } = agentTools([]);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 2_500 }), async (limit) => {
        // Each attempt uses 205 micro-dollars, and all but the eighth fail: those of even number for good. So the chain
        // is asked twice.
        const asked = model((_, call) =>
          call === 8
            ? reply(used(5, 100))
            : fail({
                ...retryable("unavailable", "broken off"),
                retryable: call % 2 === 1,
                details: { reason: "overloaded", usage: { ...used(5, 100) } },
              }),
        );
        const chain = { m: [{ model: "m" }, { model: "m" }, { model: "m" }] };
        const control = await startTestPlane({
          agents: [{ slug: "helper", model: "m", allowedTools: [] }],
          publish: (fields) => backend.queue.publish(fields),
          now: Date.now,
        });
        const composed = composeWorker({
          backend,
          controlPlane: { url: control.url, apiKey: "test-key" },
          artifacts: folder,
          ports: { models: createFallbacks(asked.models, chain), prices, tools },
        });
        try {
          const { runId, stepId } = await control.createRun(
            { task: "go on", max_tokens: 100 },
            { budget: { max_cost_micros: limit } },
          );
          await composed.ended(stepId);
          const run = value(await control.api.run(runId, signal));
          expect(run.cost_micros).toBe(205 * asked.calls.length);
          expect(run.cost_micros).toBeLessThanOrEqual(limit);
          expect(run.status === "completed").toBe(asked.calls.length === 8);
        } finally {
          await composed.close();
          await control.close();
        }
      }),
      { numRuns: 8, examples: [[2_500], [500]] },
    );
  });
});
