import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { context, propagation, trace, TraceFlags } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import * as fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { type ControlPlaneApi, createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { createControlPlane } from "../../adapters/control-plane/client.ts";
import { createHttp, largestAnswer } from "../../adapters/control-plane/http.ts";
import type { Ask } from "../../machines/contracts/domain/action.ts";
import type { Outcome } from "../../machines/contracts/domain/failure.ts";
import { troubleOf } from "../../machines/contracts/domain/failure.ts";
import { listen } from "./support/listen.ts";

const { signal } = new AbortController();
const toClose: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of toClose.splice(0).toReversed()) await close();
});

interface Said {
  status: number;
  headers?: Record<string, string>;
  text: string;
}
type Answers = (call: string, text: string) => Said;

/** A server that answers each call as it is told, whatever was asked. */
async function serve(answers: Answers, timeoutMs = 5_000) {
  let answer = answers;
  const seen: { call: string; text: string; headers: IncomingMessage["headers"] }[] = [];
  const server = createServer((incoming, response) => {
    void respond(incoming, response);
  });
  const respond = async (incoming: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const call = `${incoming.method} ${incoming.url}`;
    seen.push({ call, text, headers: incoming.headers });
    const said = answer(call, text);
    response.writeHead(said.status, said.headers);
    response.end(said.status === 204 || said.status === 304 ? undefined : said.text);
  };
  const url = `http://127.0.0.1:${await listen(server)}`;
  const options = { url, apiKey: "key", timeoutMs };
  const api = createControlPlaneApi(options);
  toClose.push(async () => {
    await api.close();
    server.closeAllConnections();
    server.close();
  });
  return {
    url,
    options,
    seen,
    api,
    worker: createControlPlane(api),
    answer: (next: Answers) => void (answer = next),
  };
}

const json = (body: unknown, status = 200): Said => ({
  status,
  headers: { "content-type": "application/json" },
  text: typeof body === "string" ? body : JSON.stringify(body),
});
const health = { status: "healthy", version: "0.1.0" };
const run = { id: "run_1", status: "running" };
const step = { id: "stp_1", run_id: "run_1", step_type: "llm", status: "completed" };
const approval = { id: "apr_1", run_id: "run_1", step_id: "stp_1", status: "pending", digest: "d" };
const refusal = (code: string) => ({ error: { code, message: "m" } });

const key = { runId: "run_1", stepId: "stp_1" };
const report = { ...key, fence: 1, idempotencyKey: "k", body: { status: "completed" as const } };
const ask: Ask = {
  digest: "d",
  action: { kind: "tool", name: "write", input: {} },
  reason: "r",
  approvalId: null,
  expiresAt: null,
};

/** What stands in front of a control plane, and answers in its place. */
const html = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>";
const foreignBodies = fc.oneof(
  fc.constantFrom(html, "", " ", "OK", "null", "true", "[]", "{}", '{"status":"ok"}', "[[]]", '""'),
  fc.constantFrom(
    JSON.stringify({ ...step, id: "stp_2" }),
    JSON.stringify({ ...step, run_id: "run_2" }),
    JSON.stringify({ ...step, status: "running" }),
    JSON.stringify({ ...step, status: "failed" }),
    JSON.stringify([step]),
    JSON.stringify({ ...run, id: "run_2" }),
    JSON.stringify({ ...approval, id: "apr_2", digest: "e", step_id: "stp_2" }),
    JSON.stringify({ data: step }),
    JSON.stringify({ error: "unauthorized" }),
    JSON.stringify({ error: { message: "no code" } }),
    JSON.stringify({ code: "NOT_FOUND", message: "flat" }),
  ),
  fc.json(),
  fc.string({ unit: "binary" }),
);
const foreign: fc.Arbitrary<Said> = fc.record({
  status: fc.constantFrom(
    200,
    200,
    201,
    202,
    203,
    204,
    206,
    301,
    302,
    303,
    304,
    307,
    308,
    400,
    403,
    404,
    405,
    406,
    408,
    409,
    410,
    413,
    415,
    421,
    422,
    425,
    429,
    451,
    500,
    502,
    503,
    504,
    520,
    530,
  ),
  headers: fc.constantFrom<Record<string, string>>(
    { "content-type": "text/html", location: "/login" },
    { "content-type": "application/json", location: "http://elsewhere.invalid/" },
    { "content-type": "text/plain; charset=latin1" },
    {},
  ),
  text: foreignBodies,
});

