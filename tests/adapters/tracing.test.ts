import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import { context, propagation, ROOT_CONTEXT, trace, TraceFlags } from "@opentelemetry/api";
import {
  RandomIdGenerator,
  SamplingDecision,
  TraceIdRatioBasedSampler,
} from "@opentelemetry/sdk-trace";
import { expect, test } from "vitest";
import { remoteContext } from "../../actors/tracing.ts";
import { startTracing } from "../../adapters/telemetry/tracing.ts";
import { listen } from "../support/listen.ts";

interface Export {
  request: IncomingMessage;
  body: { resourceSpans: ResourceSpans[] };
}
interface ResourceSpans {
  resource: { attributes: { key: string; value: { stringValue?: string } }[] };
  scopeSpans: { spans: { name: string; traceId: string; parentSpanId?: string }[] }[];
}

/** A collector that speaks OTLP over HTTP. */
async function collector(answer: RequestListener = (_, response) => response.end("{}")) {
  const exports: Export[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      exports.push({ request, body: JSON.parse(Buffer.concat(chunks).toString()) });
      answer(request, response);
    });
  });
  const endpoint = `http://127.0.0.1:${await listen(server)}`;
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  const spans = () =>
    exports.flatMap(({ body }) =>
      body.resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans)),
    );
  return { exports, endpoint, close, spans };
}

test("a collector gets the spans: their names, their parents across await, the service's name, our headers", async () => {
  const { exports, endpoint, close, spans } = await collector();
  const headers = { "x-collector-key": "k" };
  const tracing = startTracing({ endpoint, serviceName: "stateplane-test", headers });
  const tracer = trace.getTracer("test");
  const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const from = propagation.extract(context.active(), { traceparent: parent });
  await context.with(from, () =>
    tracer.startActiveSpan("step.execute.llm", async (outer) => {
      await new Promise(setImmediate);
      tracer.startSpan("gen_ai.completion").end();
      outer.end();
    }),
  );
  await tracing.shutdown();
  close();

  expect(exports[0]?.request.url).toBe("/v1/traces");
  expect(exports[0]?.request.headers).toMatchObject(headers);
  expect(exports[0]?.body.resourceSpans[0]?.resource.attributes).toContainEqual({
    key: "service.name",
    value: { stringValue: "stateplane-test" },
  });
  expect(spans().map(({ name }) => name)).toEqual(["gen_ai.completion", "step.execute.llm"]);
  expect(spans().map(({ traceId }) => traceId)).toEqual(
    Array.from({ length: 2 }, () => "0af7651916cd43dd8448eb211c80319c"),
  );
  expect(spans()[1]?.parentSpanId).toBe("b7ad6b7169203331");
  expect(spans()[0]?.parentSpanId).not.toBe("b7ad6b7169203331");
  expect(tracing.dropped()).toBe(0);
});

test("a trace that began elsewhere is sampled as the SDK's own sampler says; left out, it goes on as it was named", async () => {
  const { endpoint, close, spans } = await collector();
  const ratio = 0.5;
  const tracing = startTracing({ endpoint, serviceName: "some", sampler: "traceidratio", ratio });
  const tracer = trace.getTracer("test");
  const sampler = new TraceIdRatioBasedSampler(ratio);
  const spanId = "b7ad6b7169203331";
  const sampled: string[] = [];
  for (let count = 0; count < 200; count += 1) {
    const traceId = new RandomIdGenerator().generateTraceId();
    const above = { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true };
    const began = trace.setSpanContext(ROOT_CONTEXT, above);
    const isSampled =
      sampler.shouldSample(began, traceId).decision === SamplingDecision.RECORD_AND_SAMPLED;
    if (isSampled) sampled.push(traceId);
    context.with(began, () =>
      tracer.startActiveSpan("step", (span) => {
        expect(span.isRecording()).toBe(isSampled);
        const { traceFlags, ...ids } = trace.getSpanContext(context.active()) ?? {};
        expect(traceFlags).toBe(isSampled ? TraceFlags.SAMPLED : TraceFlags.NONE);
        if (!isSampled) expect(ids).toEqual({ traceId, spanId, isRemote: false });
        span.end();
      }),
    );
  }
  await tracing.shutdown();
  close();
  expect(sampled.length).toBeGreaterThan(0);
  expect(spans().map(({ traceId }) => traceId)).toEqual(sampled);
});

