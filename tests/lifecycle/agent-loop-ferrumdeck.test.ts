import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, expect, it, vi } from "vitest";
import type { RuntimeOptions } from "../../actors/options.ts";
import type { RuntimePorts } from "../../actors/ports.ts";
import { createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { createControlPlane } from "../../adapters/control-plane/client.ts";
import { type Failure, retryable } from "../../machines/contracts/domain/failure.ts";
import { Ledger } from "../chaos/ledger.ts";
import { agentModel, agentTools } from "../support/agent-world.ts";
import { asData } from "../support/screening.ts";
import { sqliteBackends } from "../support/backends.ts";
import { composeWorker } from "../support/compose-worker.ts";
import { type GatewayOptions, startFerrumDeckGateway } from "../support/ferrumdeck-gateway.ts";
import { useMcpHosts } from "../support/mcp-hosts.ts";
import { value } from "../support/value.ts";

const { signal } = new AbortController();
const { hostOf } = useMcpHosts();
const ledgerServer = fileURLToPath(new URL("../support/ledger-mcp-server.ts", import.meta.url));
const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).toReversed()) await clean();
});

/** A worker with a real MCP server beside a gateway that answers only as FerrumDeck's does; a run made by its API. */
async function runAtFerrumDeck(
  gatewayOptions: GatewayOptions,
  options: Partial<RuntimeOptions> = {},
  ports: (own: { url: string; apiKey: string }) => Partial<RuntimePorts> = () => ({}),
) {
  const folder = await mkdtemp(join(tmpdir(), "stateplane-agent-"));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  const backend = await sqliteBackends().backend(`room${randomUUID().slice(0, 8)}`);
  const gateway = await startFerrumDeckGateway({
    ...gatewayOptions,
    publish: (fields) => void backend.queue.publish(fields),
  });
  cleanups.push(() => gateway.close());
  const ledger = new Ledger(join(folder, "ledger.jsonl"));
  const tools = hostOf([
    {
      name: "ledger",
      command: process.execPath,
      args: [ledgerServer],
      env: { LEDGER: ledger.path },
    },
  ]);
  const call = (name: string, order: string) => ({ name, arguments: { order } });
  const model = agentModel([
    { calls: [call("put", "first")] },
    { calls: [call("post", "second")] },
    { content: "Both are done." },
  ]);
  const worker = composeWorker({
    backend,
    controlPlane: gateway,
    artifacts: folder,
    options: {
      allowlist: { allowed: ["put", "ledger/post"], approvalRequired: [], denied: [] },
      ...options,
    },
    ports: { models: model.models, tools, ...ports(gateway) },
  });
  cleanups.push(() => worker.close());
  const api = createControlPlaneApi({ ...gateway, timeoutMs: 30_000 });
  cleanups.push(() => api.close());
  const input = { task: "Do both", model: "gpt-4o", model_params: { temperature: 0.1 } };
  const { id: runId } = value(await api.createRun({ agentId: "safe-pr-agent", input }, signal));
  const [step] = value(await api.steps(runId, signal));
  await worker.ended(step?.id ?? "");
  return { gateway, model, ledger, runId, step: gateway.steps(runId)[0] };
}

it("a run made by POST /v1/runs is worked on with the MCP tools, and reported as the dashboard reads it [loop.ferrumdeck]", async () => {
  const { gateway, model, ledger, runId, step } = await runAtFerrumDeck({
    verdicts: { put: "allow", post: "allow" },
  });
  expect(model.requests[0]).toMatchObject({ model: "gpt-4o", temperature: 0.1 });
  expect(model.requests[0]?.tools?.map(({ name }) => name)).toEqual(["post", "put"]);
  expect(ledger.touches().map(({ effect, order }) => [effect, order])).toEqual([
    ["put", "first"],
    ["post", "second"],
  ]);
  expect(model.requests[2]?.messages.at(-1)).toMatchObject({
    role: "tool",
    content: asData("second"),
  });
  const made = { success: true, error: null, decision: "allow", server: "ledger" };
  expect(step).toMatchObject({
    status: "completed",
    output: {
      response: "Both are done.",
      iterations: 3,
      status: "completed",
      tool_calls: [
        { tool_name: "put", arguments: { order: "first" }, output_preview: "first", ...made },
        { tool_name: "post", arguments: { order: "second" }, output_preview: "second", ...made },
      ],
    },
  });
  const checks = gateway.requests.filter(({ path }) => path === `/v1/runs/${runId}/check-tool`);
  expect(checks).toHaveLength(2);
});

