import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ControlPlaneApi, createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { createControlPlane } from "../../adapters/control-plane/client.ts";
import type { Ask } from "../../machines/contracts/domain/action.ts";
import { isJsonObject } from "../../machines/contracts/domain/json.ts";
import type { ControlPlane } from "../../machines/contracts/ports/control-plane.ts";
import type { StepResultBody } from "../../machines/contracts/domain/step-result.ts";
import {
  type FerrumDeckGateway,
  type SeenRequest,
  startFerrumDeckGateway,
} from "../support/ferrumdeck-gateway.ts";

const { signal } = new AbortController();
const key = { runId: "run_1", stepId: "stp_1" };
const ask: Ask = {
  digest: "d",
  action: { kind: "tool", name: "write", input: {} },
  reason: "r",
  approvalId: null,
  expiresAt: null,
};

/** Wire contract 1.3: every call a client may make, with the keys its body and query may have. */
const contract: [call: RegExp, body: string[], query: string[]][] = [
  [/^GET \/health$/, [], []],
  [/^POST \/v1\/runs$/, ["agent_id", "agent_version", "input", "config"], []],
  [/^GET \/v1\/runs$/, [], ["project_id", "limit", "offset"]],
  [/^GET \/v1\/runs\/[^/]+$/, [], []],
  [/^POST \/v1\/runs\/[^/]+\/cancel$/, [], []],
  [/^GET \/v1\/runs\/[^/]+\/steps$/, [], []],
  [
    /^POST \/v1\/runs\/[^/]+\/steps\/[^/]+$/,
    ["status", "output", "error", "input_tokens", "output_tokens"],
    [],
  ],
  [
    /^POST \/v1\/runs\/[^/]+\/check-tool$/,
    ["tool_name", "tool_input", "estimated_cost_cents", "server", "call_id", "_meta"],
    [],
  ],
  [/^GET \/v1\/approvals$/, [], ["limit"]],
  [/^PUT \/v1\/approvals\/[^/]+$/, ["approved", "note"], []],
  [/^GET \/v1\/registry\/agents$/, [], ["project_id", "limit", "offset"]],
];
const headers = [
  "accept",
  "authorization",
  "cache-control",
  "connection",
  "content-length",
  "content-type",
  "host",
];

const stray = (what: string, given: object, allowed: string[]) =>
  Object.keys(given).flatMap((name) => (allowed.includes(name) ? [] : `${what} ${name}`));

function strayFrom({ method, path, body, query, headers: sent }: SeenRequest): string[] {
  const found = contract.find(([call]) => call.test(`${method} ${path}`));
  if (found === undefined) return [`call ${method} ${path}`];
  return [
    ...stray("body key", isJsonObject(body) ? body : {}, found[1]),
    ...stray("query", query, found[2]),
    ...stray("header", sent, headers),
  ];
}

let gateway: FerrumDeckGateway;
let api: ControlPlaneApi;
let worker: ControlPlane;
beforeEach(async () => {
  gateway = await startFerrumDeckGateway({
    verdicts: { read: "allow", write: "ask", erase: "deny" },
  });
  api = createControlPlaneApi({ url: gateway.url, apiKey: gateway.apiKey, timeoutMs: 5_000 });
  worker = createControlPlane(api);
});
afterEach(async () => {
  await api.close();
  await gateway.close();
});

const report = (body: StepResultBody, fence = 7) =>
  worker.report({ ...key, fence, idempotencyKey: "k", body }, signal);

describe("against FerrumDeck's gateway", () => {
  it("no call, header, query or body key leaves its contract", async () => {
    await worker.ping(signal);
    await worker.extensions(signal);
    const check = { runId: key.runId, toolName: "read", toolInput: { a: 1 } };
    await worker.checkTool(check, signal);
    await worker.checkTool({ ...check, estimatedCostCents: 2 }, signal);
    await report({ status: "waiting_approval", output: { requires_approval: true } });
    await report({ status: "failed", error: { kind: "internal" } });
    await report({ status: "completed", output: 1, input_tokens: 1, output_tokens: 2 });
    await worker.requestApproval(key, ask, signal);
    await worker.run(key.runId, signal);
    await worker.steps(key.runId, signal);
    await api.createRun({ agentId: "a", input: {}, config: {} }, signal);
    await api.runs("prj", 10, 0, signal);
    await api.cancel("run_2", signal);
    await api.approvals(10, signal);
    await api.resolveApproval("apr_1", true, "fine", signal);
    await api.agents("prj", signal);
    expect(gateway.requests).toHaveLength(15);
    expect(gateway.requests.flatMap(strayFrom)).toEqual([]);
  });

  it("asks for its extensions once, however many steps ask, and finds none", async () => {
    const asked = await Promise.all(Array.from({ length: 20 }, () => worker.extensions(signal)));
    for (const found of asked) expect(found).toEqual({ ok: true, value: new Set() });
    await report({ status: "completed" });
    expect(gateway.requests.filter(({ path }) => path === "/health")).toHaveLength(1);
  });

  it("does not ask for approvals, and says why", async () => {
    const refused = {
      ok: false,
      failure: {
        kind: "refused",
        message: expect.stringContaining('does not advertise "approvals"'),
      },
    };
    expect(await worker.requestApproval(key, ask, signal)).toMatchObject(refused);
  });

  it("reads its verdicts: allow, ask, deny, and deny for what it does not know", async () => {
    const kinds = [];
    for (const toolName of ["read", "write", "erase", "toString"]) {
      const verdict = await worker.checkTool({ runId: "run_1", toolName, toolInput: {} }, signal);
      kinds.push(verdict.ok && verdict.value.kind);
    }
    expect(kinds).toEqual(["allow", "ask", "deny", "deny"]);
  });

  it("reads its statuses, which have lost their underscores", async () => {
    await report({ status: "waiting_approval" });
    expect(await worker.run("run_1", signal)).toMatchObject({
      value: { status: "waiting_approval" },
    });
    expect(await worker.steps("run_1", signal)).toMatchObject({
      value: [{ status: "waiting_approval" }],
    });
    await worker.checkTool({ runId: "run_1", toolName: "erase", toolInput: {} }, signal);
    expect(await worker.run("run_1", signal)).toMatchObject({
      value: { status: "policy_blocked" },
    });
  });

  it("has its refusals as failures of the right kind", async () => {
    const bad = { status: "running" } as unknown as StepResultBody;
    expect(await report(bad)).toMatchObject({
      failure: { kind: "refused", details: { status: 422 } },
    });
    const big: StepResultBody = { status: "completed", output: "x".repeat(3 * 1024 * 1024) };
    expect(await report(big)).toMatchObject({
      failure: { kind: "refused", retryable: false, details: { status: 400 } },
    });
    expect(await worker.run("other", signal)).toMatchObject({ failure: { kind: "not_found" } });
    expect(gateway.results()).toEqual([]);
  });
});