test("a run's trace that nobody decided on is sampled as a root is, whatever its flags say", async () => {
  const { endpoint, close, spans } = await collector();
  const ratio = 0.5;
  const sampler = "parentbased_traceidratio";
  const tracing = startTracing({ endpoint, serviceName: "some", sampler, ratio });
  const own = new TraceIdRatioBasedSampler(ratio);
  const sampled: string[] = [];
  for (let count = 0; count < 200; count += 1) {
    const traceId = new RandomIdGenerator().generateTraceId();
    if (own.shouldSample(ROOT_CONTEXT, traceId).decision === SamplingDecision.RECORD_AND_SAMPLED)
      sampled.push(traceId);
    const began = remoteContext({ traceId, spanId: "b7ad6b7169203331", isTraceRoot: true });
    const span = trace.getTracer("test").startSpan("step", {}, began);
    expect(span.spanContext().traceState?.serialize() ?? "").toBe("");
    span.end();
  }
  await tracing.shutdown();
  close();
  expect(sampled.length).toBeGreaterThan(0);
  expect(spans().map(({ traceId }) => traceId)).toEqual(sampled);
});

test("a trace that is named badly, or that a span is to have nothing to do with, is not gone on with", async () => {
  const { endpoint, close, spans } = await collector();
  const tracing = startTracing({ endpoint, serviceName: "some", sampler: "parentbased_always_on" });
  const tracer = trace.getTracer("test");
  const named = { traceFlags: TraceFlags.NONE, isRemote: true };
  const badly = { ...named, traceId: "0".repeat(32), spanId: "b7ad6b7169203331" };
  const well = { ...badly, traceId: "0af7651916cd43dd8448eb211c80319c" };
  tracer.startSpan("badly", {}, trace.setSpanContext(ROOT_CONTEXT, badly)).end();
  tracer.startSpan("apart", { root: true }, trace.setSpanContext(ROOT_CONTEXT, well)).end();
  tracer.startSpan("left out", {}, trace.setSpanContext(ROOT_CONTEXT, well)).end();
  await tracing.shutdown();
  close();
  expect(spans().map(({ name, parentSpanId }) => ({ name, parentSpanId }))).toEqual([
    { name: "badly", parentSpanId: undefined },
    { name: "apart", parentSpanId: undefined },
  ]);
  for (const { traceId } of spans()) expect([badly.traceId, well.traceId]).not.toContain(traceId);
});

test("a burst of thousands is held, and what is too much is counted", async () => {
  const { endpoint, close, spans } = await collector();
  const tracing = startTracing({ endpoint, serviceName: "burst" });
  const tracer = trace.getTracer("test");
  for (let count = 0; count < 10_000; count += 1) tracer.startSpan("one").end();
  expect(tracing.dropped()).toBeGreaterThan(0);
  await tracing.shutdown();
  close();

  expect(spans().length).toBeGreaterThan(8000);
  expect(spans().length + tracing.dropped()).toBe(10_000);
});

test("a collector that is gone costs spans, which are counted, but no error", async () => {
  const { endpoint, close } = await collector();
  close();
  const warnings: object[] = [];
  const quiet = () => {};
  const log = {
    debug: quiet,
    info: quiet,
    error: quiet,
    warn: (fields: object) => warnings.push(fields),
  };
  const tracing = startTracing({ endpoint, serviceName: "abandoned", log });
  trace.getTracer("test").startSpan("lost").end();
  const began = performance.now();
  await tracing.shutdown();

  expect(performance.now() - began).toBeLessThan(8_000);
  if (tracing.dropped() > 0) expect(warnings).toEqual([{ dropped: tracing.dropped() }]);
});

