import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { trace } from "@opentelemetry/api";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { StepHandler } from "../../actors/handlers/handler.ts";
import { startTracing, type Tracing } from "../../adapters/telemetry/tracing.ts";
import { toEnvelope } from "../../machines/contracts/domain/job.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { agentTools } from "../support/agent-world.ts";
import { sqliteBackends } from "../support/backends.ts";
import { composeWorker, type TestWorker } from "../support/compose-worker.ts";
import { type FerrumDeckGateway, startFerrumDeckGateway } from "../support/ferrumdeck-gateway.ts";
import { listen } from "../support/listen.ts";

let exports = 0;
const collector = createServer((request, response) => {
  exports += 1;
  request.resume().on("end", () => response.end("{}"));
});
let tracing: Tracing;
let backend: StepBackend;
let gateway: FerrumDeckGateway;
let worker: TestWorker;

/** A user's own spans. */
const found: { traceId: string; isRecording: boolean }[] = [];
const ownSpans: StepHandler = async ({ effect }) => {
  const note = () =>
    trace.getTracer("a user's").startActiveSpan("own", (span) => {
      found.push({ traceId: span.spanContext().traceId, isRecording: span.isRecording() });
      span.end();
    });
  note();
  await effect({
    name: "look",
    input: {},
    repeat: "free",
    run: async () => {
      note();
      return { ok: true, value: null };
    },
  });
  return { kind: "done", output: null };
};

beforeAll(async () => {
  const endpoint = `http://127.0.0.1:${await listen(collector)}`;
  tracing = startTracing({ endpoint, serviceName: "test", sampler: "traceidratio", ratio: 0 });
  backend = await sqliteBackends().backend(`room${randomUUID().slice(0, 8)}`);
  gateway = await startFerrumDeckGateway({ verdicts: { read: "allow" } });
  worker = composeWorker({
    backend,
    controlPlane: gateway,
    artifacts: "/nonexistent",
    ports: { tools: agentTools(["read"]).tools },
    options: {
      handlers: { retrieval: ownSpans },
      allowlist: { allowed: ["read"], approvalRequired: [], denied: [] },
    },
  });
});
afterAll(async () => {
  await worker.close();
  await gateway.close();
  await backend.close();
  collector.closeAllConnections();
  collector.close();
});

it("a step that is not sampled has no span, and tells its neighbours and its own code so [traces.unsampled]", async () => {
  const scope = { tenantId: "ten_1", projectId: null, agentId: null };
  const named = { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7" };
  const own = {
    runId: "run_1",
    stepId: "stp_1",
    stepType: "retrieval" as const,
    input: { query: "x" },
  };
  const asks = {
    runId: "run_2",
    stepId: "stp_2",
    stepType: "tool" as const,
    input: { tool_name: "read", tool_input: {} },
  };
  for (const job of [own, asks]) {
    await backend.queue.publish({ data: toEnvelope({ ...job, ...scope, ...named, createdAt: 1 }) });
  }
  await worker.ended("stp_1");
  await worker.ended("stp_2");
  await worker.close();
  await tracing.shutdown();

  expect(found).toEqual(
    Array.from({ length: 2 }, () => ({ ...named, spanId: undefined, isRecording: false })),
  );
  const checks = gateway.requests.filter(({ path }) => path.endsWith("/check-tool"));
  expect(checks.map(({ body }) => body)).toEqual([
    expect.objectContaining({
      _meta: {
        traceparent: expect.stringMatching(new RegExp(`^00-${named.traceId}-[0-9a-f]{16}-00$`)),
      },
    }),
  ]);
  expect(exports).toBe(0);
});
