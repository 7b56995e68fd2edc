import * as fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { createControlPlane } from "../../adapters/control-plane/client.ts";
import type { Ask } from "../../machines/contracts/domain/action.ts";
import type { Outcome } from "../../machines/contracts/domain/failure.ts";
import { troubleOf } from "../../machines/contracts/domain/failure.ts";
import { type Answers, json, type Said, startAnswering } from "../support/answering-server.ts";

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
  });

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
    for (const none of ["{}", "[]"]) {
      server.answer(() => json(none));
      expect(await worker.steps("run_1", signal)).toSatisfy(isPassing);
    }
    server.answer(() => json([{ ...step, run_id: "run_2" }]));
    expect(await worker.steps("run_1", signal)).toSatisfy(isPassing);
    server.answer(() => ({ status: 200, text: html }));
    expect(await worker.ping(signal)).toSatisfy(isPassing);
  });

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
  });

  it("takes nothing from a ping, which finds the control plane behind a foreign /health", async () => {
    const { worker } = await serve((call) =>
      call === "GET /health" ? { status: 200, text: html } : json([]),
    );
    expect(await worker.ping(signal)).toEqual({ ok: true, value: null });
  });
});

describe("a step that says it waits for approval", () => {
  const waiting = { ...report, body: { status: "waiting_approval" as const } };
  const answering =
    (extensions: string[]): Answers =>
    (call) =>
      call === "GET /health"
        ? json({ ...health, ...(extensions.length === 0 ? {} : { extensions }) })
        : json({ ...step, status: "running" });

  it("is not taken by a gateway that shows it running: that would later be read as a yes [answer.report]", async () => {
    const { worker } = await serve(answering([]));
    expect(await worker.report(waiting, signal)).toMatchObject({
      ok: false,
      failure: { kind: "unavailable", retryable: true },
    });
  });

  it("may be running by now where questions are kept apart", async () => {
    const { worker } = await serve(answering(["approvals"]));
    expect(await worker.report(waiting, signal)).toEqual({ ok: true, value: "accepted" });
  });
});
