import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { context, propagation, trace, TraceFlags } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import * as fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { type ControlPlaneApi, createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { largestAnswer } from "../../adapters/control-plane/exchange.ts";
import { createHttp } from "../../adapters/control-plane/http.ts";
import type { Ask } from "../../machines/contracts/domain/action.ts";
import type { Outcome } from "../../machines/contracts/domain/failure.ts";
import { type Answers, json, startAnswering } from "../support/answering-server.ts";
import { listen } from "../support/listen.ts";

const { signal } = new AbortController();
const toClose: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of toClose.splice(0).toReversed()) await close();
});

async function serve(answers: Answers) {
  const server = await startAnswering(answers);
  toClose.push(server.close);
  return server;
}

const health = { status: "healthy", version: "0.1.0" };
const step = { id: "stp_1", run_id: "run_1", step_type: "llm", status: "completed" };

const key = { runId: "run_1", stepId: "stp_1" };
const report = { ...key, fence: 1, idempotencyKey: "k", body: { status: "completed" as const } };
const ask: Ask = {
  digest: "d",
  action: { kind: "tool", name: "write", input: {} },
  reason: "r",
  approvalId: null,
  expiresAt: null,
};

const isPassing = (outcome: Outcome<unknown>) =>
  !outcome.ok && outcome.failure.kind === "unavailable" && outcome.failure.retryable;

const oddIds = fc.oneof(
  fc.constantFrom("", ".", "..", "İ8", "💥3", "\r\n4", "\0", "\x1b[2J", "\ud800", "x".repeat(256)),
  fc.string({ unit: "binary", minLength: 1 }).filter((id) => /[^\x21-\x7e]/.test(id)),
);

describe("what can't be sent", () => {
  it("is refused by name before it is sent, and no id leaves its place in a path [http.ids]", async () => {
    const extensions = ["idempotent-results", "approvals"];
    const { worker, api, seen } = await serve(() => json({ ...health, extensions }));
    await worker.extensions(signal);
    seen.length = 0;
    await fc.assert(
      fc.asyncProperty(oddIds, async (id) => {
        const outcomes = [
          await worker.run(id, signal),
          await worker.steps(id, signal),
          await worker.findApproval(id, signal),
          await worker.report({ ...report, stepId: id }, signal),
          await worker.report({ ...report, runId: id }, signal),
          await worker.checkTool({ runId: id, toolName: "t", toolInput: {} }, signal),
          await api.cancel(id, signal),
          await api.resolveApproval(id, true, null, signal),
        ];
        for (const outcome of outcomes) {
          expect(outcome).toMatchObject({
            ok: false,
            failure: { kind: "refused", message: expect.stringContaining("visible ASCII") },
          });
        }
      }),
    );
    expect(seen).toEqual([]);
  });

  it("takes no connection with it: a thousand bad calls, then a good one [http.pool]", async () => {
    const { worker, options } = await serve((call) =>
      call === "GET /health" ? json({ ...health, extensions: ["idempotent-results"] }) : json(step),
    );
    const http = createHttp({ ...options, timeoutMs: 20_000 });
    toClose.push(() => http.close());
    for (let call = 0; call < 1_000; call++) {
      const bad = [
        { method: "GET" as const, path: "/x", headers: { "x-key": `İ${call}` } },
        { method: "GET" as const, path: `/\n${call}` },
        { method: `G\n${call}` as "GET", path: "/x" },
        { method: "GET" as const, path: "/x", headers: { "x\n": "name" } },
      ][call % 4] as { method: "GET"; path: string };
      expect(await http.call(bad, signal)).toMatchObject({
        failure: { kind: "refused", message: expect.stringContaining("not sent") },
      });
      await worker.report({ ...report, idempotencyKey: `💥\r\n${call}` }, signal);
    }
    expect(await http.call({ method: "GET", path: "/health" }, signal)).toMatchObject({ ok: true });
    expect(await worker.report(report, signal)).toEqual({ ok: true, value: "accepted" });
  });
});

