import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { estimateCall } from "../../actors/step/call-estimate.ts";
import { fail, ok, retryable, terminal } from "../../machines/contracts/domain/failure.ts";
import { type Job, toEnvelope } from "../../machines/contracts/domain/job.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Usage } from "../../machines/contracts/domain/step-result.ts";
import type { ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { sqliteBackends } from "../support/backends.ts";
import { composeWorker, type TestWorker } from "../support/compose-worker.ts";
import { startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";
import { type FerrumDeckGateway, startFerrumDeckGateway } from "../support/ferrumdeck-gateway.ts";
import { type Asked, model, prices, reply, used } from "../support/priced-model.ts";
import { value } from "../support/value.ts";

const backends = sqliteBackends();
const { signal } = new AbortController();
let folder: string;
let backend: StepBackend;
const open: { close(): Promise<void> }[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane-test-"));
  backend = await backends.backend(`room${randomUUID().slice(0, 8)}`);
});
afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each.close();
  await backend.close();
  await rm(folder, { recursive: true, force: true });
});

const estimateOf = ({ calls, models }: Asked) => {
  const [request] = calls;
  if (request === undefined) throw new Error("the model was not asked");
  return estimateCall({ models, prices }, request);
};

async function plane(): Promise<TestPlane> {
  const started = await startTestPlane({
    agents: [{ slug: "helper", model: "m" }],
    publish: (fields) => backend.queue.publish(fields),
    now: Date.now,
  });
  open.push(started);
  return started;
}

function worker(controlPlane: { url: string; apiKey: string }, asked: Asked): TestWorker {
  const composed = composeWorker({
    backend,
    controlPlane,
    artifacts: folder,
    ports: { models: asked.models, prices },
    // What is stopped gives nothing back: whoever takes over waits for so long.
    options: { leaseMs: 3_000 },
  });
  open.push(composed);
  return composed;
}

/** A run of one llm step on a real worker, to its end. */
async function runStep(asked: Asked, input: JsonObject, budget: JsonObject = {}) {
  const control = await plane();
  const started = worker({ url: control.url, apiKey: "test-key" }, asked);
  const { runId, stepId } = await control.createRun(
    { task: "greet", max_tokens: 100, ...input },
    { budget },
  );
  await started.ended(stepId);
  const run = value(await control.api.run(runId, signal));
  const [step] = value(await control.api.steps(runId, signal));
  return { run, step, error: (step?.error ?? null) as JsonObject | null };
}

/** Asked once and never answered, until the worker gives the call up. */
const silent: Asked["models"]["complete"] = (_, given) =>
  new Promise((resolve) => {
    given.addEventListener("abort", () => resolve(fail(terminal("cancelled", "given up"))));
  });

describe("a call that was cut short with its worker", () => {
  it.each([
    { most: 150, status: "failed", calls: 0 },
    { most: 250, status: "completed", calls: 1 },
  ])(
    "counts with all that it held in the step's own budget of $most: the step has $status [budget.cut]",
    async ({ most, status, calls }) => {
      const control = await plane();
      const { promise: wasAsked, resolve } = Promise.withResolvers<void>();
      const hanging = model(() => reply(used(1, 1)));
      const models: Asked["models"] = {
        ...hanging.models,
        complete: (request, given) => (resolve(), silent(request, given)),
      };
      const first = worker({ url: control.url, apiKey: "test-key" }, { models, calls: [] });
      const budget = { max_output_tokens: most };
      const input = { prompt: "greet", max_tokens: 100, budget };
      const { runId, stepId } = await control.createRun(input, {});
      await wasAsked;
      await first.close();
      open.splice(open.indexOf(first), 1);

      const asked = model(() => reply(used(10, 10)));
      await worker({ url: control.url, apiKey: "test-key" }, asked).ended(stepId);
      const [step] = value(await control.api.steps(runId, signal));
      expect(step?.status).toBe(status);
      expect(asked.calls).toHaveLength(calls);
    },
  );
});

describe("a run's budget at the control plane", () => {
  it("counts a step's settlements, and not its plain tokens, once the step has ended", async () => {
    const asked = model(() => reply({ ...used(1_000, 10), cacheReadTokens: 900 }));
    const { run } = await runStep(asked, {});
    expect(run).toMatchObject({ status: "completed", input_tokens: 1_000, cost_micros: 1_020 });
  });
});

