import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Tool } from "../../adapters/control-plane/embedded/documents.ts";
import { responseLevel } from "../../adapters/control-plane/embedded/response-level.ts";
import { startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";
import { value } from "../support/value.ts";

const { signal } = new AbortController();
let plane: TestPlane;
beforeEach(async () => {
  plane = await startTestPlane();
});
afterEach(() => plane.close());

const register = (slug: string, risk_level: string, mcp_server = "files") =>
  plane.fetch("POST", "/v1/registry/tools", {
    name: slug,
    slug,
    mcp_server,
    risk_level,
    input_schema: {},
  });
const check = async (runId: string, toolName: string, server?: string) =>
  value(
    await plane.worker.checkTool(
      { runId, toolName, toolInput: {}, ...(server === undefined ? {} : { server }) },
      signal,
    ),
  );

describe("the registry of tools", () => {
  it("has no say while it is empty; then what can't be undone or is unknown is asked about [registry.levels]", async () => {
    const { runId } = await plane.createRun();
    expect((await check(runId, "read")).kind).toBe("allow");
    await register("other", "read");
    expect(await check(runId, "read")).toMatchObject({
      kind: "ask",
      details: {
        response_level: "R3",
        reversibility: "unregistered",
        decision_trace: { lists: "allow", policy: null, level: "ask" },
      },
    });
    await register("read", "read");
    expect(await check(runId, "read")).toMatchObject({
      kind: "allow",
      details: { response_level: "R1" },
    });
    // By the lists it is denied, and asked about; neither is loosened.
    await register("erase", "read");
    await register("write", "write");
    expect((await check(runId, "erase")).kind).toBe("deny");
    expect(await check(runId, "write")).toMatchObject({
      kind: "ask",
      details: { response_level: "R2" },
    });
  });

  it("asks about a destructive tool that the lists allow, of its own server alone", async () => {
    await register("read", "destructive", "vault");
    await register("docs/read", "read", "docs");
    const { runId } = await plane.createRun();
    expect((await check(runId, "read", "vault")).kind).toBe("ask");
    expect((await check(runId, "read", "docs")).kind).toBe("allow");
    expect((await check(runId, "read", "elsewhere")).kind).toBe("ask");
    // Which of them is meant is not said: the harder one to take back.
    expect((await check(runId, "read")).kind).toBe("ask");
    const { body } = await plane.fetch("GET", "/v1/registry/mcp-servers");
    expect(body).toEqual([
      { name: "vault", tools: ["read"] },
      { name: "docs", tools: ["docs/read"] },
    ]);
  });

  it("never calls a name lighter than the heaviest tool that it could mean", () => {
    const risks = ["read", "write", "destructive"] as const;
    const entry = fc.record({
      slug: fc.constantFrom("a", "b", "x/a", "y/a"),
      mcpServer: fc.constantFrom("x", "y"),
      riskLevel: fc.constantFrom(...risks),
    });
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1, maxLength: 6 }), (entries) => {
        const tools = entries as Tool[];
        const of = (server: string | null) => responseLevel(tools, { server, name: "a" })?.level;
        const known = ["x", "y"].map(of).filter((_, at) => {
          const server = ["x", "y"][at];
          return entries.some(
            ({ slug, mcpServer }) =>
              slug === `${server}/a` || (slug === "a" && mcpServer === server),
          );
        });
        const heaviest = known.toSorted().at(-1) ?? "R3";
        expect(of(null)).toBe(heaviest);
      }),
    );
  });
});

describe("a version of an agent", () => {
  const versions = "/v1/registry/agents/helper/versions";
  const used = async () => {
    const { runId } = await plane.createRun();
    const { body } = await plane.fetch("GET", `/v1/runs/${runId}`);
    return String(body["agent_version_id"]);
  };

  it("is used once it is promoted, and until another one is [registry.promoted]", async () => {
    const add = async (version: string) =>
      String((await plane.fetch("POST", versions, { version, model: "gpt-4o" })).body["id"]);
    const two = await add("2.0.0");
    expect(await used()).toBe(two);
    expect((await plane.fetch("POST", `${versions}/${two}/promote`)).status).toBe(200);
    const three = await add("3.0.0");
    expect(await used()).toBe(two);
    const { body } = await plane.fetch("POST", `${versions}/${three}/promote`);
    expect(body).toMatchObject({ current_version_id: three });
    expect(await used()).toBe(three);
    await plane.fetch("POST", `${versions}/${two}/promote`);
    expect(await used()).toBe(two);
    expect((await plane.fetch("POST", `${versions}/agv_none/promote`)).status).toBe(404);
    const audit = await plane.fetch("GET", "/v1/audit");
    expect(audit.body).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          event: "agent.promoted",
          details: expect.objectContaining({ version_id: two, before: three }),
        }),
      ]),
    );
  });
});
