import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import * as conventions from "@opentelemetry/semantic-conventions/incubating";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { startTracing } from "../../adapters/telemetry/tracing.ts";
import type { StepHandler } from "../../actors/handlers/handler.ts";
import { retryable } from "../../machines/contracts/domain/failure.ts";
import { defaultOptions } from "../../actors/options.ts";
import { digestOf } from "../../actors/step/approvals.ts";
import { toEnvelope } from "../../machines/contracts/domain/job.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { agentModel, agentTools } from "../support/agent-world.ts";
import { composeWorker } from "../support/compose-worker.ts";
import { sqliteBackends } from "../support/backends.ts";
import { listen } from "../support/listen.ts";
import { type FerrumDeckGateway, startFerrumDeckGateway } from "../support/ferrumdeck-gateway.ts";

interface Span {
  name: string;
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  kind: number;
  events: { name: string }[];
  attributes: { key: string; value: { stringValue?: string; intValue?: number } }[];
  links?: { traceId: string; spanId: string; attributes: Span["attributes"] }[];
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

/** Waits so long after its first try that the step is parked; in `held` its effect never ends. */
const parkedOnce = (held: { isHeld: boolean }): StepHandler => {
  let tries = 0;
  return async ({ effect, job }) => {
    tries += 1;
    if (job.runId === "run_4") {
      const done = await effect({
        name: "hang",
        input: {},
        repeat: "safe",
        run: async (signal) => {
          if (!held.isHeld) return { ok: true, value: null };
          await new Promise((_, reject) => signal.addEventListener("abort", reject));
          return { ok: true, value: null };
        },
      });
      return done.ok ? { kind: "done", output: null } : done.result;
    }
    if (tries > 1) return { kind: "done", output: null };
    return { kind: "failed", failure: retryable("rate_limited", "later", 300) };
  };
};

beforeAll(async () => {
  const port = await listen(collector);
  const tracing = startTracing({ endpoint: `http://127.0.0.1:${port}`, serviceName: "test" });
  backend = await sqliteBackends().backend(`room${randomUUID().slice(0, 8)}`);
  gateway = await startFerrumDeckGateway();
  const { models } = agentModel([{ calls: [{ name: "read" }] }, { content: secret }]);
  const { tools } = agentTools(["read"]);
  const allowlist = { allowed: ["read"], approvalRequired: [], denied: [] };
  const options = { handlers: { retrieval: twoEffects }, allowlist, toolPolicy: "worker" as const };
  const worker = composeWorker({
    ports: { models, tools },
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
  const asked = { runId: "run_2", stepId: "stp_2", stepType: "llm" as const, createdAt: 1 };
  const input = { task: secret, model: "test/one" };
  await backend.queue.publish({ data: toEnvelope({ ...asked, input, ...scope }) });
  await worker.ended("stp_2");
  await worker.close();

  const held = { isHeld: true };
  const limits = { ...defaultOptions.limits, parkAfterMs: 100, baseDelayMs: 10 };
  const again = () =>
    composeWorker({
      backend,
      controlPlane: gateway,
      artifacts: "/nonexistent",
      // What is stopped gives nothing back: whoever takes over waits for so long.
      options: { leaseMs: 3_000, handlers: { retrieval: parkedOnce(held) }, limits },
    });
  const first = again();
  for (const [runId, stepId] of [
    ["run_3", "stp_3"],
    ["run_4", "stp_4"],
  ] as const) {
    await backend.queue.publish({ data: toEnvelope({ ...job, ...scope, runId, stepId }) });
  }
  await first.ended("stp_3", 2);
  const hangs = () => first.runtime.steps().some(({ session }) => session.journal.isInDoubt(hang));
  await vi.waitFor(() => expect(hangs()).toBe(true), { timeout: 20_000 });
  await first.close();
  held.isHeld = false;
  const second = again();
  await second.ended("stp_4");
  await second.close();
  await tracing.shutdown();
});
afterAll(async () => {
  await backend.close();
  await gateway.close();
  collector.close();
});

const hang = `hang#${digestOf({}).slice(0, 16)}#1`;

describe("a step's trace", () => {
  const named = (name: string) => spans.filter((span) => span.name === name);

  it("continues the trace of whoever enqueued the job", () => {
    for (const step of named("step.execute.retrieval")) {
      expect(step).toMatchObject({ traceId: trace.traceId, parentSpanId: trace.spanId });
    }
  });

  it("has one span the step and one each effect, the step's its parent", () => {
    const [step] = named("step.execute.retrieval");
    for (const effect of ["look", "leap", "report"]) {
      const own = named(effect).filter(({ parentSpanId }) => parentSpanId === step?.spanId);
      expect(own).toMatchObject([{ traceId: trace.traceId }]);
    }
  });

  it("has the states of the step as events of its span, in order", () => {
    const [step] = named("step.execute.retrieval");
    expect(step?.events.map(({ name }) => name)).toEqual([
      "pending",
      "policy-check",
      "executing",
      "validating",
      "reported",
    ]);
  });

  it("has a span for each call of a model and a tool, by OpenTelemetry's conventions [traces.gen-ai]", () => {
    const attributesOf = ({ attributes }: Span) =>
      Object.fromEntries(
        attributes.map(({ key, value }) => [key, value.stringValue ?? value.intValue]),
      );
    const chats = named("chat test/one");
    expect(chats).toHaveLength(2);
    for (const chat of chats) {
      expect(attributesOf(chat)).toMatchObject({
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "test",
        "gen_ai.request.model": "test/one",
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "stateplane.cost.micros": 7,
      });
    }
    const [call] = named("tools/call read");
    expect(call && attributesOf(call)).toMatchObject({
      "mcp.method.name": "tools/call",
      "gen_ai.tool.name": "read",
    });
    const [step] = named("step.execute.llm");
    const byId = new Map(spans.map((span) => [span.spanId, span]));
    for (const span of [...chats, ...(call === undefined ? [] : [call])]) {
      // Below the step's own, and a client's.
      expect(span.kind).toBe(3);
      let at: Span | undefined = span;
      while (at !== undefined && at !== step) at = byId.get(at.parentSpanId ?? "");
      expect(at).toBe(step);
    }
    // Each name under these prefixes is in the conventions' own registry.
    const registry = new Set<unknown>(Object.values(conventions));
    const used = spans.flatMap(({ attributes }) => attributes.map(({ key }) => key));
    const foreign = used.filter((key) => /^(?:gen_ai|mcp|error)\./.test(key));
    expect(foreign.length).toBeGreaterThan(10);
    expect(foreign.filter((key) => !registry.has(key))).toEqual([]);
  });

  it("is a span for each attempt: what waited or was interrupted is linked to, and no part of either [traces.links]", () => {
    const attempts = (stepId: string) =>
      spans.filter(({ name, attributes }) => {
        const isOf = attributes.some(({ value }) => value.stringValue === stepId);
        return isOf && name === "step.execute.retrieval";
      });
    for (const [stepId, why] of [
      ["stp_3", "parked"],
      ["stp_4", "interrupted"],
    ] as const) {
      const [before, after, ...more] = attempts(stepId);
      expect(more).toEqual([]);
      expect(before?.links ?? []).toEqual([]);
      expect(after?.links).toMatchObject([
        {
          traceId: trace.traceId,
          spanId: before?.spanId,
          attributes: [{ key: "stateplane.link", value: { stringValue: why } }],
        },
      ]);
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