const isPassing = (outcome: Outcome<unknown>) =>
  !outcome.ok &&
  troubleOf(outcome.failure) === "passing" &&
  (outcome.failure.kind === "unavailable" || outcome.failure.kind === "rate_limited");

describe("what answers in place of the control plane", () => {
  it("never accepts, refuses or ends a report, which then arrives [answer.report]", async () => {
    const server = await serve(() => json({ ...health, extensions: ["idempotent-results"] }));
    await server.worker.extensions(signal);
    await fc.assert(
      fc.asyncProperty(foreign, async (said) => {
        server.answer(() => said);
        const outcome = await server.worker.report(report, signal);
        expect(outcome, JSON.stringify(outcome)).toSatisfy(isPassing);
        server.answer(() => json(step));
        expect(await server.worker.report(report, signal)).toEqual({ ok: true, value: "accepted" });
      }),
      { numRuns: 500 },
    );
  }, 60_000);

  it("is never a yes, never a no, and never `not there`, to any call [answer.plain]", async () => {
    const extensions = ["idempotent-results", "approvals"];
    const server = await serve(() => json({ ...health, extensions }));
    const { worker, api } = server;
    await worker.extensions(signal);
    const check = { runId: "run_1", toolName: "t", toolInput: {} };
    const calls: (() => Promise<Outcome<unknown>>)[] = [
      () => worker.run("run_1", signal),
      () => worker.checkTool(check, signal),
      () => worker.requestApproval(key, ask, signal),
      () => worker.findApproval("apr_1", signal),
      () => api.cancel("run_1", signal),
      () => api.resolveApproval("apr_1", true, null, signal),
      () => api.createRun({ agentId: "a", input: {} }, signal),
    ];
    await fc.assert(
      fc.asyncProperty(foreign, fc.constantFrom(...calls), async (said, call) => {
        // A new run has no id to be held to.
        fc.pre(call !== calls.at(-1) || !said.text.includes('"id"'));
        server.answer(() => said);
        const outcome = await call();
        expect(outcome, JSON.stringify(outcome)).toSatisfy(isPassing);
      }),
      { numRuns: 700 },
    );
    // An empty list is a list: anything else is none.
    server.answer(() => json("{}"));
    expect(await worker.steps("run_1", signal)).toSatisfy(isPassing);
    server.answer(() => json([{ ...step, run_id: "run_2" }]));
    expect(await worker.steps("run_1", signal)).toSatisfy(isPassing);
    server.answer(() => ({ status: 200, text: html }));
    expect(await worker.ping(signal)).toSatisfy(isPassing);
  }, 60_000);

  it("is named with its status, content type and first words", async () => {
    const { worker } = await serve(() => ({
      status: 302,
      headers: { "content-type": "text/html" },
      text: html,
    }));
    expect(await worker.run("run_1", signal)).toMatchObject({
      failure: {
        message: expect.stringMatching(
          /^GET \/v1\/runs\/run_1: answered 302 text\/html, beginning "<html><head><title>502/,
        ),
      },
    });
  });
});

