import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTracing } from "../../adapters/telemetry/tracing.ts";
import type { StepHandler } from "../../actors/handlers/handler.ts";
import { toEnvelope } from "../../machines/contracts/domain/job.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { composeWorker } from "../support/compose-worker.ts";
import { sqliteBackends } from "../support/backends.ts";
import { listen } from "../support/listen.ts";
import { type FerrumDeckGateway, startFerrumDeckGateway } from "../support/ferrumdeck-gateway.ts";

interface Span {
  name: string;
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  attributes: { key: string; value: { stringValue?: string } }[];
}

const spans: Span[] = [];
const collector = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const body = JSON.parse(Buffer.concat(chunks).toString());
    for (const { scopeSpans } of body.resourceSpans) {
      for (const scope of scopeSpans) spans.push(...scope.spans);
    }
    response.end("{}");
  });
});

const trace = { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7" };
const secret = "sk-planted-0123456789abcdef";
let backend: StepBackend;
let gateway: FerrumDeckGateway;

const twoEffects: StepHandler = async ({ effect }) => {
  for (const name of ["look", "leap"]) {
    const done = await effect({
      name,
      input: { secret },
      repeat: "safe",
      run: async () => ({ ok: true, value: secret }),
    });
    if (!done.ok) return done.result;
  }
  return { kind: "done", output: null };
};

beforeAll(async () => {
  const port = await listen(collector);
  const tracing = startTracing({ endpoint: `http://127.0.0.1:${port}`, serviceName: "test" });
  backend = await sqliteBackends().backend(`room${randomUUID().slice(0, 8)}`);
  gateway = await startFerrumDeckGateway();
  const options = { handlers: { retrieval: twoEffects } };
  const worker = composeWorker({
    backend,
    controlPlane: gateway,
    artifacts: "/nonexistent",
    options,
  });
  const scope = { tenantId: "ten_1", projectId: null, agentId: "agt_1", ...trace };
  const key = { runId: "run_1", stepId: "stp_1" };
  const job = { ...key, stepType: "retrieval" as const, input: { query: "x" }, createdAt: 1 };
  await backend.queue.publish({ data: toEnvelope({ ...job, ...scope }) });
  await worker.ended("stp_1");
  await worker.close();
  await tracing.shutdown();
});
afterAll(async () => {
  await backend.close();
  await gateway.close();
  collector.close();
});

describe("a step's trace", () => {
  const named = (name: string) => spans.filter((span) => span.name === name);

  it("continues the trace of whoever enqueued the job", () => {
    expect(named("step.execute.retrieval")).toMatchObject([
      { traceId: trace.traceId, parentSpanId: trace.spanId },
    ]);
  });

  it("has one span the step and one each effect, the step's its parent", () => {
    const [step] = named("step.execute.retrieval");
    for (const effect of ["look", "leap", "report"]) {
      expect(named(effect)).toMatchObject([{ traceId: trace.traceId, parentSpanId: step?.spanId }]);
    }
  });

  it("names run, step, tenant and agent, and carries no input or output", () => {
    const [step] = named("step.execute.retrieval");
    const attributes = Object.fromEntries(
      step?.attributes.map(({ key, value }) => [key, value.stringValue]) ?? [],
    );
    expect(attributes).toMatchObject({
      "ferrumdeck.run.id": "run_1",
      "ferrumdeck.step.id": "stp_1",
      "ferrumdeck.tenant.id": "ten_1",
      "ferrumdeck.agent.id": "agt_1",
    });
    expect(JSON.stringify(spans)).not.toContain(secret);
  });
});