it("where the gateway denies whatever it is asked, the model hears so; with STATEPLANE_TOOL_POLICY=worker the worker's lists alone decide, and each verdict says so [loop.worker-policy]", async () => {
  const denied = await runAtFerrumDeck({ deniesAllTools: true });
  expect(denied.ledger.touches()).toEqual([]);
  expect(denied.step?.["output"]).toMatchObject({
    tool_calls: [{ decision: "deny", success: false }, { decision: "deny" }],
  });
  const alone = await runAtFerrumDeck({ deniesAllTools: true }, { toolPolicy: "worker" });
  expect(alone.ledger.touches()).toHaveLength(2);
  const reason = expect.stringContaining("STATEPLANE_TOOL_POLICY=worker");
  expect(alone.step).toMatchObject({
    status: "completed",
    output: {
      tool_calls: [
        { decision: "allow", reason },
        { decision: "allow", reason },
      ],
    },
  });
  expect(alone.gateway.requests.filter(({ path }) => path.endsWith("check-tool"))).toEqual([]);
});

it("closed by default while check-tool can't be asked; with AGENTIC_FAIL_CLOSED off the worker's lists decide, and the verdict says so [loop.worker-policy]", async () => {
  const away: Failure = retryable("unavailable", "the gateway is away");
  const withoutChecks = (own: { url: string; apiKey: string }): Partial<RuntimePorts> => {
    const api = createControlPlaneApi({ ...own, timeoutMs: 30_000 });
    cleanups.push(() => api.close());
    const plane = createControlPlane(api);
    return { controlPlane: { ...plane, checkTool: async () => ({ ok: false, failure: away }) } };
  };
  const open = await runAtFerrumDeck({}, { failClosed: false }, withoutChecks);
  expect(open.ledger.touches()).toHaveLength(2);
  const reason = expect.stringContaining("AGENTIC_FAIL_CLOSED is off");
  expect(open.step?.["output"]).toMatchObject({ tool_calls: [{ reason }, { reason }] });
  const deadlines = { queueMs: null, approvalMs: 1_000, executingMs: 60_000, totalMs: 1_500 };
  const closed = await runAtFerrumDeck({}, { deadlines }, withoutChecks);
  expect(closed.ledger.touches()).toEqual([]);
  expect(closed.step).toMatchObject({ status: "failed", error: { kind: "timeout" } });
});

it("one yes to a step covers the calls that its question shows, each with tool, server and arguments, and no others [loop.shown]", async () => {
  const folder = await mkdtemp(join(tmpdir(), "stateplane-agent-"));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  const backend = await sqliteBackends().backend(`room${randomUUID().slice(0, 8)}`);
  const gateway = await startFerrumDeckGateway({
    verdicts: { write: "ask" },
    publish: (fields) => void backend.queue.publish(fields),
  });
  cleanups.push(() => gateway.close());
  const tools = agentTools(["write"]);
  const calls = Array.from({ length: 12 }, (_, at) => ({
    name: "write",
    arguments: {
      path: `file ${at}`,
      password: "hunter2",
      ...(at === 1 ? { text: "x".repeat(9_000) } : {}),
    },
  }));
  const model = agentModel([{ calls }, { content: "Done." }]);
  const worker = composeWorker({
    backend,
    controlPlane: gateway,
    artifacts: folder,
    options: { allowlist: { allowed: ["write"], approvalRequired: [], denied: [] } },
    ports: { models: model.models, tools: tools.tools },
  });
  cleanups.push(() => worker.close());
  const api = createControlPlaneApi({ ...gateway, timeoutMs: 30_000 });
  cleanups.push(() => api.close());
  const input = { task: "Write them", model: "gpt-4o" };
  const { id: runId } = value(await api.createRun({ agentId: "safe-pr-agent", input }, signal));
  const stepId = value(await api.steps(runId, signal))[0]?.id ?? "";
  const covered: unknown[] = [];
  for (const count of [10, 2]) {
    const asks = await vi.waitFor(
      () => {
        const [step] = gateway.steps(runId);
        expect(step?.["status"]).toBe("waitingapproval");
        const output = step?.["output"] as
          | { asks: { action: Record<string, unknown> }[] }
          | undefined;
        const shown = output?.asks ?? [];
        expect(shown).toHaveLength(count);
        return shown;
      },
      { timeout: 60_000, interval: 20 },
    );
    expect(tools.calls).toHaveLength(covered.length);
    expect(JSON.stringify(asks)).not.toContain("hunter2");
    expect(JSON.stringify(asks).length).toBeLessThan(20_000);
    for (const { action } of asks) {
      expect(action).toMatchObject({ kind: "tool", name: "write", server: "files" });
      covered.push(action["input"]);
    }
    await vi.waitFor(
      async () => expect(await backend.queue.stats()).toMatchObject({ length: 0, pending: 0 }),
      { timeout: 60_000 },
    );
    gateway.approve(runId, stepId);
  }
  await vi.waitFor(() => expect(gateway.steps(runId)[0]?.["status"]).toBe("completed"), {
    timeout: 60_000,
  });
  expect(covered[0]).toEqual({ path: "file 0", password: "[redacted]" });
  expect(covered[1]).toMatchObject({ cut: expect.stringContaining("file 1") });
  expect(tools.calls.map(({ input: given }) => given["path"])).toEqual(
    calls.map(({ arguments: { path } }) => path),
  );
});