describe("the control plane's own refusals", () => {
  it.each([
    [400, "BAD_REQUEST", "refused", "step"],
    [422, "VALIDATION_ERROR", "refused", "step"],
    [413, "TOO_LARGE", "too_large", "step"],
    [404, "NOT_FOUND", "not_found", "step"],
    [409, "FENCED", "conflict", "step"],
    [401, "UNAUTHORIZED", "unauthorized", "ours"],
    [403, "POLICY_BLOCKED", "forbidden", "step"],
    [429, "RATE_LIMIT_EXCEEDED", "rate_limited", "passing"],
  ])("of status %i %s are %s, the trouble %s", async (status, code, kind, trouble) => {
    const { worker } = await serve((call) =>
      call.startsWith("GET /health") ? json(health) : json(refusal(code), status),
    );
    const outcome = await worker.report(report, signal);
    expect(outcome).toMatchObject({ ok: false, failure: { kind } });
    if (!outcome.ok) expect(troubleOf(outcome.failure)).toBe(trouble);
  });

  it("of 403 are the run's, unless a call that every key may make is refused too [answer.forbidden]", async () => {
    const forbidden = json(refusal("FORBIDDEN"), 403);
    let list: Said = json([]);
    const { worker, api } = await serve((call) => {
      if (call.startsWith("GET /health")) return json(health);
      return call.startsWith("GET /v1/approvals") ? list : forbidden;
    });
    expect(await worker.report(report, signal)).toMatchObject({ failure: { kind: "forbidden" } });
    expect(await worker.run("run_1", signal)).toMatchObject({ failure: { kind: "forbidden" } });
    list = forbidden;
    expect(await worker.run("run_1", signal)).toMatchObject({ failure: { kind: "unauthorized" } });
    expect(await api.approvals(1, signal)).toMatchObject({ failure: { kind: "unauthorized" } });
    list = json(refusal("UNAUTHORIZED"), 401);
    expect(await worker.run("run_1", signal)).toMatchObject({ failure: { kind: "unauthorized" } });
    list = { status: 502, text: html };
    expect(await worker.run("run_1", signal)).toSatisfy(isPassing);
  });
});

describe("what /health advertises", () => {
  it("is never forgotten while the process lives, whatever answers there [health.memory]", async () => {
    let said: Said = json({ ...health, extensions: ["approvals", "idempotent-results"] });
    const server = await serve((call) => (call === "GET /health" ? said : json(step)));
    let now = 0;
    const worker = createControlPlane(server.api, () => now);
    const first = await worker.extensions(signal);
    expect(first).toEqual({ ok: true, value: new Set(["approvals", "idempotent-results"]) });
    await fc.assert(
      fc.asyncProperty(fc.oneof(foreign, fc.constant(json(health))), async (page) => {
        said = page;
        now += 120_000;
        expect(await worker.extensions(signal)).toEqual(first);
        expect(await worker.report(report, signal)).toEqual({ ok: true, value: "accepted" });
        expect(server.seen.at(-1)?.headers["idempotency-key"]).toMatch(/^[0-9a-f]{64}$/);
      }),
    );
    said = json({ ...health, extensions: ["events"] });
    now += 120_000;
    expect(await worker.extensions(signal)).toEqual({
      ok: true,
      value: new Set(["approvals", "idempotent-results", "events"]),
    });
  });

  it("is not guessed where nothing is known: no page but the control plane's own is FerrumDeck's [health.unknown]", async () => {
    const server = await serve(() => json(health));
    await fc.assert(
      fc.asyncProperty(foreign, async (page) => {
        server.answer(() => page);
        const worker = createControlPlane(server.api);
        expect(await worker.extensions(signal)).toSatisfy(isPassing);
        expect(await worker.report(report, signal)).toSatisfy(isPassing);
        server.answer((call) => json(call === "GET /health" ? health : step));
        expect(await worker.extensions(signal)).toEqual({ ok: true, value: new Set() });
        expect(await worker.report(report, signal)).toMatchObject({ value: "accepted" });
        expect(server.seen.at(-1)?.headers).not.toHaveProperty("idempotency-key");
      }),
      { numRuns: 200 },
    );
  }, 30_000);

  it("takes nothing from a ping, which finds the control plane behind a foreign /health", async () => {
    const { worker } = await serve((call) =>
      call === "GET /health" ? { status: 200, text: html } : json([]),
    );
    expect(await worker.ping(signal)).toEqual({ ok: true, value: null });
  });
});

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
    const http = createHttp({ ...options, timeoutMs: 500 });
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
  }, 60_000);
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
  }, 60_000);
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
  const late = sleep(5_000).then(() => "late");
  const outcomes = await Promise.race([Promise.all(calls), late]);
  expect(outcomes).not.toBe("late");
  for (const outcome of outcomes as Outcome<unknown>[]) expect(outcome).toSatisfy(isPassing);
});
