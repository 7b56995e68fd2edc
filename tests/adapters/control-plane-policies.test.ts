import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  effects,
  evaluate,
  type Policy,
  type PolicyCall,
} from "../../adapters/control-plane/embedded/policy.ts";
import { apiKey, startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";
import { runCli } from "../support/run-cli.ts";
import { value } from "../support/value.ts";

const { signal } = new AbortController();
const policy = (over: Partial<Policy> = {}): Policy => ({
  id: "pol_1",
  projectId: "p",
  name: "one",
  description: null,
  priority: 100,
  conditions: {},
  effect: "deny",
  enabled: true,
  createdAt: 0,
  updatedAt: 0,
  ...over,
});
/** A Wednesday. */
const noon = Date.parse("2026-11-25T12:00:00Z");
const call = (over: Partial<PolicyCall> = {}): PolicyCall => ({
  tool: { server: "git", name: "push", input: { branch: "main" } },
  agent: "helper",
  tenant: "ten_1",
  at: noon,
  ...over,
});
const kindOf = (policies: Policy[], over?: Partial<PolicyCall>) =>
  evaluate(policies, call(over)).verdict?.kind ?? "none";

describe("policies", () => {
  it("decide by the highest priority, and there deny before ask before allow [policy.priority]", () => {
    const one = fc.record({
      priority: fc.integer({ min: 0, max: 3 }),
      effect: fc.constantFrom(...effects),
      covers: fc.boolean(),
      enabled: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(one, { maxLength: 8 }), (all) => {
        const policies = all.map(({ priority, effect, covers, enabled }, at) => {
          const conditions = { agents: [covers ? "help*" : "other"] };
          return policy({ name: String(at), priority, effect, enabled, conditions });
        });
        const live = all.filter(({ covers, enabled }) => covers && enabled);
        const top = Math.max(...live.map(({ priority }) => priority));
        const deciding = live.filter(({ priority }) => priority === top).map((each) => each.effect);
        const expected = deciding.includes("deny")
          ? "deny"
          : deciding.includes("require_approval")
            ? "ask"
            : deciding.length > 0
              ? "allow"
              : "none";
        expect(kindOf(policies)).toBe(expected);
      }),
    );
  });

  it("that can't be read deny every call, whatever else there is, until disabled [policy.malformed]", () => {
    const allow = policy({ effect: "allow", priority: 1_000_000 });
    const garbage = fc.dictionary(
      fc.constantFrom("tools", "agents", "tenants", "time", "toolz"),
      fc.oneof(fc.jsonValue(), fc.constantFrom({ zone: "Mars/Crater" }, { from: "25:00" }, [], {})),
      { minKeys: 1 },
    );
    const isSound = (conditions: object) =>
      Object.entries(conditions).every(([key, given]) =>
        key === "time"
          ? JSON.stringify(given) === "{}"
          : key !== "toolz" &&
            Array.isArray(given) &&
            given.length > 0 &&
            given.every((each) => typeof each === "string" && each !== "" && each.length <= 255),
      );
    const harmed = fc.oneof(
      garbage.filter((conditions) => !isSound(conditions)).map((conditions) => ({ conditions })),
      fc
        .jsonValue()
        .filter((given) => typeof given !== "object" || given === null)
        .map((conditions) => ({ conditions })),
      fc
        .jsonValue()
        .filter((given) => !effects.includes(given as never))
        .map((effect) => ({ effect })),
      fc.constantFrom(
        { priority: "high" },
        { priority: 1.5 },
        { priority: null },
        { enabled: "yes" },
      ),
    );
    fc.assert(
      fc.property(harmed, (harm) => {
        const bad = policy({ effect: "allow", ...(harm as object) });
        expect(kindOf([allow, bad])).toBe("deny");
        expect(kindOf([allow, { ...bad, enabled: false }])).toBe("allow");
      }),
    );
  });

  it("let through what is surely meant, and hold back what may be [policy.unsure]", () => {
    const main = { tools: [{ tool: "git/push", when: { branch: "main" } }] };
    const of = (effect: Policy["effect"]) => [policy({ effect, conditions: main })];
    const unsure = call().tool;
    for (const tool of [
      { ...unsure, input: {} },
      { ...unsure, input: { branch: 7 } },
      { ...unsure, input: { branch: ["main", "other"] } },
      { ...unsure, server: null },
    ]) {
      expect(kindOf(of("allow"), { tool })).toBe("none");
      expect(kindOf(of("deny"), { tool })).toBe("deny");
      expect(kindOf(of("require_approval"), { tool })).toBe("ask");
    }
    const other = { ...unsure, input: { branch: "topic" } };
    for (const server of ["git", null])
      for (const effect of effects)
        expect(kindOf(of(effect), { tool: { ...other, server } })).toBe("none");
  });

  it.each([
    [{ from: "09:00", to: "17:00" }, true],
    [{ from: "12:00", to: "12:01" }, true],
    [{ from: "11:00", to: "12:00" }, false],
    [{ days: ["wed" as const] }, true],
    [{ days: ["tue" as const] }, false],
    [{ days: ["tue" as const], from: "22:00", to: "13:00" }, true],
    [{ days: ["wed" as const], from: "22:00", to: "13:00" }, false],
    [{ from: "22:00", to: "06:00" }, false],
    [{ from: "22:00", to: "06:00", zone: "Asia/Tokyo" }, false],
    [{ from: "21:00", to: "22:00", zone: "Asia/Tokyo" }, true],
    [{ from: "13:00", to: "14:00", zone: "Europe/Berlin" }, true],
  ])("at noon on a Wednesday in UTC, %j holds: %s", (time, holds) => {
    expect(kindOf([policy({ conditions: { time } })])).toBe(holds ? "deny" : "none");
  });
});

describe("the control plane's policies", () => {
  let folder: string;
  let path: string;
  let plane: TestPlane;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "stateplane-policies-"));
    path = join(folder, "plane.sqlite");
    plane = await startTestPlane({ path });
  });
  afterEach(async () => {
    await plane.close();
    await rm(folder, { recursive: true });
  });
  const add = async (body: object) => plane.fetch("POST", "/v1/policies", body);
  const check = async (runId: string, toolName: string, toolInput = {}) =>
    value(await plane.worker.checkTool({ runId, toolName, toolInput }, signal));

  it("narrow what the agent's lists say, never widen it, and say which one decided [policy.narrows]", async () => {
    const { runId } = await plane.createRun();
    await add({ name: "all", effect: "allow", priority: 1 });
    expect((await check(runId, "erase")).kind).toBe("deny");
    expect((await check(runId, "unheard-of")).kind).toBe("deny");
    expect((await check(runId, "write")).kind).toBe("ask");
    const conditions = { tools: [{ tool: "read", when: { path: "secret/*" } }] };
    const made = await add({ name: "secrets", effect: "deny", conditions });
    expect(await check(runId, "read", { path: "secret/a" })).toMatchObject({
      kind: "deny",
      reason: expect.stringContaining('"secrets"'),
      details: { decision_trace: { lists: "allow", policy: { name: "secrets" } } },
    });
    expect((await check(runId, "read", { path: "open/a" })).kind).toBe("allow");
    expect((await check(runId, "read", {})).kind).toBe("deny");
    const id = String(made.body["id"]);
    await plane.fetch("PATCH", `/v1/policies/${id}`, { effect: "require_approval" });
    expect((await check(runId, "read", { path: "secret/a" })).kind).toBe("ask");
    await plane.fetch("DELETE", `/v1/policies/${id}`);
    expect((await check(runId, "read", { path: "secret/a" })).kind).toBe("allow");
    const { body } = await plane.fetch("GET", "/v1/audit");
    const events = (body as unknown as { event: string }[]).map(({ event }) => event);
    expect(events).toEqual(
      expect.arrayContaining(["policy.created", "policy.changed", "policy.deleted"]),
    );
  });

  it.each([
    [{ name: "x", effect: "deny", condition: {} }],
    [{ name: "x", effect: "deny", conditions: { tool: ["a"] } }],
    [{ name: "x", effect: "deny", conditions: { tools: [] } }],
    [{ name: "x", effect: "deny", conditions: { time: { zone: "Mars/Crater" } } }],
    [{ name: "x", effect: "deny", conditions: { tool_name: { not_in: [] } } }],
    [{ name: "x", effect: "ask" }],
    [{ effect: "deny" }],
  ])("are refused where they can't be meant: %j", async (body) => {
    expect((await add(body)).status).toBe(422);
    expect((await plane.fetch("GET", "/v1/policies")).body).toEqual([]);
  });

  it("that were damaged in the file deny every call", async () => {
    const { runId } = await plane.createRun();
    await add({ name: "n", effect: "allow" });
    expect((await check(runId, "read")).kind).toBe("allow");
    await plane.close();
    const db = new DatabaseSync(path);
    db.exec(`UPDATE policies SET doc = json_set(doc, '$.conditions', json('{"tools": "*"}'))`);
    db.close();
    plane = await startTestPlane({ path });
    expect(await check(runId, "read")).toMatchObject({
      kind: "deny",
      reason: expect.stringContaining("can't be read"),
    });
  });

  it("are applied from a file, listed, explained with the rule, and deleted", async () => {
    const env = { CONTROL_PLANE_URL: plane.url, FD_API_KEY: apiKey };
    const cli = (...args: string[]) => runCli(args, { cwd: folder, env });
    await writeFile(
      join(folder, "policies.yaml"),
      [
        "- name: no pushes at night",
        "  effect: deny",
        "  priority: 200",
        '  conditions: {tools: [push], time: {from: "20:00", to: "06:00"}}',
        "- {name: reads, effect: allow}",
        "",
      ].join("\n"),
    );
    expect(await cli("policy", "apply", "policies.yaml")).toMatchObject({ code: 0, stderr: "" });
    expect(await cli("policy", "apply", "policies.yaml")).toMatchObject({ code: 0 });
    const listed = await cli("policy", "list", "--json");
    const policies = JSON.parse(listed.stdout) as { id: string; name: string }[];
    expect(policies.map(({ name }) => name)).toEqual(["no pushes at night", "reads"]);
    const ask = ["policy", "explain", "helper"];
    const night = await cli(...ask, "push", "--at", "2026-11-25T23:00:00Z");
    expect(night.stdout).toMatch(/effect +deny/);
    const read = await cli(...ask, "read", "--input", '{"path": "a"}', "--json");
    expect(JSON.parse(read.stdout)).toMatchObject({
      effect: "allow",
      policy: { name: "reads" },
      lists: { effect: "allow" },
      considered: [
        { name: "no pushes at night", covers: false, why: expect.stringContaining("tools") },
        { name: "reads", covers: true },
      ],
    });
    expect(await cli("policy", "delete", policies[0]?.id ?? "")).toMatchObject({ code: 0 });
    await writeFile(join(folder, "bad.yaml"), "{name: x, effect: perhaps}\n");
    const bad = await cli("policy", "apply", "bad.yaml");
    expect([bad.code, bad.stderr]).toEqual([2, expect.stringContaining("bad.yaml: policy 1")]);
  });
});
