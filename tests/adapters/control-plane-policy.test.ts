import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { agent, startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";
import { value } from "../support/value.ts";

const { signal } = new AbortController();
let plane: TestPlane;
beforeEach(async () => {
  plane = await startTestPlane();
});
afterEach(() => plane.close());

describe("a tool check", () => {
  it("answers by the agent's own lists, keeps the run alive, and keeps every decision", async () => {
    const { runId } = await plane.createRun();
    const check = async (toolName: string) =>
      value(
        await plane.worker.checkTool({ runId, toolName, toolInput: { secret: "s3cret" } }, signal),
      ).kind;
    expect(await check("read")).toBe("allow");
    expect(await check("write")).toBe("ask");
    expect(await check("erase")).toBe("deny");
    expect(await check("unheard-of")).toBe("deny");
    expect(await plane.statuses(runId)).toEqual({ run: "running", steps: ["running"] });
    expect(value(await plane.api.run(runId, signal))).toMatchObject({
      tool_calls: 1,
      started_at: expect.any(String),
    });
    const { body } = await plane.fetch("GET", `/v1/runs/${runId}/audit`);
    const events = body as unknown as { event: string; details: { tool_name?: string } }[];
    expect(events.map(({ event, details }) => [event, details.tool_name])).toEqual([
      ["run.created", undefined],
      ["policy.allowed", "read"],
      ["policy.approval_required", "write"],
      ["policy.denied", "erase"],
      ["policy.denied", "unheard-of"],
    ]);
    expect(JSON.stringify(body)).not.toContain("s3cret");
  });

  it("denies the call that would break the budget, before it is made [budget.before]", async () => {
    for (const limit of [0, 1, 3]) {
      const { runId } = await plane.createRun({ task: "t" }, { budget: { max_tool_calls: limit } });
      const kinds = [];
      for (let call = 0; call <= limit; call++) {
        const check = { runId, toolName: "read", toolInput: {} };
        kinds.push(value(await plane.worker.checkTool(check, signal)));
      }
      expect(kinds.map(({ kind }) => kind)).toEqual([
        ...Array.from({ length: limit }, () => "allow"),
        "deny",
      ]);
      expect(kinds.at(-1)?.reason).toBe(
        `the run's budget exceeded: tool calls ${limit + 1} of ${limit}`,
      );
      expect(value(await plane.api.run(runId, signal)).tool_calls).toBe(limit);
    }
  });

  it("counts a call that a person let through once, and looks at it again without counting", async () => {
    const key = await plane.createRun({ task: "t" }, { budget: { max_tool_calls: 1 } });
    const check = async (toolName: string) =>
      value(await plane.worker.checkTool({ runId: key.runId, toolName, toolInput: {} }, signal))
        .kind;
    expect(await check("write")).toBe("ask");
    const action = { kind: "tool", name: "write", input: {} } as const;
    const ask = { digest: "d", action, reason: "r", approvalId: null, expiresAt: null };
    const { id } = value(await plane.worker.requestApproval(key, ask, signal));
    value(await plane.api.resolveApproval(id, true, null, signal));
    expect(await check("write")).toBe("ask");
    expect(await check("read")).toBe("deny");
  });

  it("judges the server and the tool that a name was resolved to", async () => {
    const lists = { allowedTools: ["write_file"], deniedTools: ["prod/write_file"] };
    const other = await startTestPlane({ agents: [{ slug: "helper", ...lists }] });
    try {
      const { runId } = await other.createRun();
      const check = async (server?: string) => {
        const named = server === undefined ? {} : { server };
        const asked = { runId, toolName: "write_file", toolInput: {}, ...named };
        return value(await other.worker.checkTool(asked, signal)).kind;
      };
      expect([await check("dev"), await check("prod"), await check()]).toEqual([
        "allow",
        "deny",
        "deny",
      ]);
    } finally {
      await other.close();
    }
  });

  it("denies everything to a run that has ended", async () => {
    const { runId } = await plane.createRun();
    value(await plane.api.cancel(runId, signal));
    const check = { runId, toolName: "read", toolInput: {} };
    expect(await plane.worker.checkTool(check, signal)).toMatchObject({
      value: { kind: "deny", reason: "the run is already cancelled" },
    });
  });
});

describe("the registry", () => {
  it("lists declared agents with their version, and takes new ones and their versions", async () => {
    const [listed] = value(await plane.api.agents("prj_01JFVX0000000000000000001", signal));
    expect(listed).toMatchObject({
      slug: agent.slug,
      latest_version: { version: "1.0.0", model: "gpt-4o" },
    });
    const made = await plane.fetch("POST", "/v1/registry/agents", {
      name: "Second",
      slug: "second",
    });
    expect(made).toMatchObject({ status: 201, body: { slug: "second", latest_version: null } });
    expect(
      (await plane.fetch("POST", "/v1/registry/agents", { name: "S", slug: "second" })).status,
    ).toBe(400);
    const noVersion = await plane.fetch("POST", "/v1/runs", { agent_id: "second", input: {} });
    expect(noVersion).toMatchObject({
      status: 400,
      body: { error: { message: expect.stringContaining("no versions") } },
    });
    const version = {
      version: "2.0.0",
      system_prompt: "p",
      model: "m",
      allowed_tools: ["a", "b"],
      tool_configs: { b: { requires_approval: true } },
      max_tokens: 7,
      max_wall_time_secs: 2,
    };
    const path = "/v1/registry/agents/second/versions";
    const { status, body } = await plane.fetch("POST", path, version);
    expect(status).toBe(201);
    expect(body).toMatchObject({
      approval_required_tools: ["b"],
      budget: { max_total_tokens: 7, max_wall_time_ms: 2_000 },
    });
    expect((await plane.fetch("POST", path, version)).status).toBe(400);
    expect((await plane.fetch("GET", path)).body).toMatchObject([{ version: "2.0.0" }]);
    expect((await plane.fetch("POST", "/v1/runs", { agent_id: "second", input: {} })).status).toBe(
      201,
    );
  });

  it("keeps tools that are registered", async () => {
    const tool = {
      name: "Read",
      slug: "read",
      mcp_server: "fs",
      risk_level: "read",
      input_schema: {},
    };
    expect((await plane.fetch("POST", "/v1/registry/tools", tool)).status).toBe(201);
    expect((await plane.fetch("GET", "/v1/registry/tools")).body).toMatchObject([{ slug: "read" }]);
  });
});

describe("the door", () => {
  it("opens to the key alone, is JSON throughout, and names each request", async () => {
    for (const authorization of ["", "Bearer wrong", "Bearer ", "Basic dGVzdC1rZXk="]) {
      const { status, body } = await plane.fetch("GET", "/v1/runs", undefined, { authorization });
      expect(status).toBe(401);
      expect(body).toMatchObject({ error: { code: "UNAUTHORIZED" } });
    }
    expect(
      (await plane.fetch("GET", "/v1/runs", undefined, { authorization: "ApiKey test-key" }))
        .status,
    ).toBe(200);
    const lost = await plane.fetch("GET", "/v1/nothing", undefined, { "x-request-id": "mine-1" });
    expect(lost).toMatchObject({ status: 404, body: { error: { code: "NOT_FOUND" } } });
    expect(lost.headers.get("x-request-id")).toBe("mine-1");
    expect((await plane.fetch("GET", "/ready")).headers.get("x-request-id")).toMatch(
      /^req_[0-9A-Z]{26}$/,
    );
  });

  it("tells its health, and what goes beyond FerrumDeck", async () => {
    expect(value(await plane.api.health(signal))).toEqual({
      status: "healthy",
      version: "0.1.0",
      extensions: [
        "idempotent-results",
        "approvals",
        "events",
        "steps",
        "budget-reservations",
        "step-texts",
        "step-traces",
      ],
    });
    expect(value(await plane.worker.extensions(signal))).toEqual(
      new Set([
        "idempotent-results",
        "approvals",
        "events",
        "budget-reservations",
        "step-texts",
        "step-traces",
      ]),
    );
    expect((await plane.fetch("GET", "/ready")).body).toMatchObject({
      status: "ready",
      components: { database: { status: "healthy" } },
    });
  });
});