describe("a call that a budget does not hold is never made [budget.calls]", () => {
  it("of the run: the step fails with the numbers, and the run is killed", async () => {
    const asked = model(() => reply(used(1, 1)));
    const { run, error } = await runStep(asked, {}, { max_cost_micros: 150 });
    expect(asked.calls).toHaveLength(0);
    expect(error).toMatchObject({
      kind: "budget_exceeded",
      message: expect.stringMatching(/^the run's budget exceeded: cost \$0\.000\d+ of \$0\.00015,/),
      details: { scope: "run", limit: "max_cost_micros", used: expect.any(Number), most: 150 },
    });
    expect(run).toMatchObject({ status: "budget_killed", cost_micros: 0 });
  });

  it.each([
    ["max_cost_micros", 10],
    ["max_cost_cents", 0],
    ["max_input_tokens", 3],
    ["max_output_tokens", 99],
    ["max_total_tokens", 100],
  ])("of the step: %s", async (limit, most) => {
    const asked = model(() => reply(used(1, 1)));
    const { run, error } = await runStep(asked, { budget: { [limit]: most } });
    expect(asked.calls).toHaveLength(0);
    expect(error).toMatchObject({
      kind: "budget_exceeded",
      details: { scope: "step", limit, most },
    });
    expect(run.status).toBe("failed");
  });

  it("nor the second one, when the first has used it up", async () => {
    const schema = { type: "object" };
    const asked = model(() => reply(used(500, 50), "no JSON"));
    const { run, error } = await runStep(
      asked,
      { output_schema: schema, budget: { max_output_tokens: 149 } },
      { max_cost_micros: 5_000 },
    );
    expect(asked.calls).toHaveLength(1);
    expect(error).toMatchObject({ kind: "budget_exceeded", details: { used: 150, most: 149 } });
    expect(run).toMatchObject({ input_tokens: 500, output_tokens: 50, cost_micros: 600 });
  });

  it("and null is no limit", async () => {
    const asked = model(() => reply(used(1, 1)));
    const none = {
      max_input_tokens: null,
      max_output_tokens: null,
      max_total_tokens: null,
      max_cost_cents: null,
      max_wall_time_ms: null,
    };
    const { run } = await runStep(asked, { max_tokens: 10_000_000, budget: none }, none);
    expect(run.status).toBe("completed");
  });

  it("nor one whose model has no price, where that is refused [prices.strict]", async () => {
    const { models, calls } = model(() => reply(used(1, 1)), true);
    const request = { messages: [], maxTokens: 1, idempotencyKey: "k" };
    const refused = await models.complete({ ...request, model: "unheard-of" }, signal);
    expect(refused).toMatchObject({
      ok: false,
      failure: { kind: "invalid_input", details: { provider: "test", model: "unheard-of" } },
    });
    expect(calls).toHaveLength(0);
    expect(await models.complete({ ...request, model: "m" }, signal)).toMatchObject({
      ok: true,
      value: { usage: { costMicros: 3 } },
    });
  });
});

describe("a tool call that a budget does not hold is never made [budget.tools]", () => {
  async function runTool(budget: JsonObject, own: JsonObject) {
    const control = await startTestPlane({
      publish: (fields) => backend.queue.publish(fields),
      now: Date.now,
    });
    open.push(control);
    let calls = 0;
    const plain = { description: "", inputSchema: {}, outputSchema: null, digest: "d" };
    const tool = { name: "read", server: "files", address: "read", ...plain };
    const described = { ...tool, safeToRepeat: true, readOnly: false };
    const tools: ToolHost = {
      list: async () => ok([described]),
      describe: async () => ok(described),
      call: async () => {
        calls += 1;
        return ok({ content: "text", server: "files" });
      },
      close: async () => {},
    };
    const composed = composeWorker({
      backend,
      controlPlane: { url: control.url, apiKey: "test-key" },
      artifacts: folder,
      ports: { tools },
      options: { allowlist: { allowed: ["read"], approvalRequired: [], denied: [] } },
    });
    open.push(composed);
    const input = { tool_name: "read", budget: own };
    const run = { agentId: "helper", input: {}, config: { budget } };
    const steps = [{ type: "tool" as const, input }];
    const { id } = value(await control.api.createRun({ ...run, steps }, signal));
    const [step] = value(await control.api.steps(id, signal));
    await composed.ended(step?.id ?? "");
    const [ended] = value(await control.api.steps(id, signal));
    const { status } = value(await control.api.run(id, signal));
    return { calls, status, error: ended?.error as JsonObject };
  }

  it("of the run: counted where calls are checked, and the run is killed", async () => {
    const { calls, status, error } = await runTool({ max_tool_calls: 0 }, {});
    expect(calls).toBe(0);
    expect(error).toMatchObject({
      kind: "budget_exceeded",
      details: { scope: "run", limit: "max_tool_calls", used: 1, most: 0 },
    });
    expect(status).toBe("budget_killed");
  });

  it("of the step", async () => {
    const { calls, status, error } = await runTool({}, { max_tool_calls: 0 });
    expect(calls).toBe(0);
    expect(error).toMatchObject({
      kind: "budget_exceeded",
      details: { scope: "step", limit: "max_tool_calls", used: 1, most: 0 },
    });
    expect(status).toBe("failed");
  });

  it("and one that both hold is made", async () => {
    const { calls, status } = await runTool({ max_tool_calls: 1 }, { max_tool_calls: 1 });
    expect([calls, status]).toEqual([1, "completed"]);
  });
});

describe("a reservation is settled on every way out [budget.settled]", () => {
  const details = (reason: string, usage?: Usage): JsonObject => ({
    reason,
    provider: "test",
    model: "m",
    ...(usage === undefined ? {} : { usage: { ...usage } }),
  });

  it("an answer: by the provider's count", async () => {
    const { run } = await runStep(
      model(() => reply(used(7, 3))),
      {},
    );
    expect(run).toMatchObject({ status: "completed", cost_micros: 13 });
  });

  it("an answer that nobody counted: by what was reserved", async () => {
    const asked = model(() => reply(used(0, 0)));
    const { run } = await runStep(asked, {});
    expect(run.cost_micros).toBe(estimateOf(asked).costMicros);
  });

  it("a failed call: by what it says it had used, and the next one beside it", async () => {
    const broken = {
      ...retryable("unavailable", "broke off"),
      details: details("network", used(40, 5)),
    };
    const asked = model((_, call) => (call === 1 ? fail(broken) : reply(used(7, 3))));
    const { run } = await runStep(asked, {});
    expect(asked.calls).toHaveLength(2);
    expect(run).toMatchObject({ status: "completed", cost_micros: 50 + 13, input_tokens: 47 });
  });

  it("a call that is journalled, and told again after a failed one: once", async () => {
    const broken = {
      ...retryable("unavailable", "away"),
      details: details("network", used(40, 5)),
    };
    const cut = ok({
      provider: "test",
      model: "m",
      content: "",
      toolCalls: [{ id: "1", name: "none", arguments: null, problem: "is not JSON" }],
      finishReason: "tool_calls" as const,
      usage: used(100, 10),
    });
    const asked = model((_, call) => [cut, fail(broken)][call - 1] ?? reply(used(7, 3)));
    const { run } = await runStep(asked, {});
    expect(asked.calls).toHaveLength(3);
    expect(run).toMatchObject({
      status: "completed",
      input_tokens: 147,
      output_tokens: 18,
      cost_micros: 120 + 50 + 13,
    });
  });

  it("a refused call: by nothing", async () => {
    const refused = terminal("model_failed", "no", details("bad_request"));
    const { run } = await runStep(
      model(() => fail(refused)),
      {},
    );
    expect(run).toMatchObject({ status: "failed", cost_micros: 0 });
  });

  it("a call cut short, and an error that nobody expected: by what was reserved", async () => {
    const cut = { ...retryable("unavailable", "no answer"), details: details("timeout") };
    const asked = model((_, call) => {
      if (call === 1) return fail(cut);
      throw new Error("a fault");
    });
    const { run, error } = await runStep(asked, {});
    const { costMicros } = estimateOf(asked);
    expect(asked.calls).toHaveLength(2);
    expect(error).toMatchObject({ kind: "internal" });
    expect(run.cost_micros).toBe(2 * (costMicros ?? 0));
  });
});

describe("towards FerrumDeck's gateway", () => {
  let gateway: FerrumDeckGateway;

  async function step(asked: Asked, over: Partial<Job>, spent: JsonObject = {}) {
    gateway = await startFerrumDeckGateway({
      altering: ({ method, path }, answer) =>
        method === "GET" && path === "/v1/runs/run_1"
          ? { ...answer, body: { ...(answer.body as JsonObject), ...spent } }
          : null,
    });
    open.push(gateway);
    const started = worker(gateway, asked);
    const job: Job = {
      runId: "run_1",
      stepId: "stp_1",
      stepType: "llm",
      input: { task: "greet", model: "m", max_tokens: 100 },
      tenantId: "t",
      projectId: "p",
      agentId: null,
      traceId: null,
      spanId: null,
      createdAt: Date.now(),
      ...over,
    };
    await backend.queue.publish({ data: toEnvelope(job) });
    await started.ended("stp_1");
    return gateway.results().at(-1)?.body;
  }

  it.each([
    ["where the run names no limit", {}],
    ["where the run says that it has none", { budget: { max_cost_cents: null } }],
    ["where the run's own limit is wider", { budget: { max_cost_cents: 9 } }],
  ])("what the run has spent is looked at before the call, %s [budget.looked]", async (_, run) => {
    const asked = model(() => reply(used(7, 3)));
    const body = await step(asked, { budget: { max_cost_cents: 5 } }, { cost_cents: 5, ...run });
    expect(asked.calls).toHaveLength(0);
    expect(body).toMatchObject({
      status: "failed",
      error: {
        kind: "budget_exceeded",
        details: { scope: "run", limit: "max_cost_cents", most: 5 },
      },
    });
  });

  it("a call within the budget is made", async () => {
    const asked = model(() => reply(used(7, 3)));
    const body = await step(asked, { budget: { max_cost_cents: 5 } }, { cost_cents: 4 });
    expect(asked.calls).toHaveLength(1);
    expect(body).toMatchObject({ status: "completed", input_tokens: 7 });
  });
});