describe("bodies", () => {
  const units = fc.constantFrom("\0", "\uD800", "\uDFFF", "😀", "\\u0000", "\\", '"', "\n", "a");
  const text = fc.oneof(fc.string({ unit: units }), fc.string({ unit: "binary" }));
  const values = fc.letrec((tie) => ({
    value: fc.oneof({ depthSize: "small" }, text, fc.jsonValue(), tie("list"), tie("object")),
    list: fc.array(tie("value"), { maxLength: 4 }),
    object: fc.dictionary(text, tie("value"), { maxKeys: 4 }),
  })).value;

  it("are well-formed, in texts and keys, whatever is reported, asked or checked [text.well-formed]", async () => {
    const extensions = ["approvals"];
    const { worker, seen } = await serve(() => json({ ...health, extensions }));
    await worker.extensions(signal);
    await fc.assert(
      fc.asyncProperty(values, text, async (value, words) => {
        seen.length = 0;
        const body = {
          status: "failed" as const,
          output: value as null,
          error: { message: words },
        };
        await worker.report({ ...report, body }, signal);
        const input = { value: value as null };
        await worker.checkTool({ runId: "run_1", toolName: words, toolInput: input }, signal);
        const action = { ...ask.action, name: words, input };
        await worker.requestApproval(key, { ...ask, action, reason: words }, signal);
        expect(seen).toHaveLength(3);
        for (const sent of seen) {
          // An escape that was written, not one that a text merely looks like.
          expect(sent.text).not.toMatch(/(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/);
          JSON.parse(sent.text);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("nested too deep to be written are refused, not thrown", async () => {
    const { worker } = await serve(() => json(health));
    let deep: unknown = 1;
    for (let level = 0; level < 100_000; level++) deep = [deep];
    const body = { status: "completed" as const, output: deep as null };
    expect(await worker.report({ ...report, body }, signal)).toMatchObject({
      failure: { kind: "refused", message: expect.stringContaining("nested too deep") },
    });
  });

  it("that come back keep every number's digits [number.exact]", async () => {
    const { worker } = await serve(() =>
      json('{"id":"run_1","status":"completed","output":{"id":9007199254740993,"n":[1,0.1,1e3]}}'),
    );
    expect(await worker.run("run_1", signal)).toMatchObject({
      value: { output: { id: "9007199254740993", n: [1, 0.1, 1_000] } },
    });
  });

  it("that come back are bounded [http.bound]", async () => {
    const big = createServer((_, response) => {
      response.writeHead(200, { "content-type": "application/json" });
      const chunk = Buffer.alloc(1024 * 1024, "[");
      const write = () => {
        while (!response.destroyed && response.write(chunk));
        if (!response.destroyed) response.once("drain", write);
      };
      write();
    });
    const url = `http://127.0.0.1:${await listen(big)}`;
    const api = createControlPlaneApi({ url, apiKey: "key", timeoutMs: 60_000 });
    toClose.push(async () => {
      await api.close();
      big.closeAllConnections();
      big.close();
    });
    const answer = await api.run("run_1", signal);
    expect(answer).toSatisfy(isPassing);
    expect(answer).toMatchObject({
      failure: { message: expect.stringContaining(`over ${largestAnswer} bytes`) },
    });
  });
});

it("a check of a tool carries the trace of the span at work, and the tool's server [trace.check-tool]", async () => {
  const { worker, seen } = await serve(() => json({ allowed: true }));
  const manager = new AsyncLocalStorageContextManager().enable();
  context.setGlobalContextManager(manager);
  try {
    const check = { runId: "run_1", toolName: "t", server: "io.acme", toolInput: {} };
    await worker.checkTool(check, signal);
    const [traceId, spanId] = ["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"];
    const span = { traceId, spanId, traceFlags: TraceFlags.SAMPLED };
    const baggage = propagation.createBaggage({ tenant: { value: "t1" } });
    const at = propagation.setBaggage(trace.setSpanContext(context.active(), span), baggage);
    await context.with(at, () => worker.checkTool(check, signal));
    const bodies = seen.map((sent) => JSON.parse(sent.text) as unknown);
    expect(bodies).toEqual([
      { tool_name: "t", server: "io.acme", tool_input: {} },
      {
        tool_name: "t",
        server: "io.acme",
        tool_input: {},
        _meta: { traceparent: `00-${traceId}-${spanId}-01`, baggage: "tenant=t1" },
      },
    ]);
  } finally {
    context.disable();
  }
});

it("a call ends by its deadline and leaves the next one a connection, however many never answer", async () => {
  const silent = createServer(() => {});
  const url = `http://127.0.0.1:${await listen(silent)}`;
  const api: ControlPlaneApi = createControlPlaneApi({ url, apiKey: "key", timeoutMs: 200 });
  toClose.push(async () => {
    await api.close();
    silent.closeAllConnections();
    silent.close();
  });
  const calls = Array.from({ length: 300 }, () => api.run("run_1", signal));
  const late = sleep(30_000, "late", { ref: false });
  const outcomes = await Promise.race([Promise.all(calls), late]);
  expect(outcomes).not.toBe("late");
  for (const outcome of outcomes as Outcome<unknown>[]) expect(outcome).toSatisfy(isPassing);
});