test("a collector that refuses is counted against", async () => {
  const { endpoint, close } = await collector((_, response) => {
    response.statusCode = 400;
    response.end();
  });
  const tracing = startTracing({ endpoint, serviceName: "refused" });
  trace.getTracer("test").startSpan("lost").end();
  await tracing.shutdown();
  close();
  expect(tracing.dropped()).toBe(1);
});

test("a collector that never answers does not hold the shutdown up", async () => {
  const { endpoint, close } = await collector(() => {});
  const tracing = startTracing({ endpoint, serviceName: "hung" });
  trace.getTracer("test").startSpan("lost").end();
  const began = performance.now();
  await tracing.shutdown();
  expect(performance.now() - began).toBeLessThan(8_000);
  close();
});

test("a collector that never answers holds the process for no longer than the shutdown's bound [tracing.exit]", async () => {
  const { endpoint, close } = await collector(() => {});
  const tracingFile = join(import.meta.dirname, "../../adapters/telemetry/tracing.ts");
  const program = `
    import { trace } from "@opentelemetry/api";
    import { startTracing } from ${JSON.stringify(tracingFile)};
    const tracing = startTracing({ endpoint: ${JSON.stringify(endpoint)}, serviceName: "hung" });
    trace.getTracer("test").startSpan("lost").end();
    console.log("closing");
    await tracing.shutdown();
    console.log("closed");`;
  const args = ["--input-type=module-typescript", "-e", program];
  const root = join(import.meta.dirname, "../..");
  const child = spawn(process.execPath, args, { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  let began = 0;
  child.stdout.on("data", (chunk: Buffer) => {
    text += chunk.toString();
    if (text.includes("closing")) began ||= performance.now();
  });
  const [code] = await once(child, "close");
  expect({ code, text }).toEqual({ code: 0, text: "closing\nclosed\n" });
  expect(performance.now() - began).toBeLessThan(8_000);
  close();
});

test("no text of a span has a secret that is to be hidden", async () => {
  const { exports, endpoint, close } = await collector();
  const hide = (text: string) => text.replaceAll("hunter22", "[redacted]");
  const tracing = startTracing({ endpoint, serviceName: "hiding", hide });
  const span = trace.getTracer("test").startSpan("call", { attributes: { url: "x?k=hunter22" } });
  span.recordException(new Error("refused hunter22"));
  span.setStatus({ code: 2, message: "no hunter22" });
  const deep = { list: ["hunter22"], map: { of: "hunter22", bytes: new Uint8Array([1]) } };
  span.setAttribute("deep", deep as never);
  span.addLink({ context: span.spanContext(), attributes: { why: "hunter22" } });
  span.end();
  await tracing.shutdown();
  close();
  expect(JSON.stringify(exports.map(({ body }) => body))).toContain("[redacted]");
  expect(JSON.stringify(exports.map(({ body }) => body))).not.toContain("hunter22");
});

test("a text of a span is cut before it is sent, also in a list, and hidden before it is cut", async () => {
  const { exports, endpoint, close } = await collector();
  const looked: number[] = [];
  const hide = (text: string) => {
    looked.push(text.length);
    return text.replaceAll("hunter22", "[redacted]");
  };
  const tracing = startTracing({ endpoint, serviceName: "cutting", hide });
  const reason = `${"x".repeat(9_996)}hunter22${"sk-".repeat(200_000)}`;
  trace
    .getTracer("test")
    .startSpan("call", { attributes: { reason, all: [reason] } })
    .end();
  await tracing.shutdown();
  close();
  const sent = JSON.stringify(exports.map(({ body }) => body));
  expect(Math.max(...looked)).toBeLessThanOrEqual(100_000);
  expect(sent).not.toContain("hunt");
  expect(sent.match(/x{9996}/gu)).toHaveLength(2);
  expect(sent.length).toBeLessThan(30_000);
});

test("after the shutdown the API is inert again", async () => {
  const { endpoint, close } = await collector();
  await startTracing({ endpoint, serviceName: "over" }).shutdown();
  close();
  expect(trace.getTracer("test").startSpan("nothing").isRecording()).toBe(false);
});
