import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { findTool, type ToolSource } from "../../adapters/mcp/catalog.ts";
import { fail, ok, retryable } from "../../machines/contracts/domain/failure.ts";
import type { ToolPins } from "../../machines/contracts/ports/tool-pins.ts";
import { failure } from "../support/failure.ts";
import { isAlive } from "../support/is-alive.ts";
import { useMcpHosts } from "../support/mcp-hosts.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";
import { value } from "../support/value.ts";
import { callTool } from "../support/call-tool.ts";

const never = new AbortController().signal;
const folder = useTemporaryFolder();
const { hostOf, odd } = useMcpHosts();

describe("names", () => {
  test("an unknown tool is not found", async () => {
    const host = hostOf([odd()]);
    expect(failure(await callTool(host, "nope", {}, never)).kind).toBe("not_found");
    expect(failure(await host.describe("odd/nope", never)).kind).toBe("not_found");
  });

  test("a name that two servers have is a conflict, and the qualified one is not", async () => {
    const host = hostOf([odd({ WHO: "first" }, "one"), odd({ WHO: "second" }, "two")]);
    const conflict = failure(await callTool(host, "environment", {}, never));
    expect(conflict).toMatchObject({ kind: "conflict", retryable: false });
    expect(conflict.message).toMatch(/"one".*"two"/);
    const result = value(await callTool(host, "two/environment", {}, never));
    expect(result.server).toBe("two");
    expect(JSON.parse(String(result.content))).toMatchObject({ WHO: "second" });
    const names = value(await host.list(never)).map((tool) => tool.address);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toContain("one/pid");
  });

  test("a server that went away still counts against an ambiguous name", async () => {
    const flag = join(folder, "flag");
    await writeFile(flag, "");
    const { command, args } = odd();
    const script = `test -e "${flag}" && exec "${command}" "${args.join()}"`;
    const fading = { name: "fading", command: "/bin/sh", args: ["-c", script] };
    const host = hostOf([odd({}, "one"), fading]);
    expect(failure(await callTool(host, "pid", {}, never)).kind).toBe("conflict");
    await rm(flag);
    const pid = Number(value(await callTool(host, "fading/pid", {}, never)).content);
    process.kill(pid, "SIGKILL");
    while (isAlive(pid)) await sleep(10);
    expect(failure(await callTool(host, "fading/pid", {}, never)).kind).toBe("unavailable");
    const conflict = failure(await callTool(host, "pid", {}, never));
    expect(conflict.kind).toBe("conflict");
  });

  test("a server that is quarantined still counts against an ambiguous name", async () => {
    const description = join(folder, "description");
    await writeFile(description, "Says its process id.");
    const kept = new Map<string, string>();
    const store: ToolPins = {
      find: async (server) => kept.get(server) ?? null,
      keepFirst: async (server, pin) => kept.get(server) ?? (kept.set(server, pin), pin),
      replace: async (server, pin) => void kept.set(server, pin),
    };
    const servers = [odd({ ODD_DESCRIPTION: description }, "one"), odd({}, "two")];
    const pins = { store, mode: "first-use", commandLine: (rest: string) => rest } as const;
    const first = hostOf(servers, 20_000, pins);
    expect(failure(await first.describe("pid", never)).kind).toBe("conflict");
    await writeFile(description, "Says another thing.");
    const host = hostOf(servers, 20_000, pins);
    const conflict = failure(await host.describe("pid", never));
    expect(conflict).toMatchObject({ kind: "conflict" });
    expect(conflict.message).toMatch(/"one".*"two"/u);
    expect(failure(await host.describe("one/pid", never)).message).toContain("quarantined");
    value(await callTool(host, "two/pid", {}, never));
  });

  test("a tool that can't be used still counts against an ambiguous name", async () => {
    const source = (server: string, listed: string[], usable: string[]): ToolSource => ({
      name: server,
      down: false,
      lastTools: new Set(listed),
      tools: async () =>
        ok(new Map(usable.map((name) => [name, { name, inputSchema: { type: "object" } }]))),
    });
    const servers = [source("one", ["read", "own"], ["own"]), source("two", ["read"], ["read"])];
    expect(failure(await findTool(servers, "read", never)).kind).toBe("conflict");
    expect(value(await findTool(servers, "own", never)).server.name).toBe("one");
    expect(value(await findTool(servers, "two/read", never)).server.name).toBe("two");
  });

  test("a server whose known list may not be used is no reason to wait for a name that it lacks", async () => {
    const refused = { ...retryable("unavailable", "quarantined"), untried: true as const };
    const held = (name: string, listed: string[], isDown: boolean): ToolSource => ({
      name,
      down: isDown,
      lastTools: new Set(listed),
      tools: async () => fail({ ...refused, message: `${name} can't be used` }),
    });
    const [known, away] = [held("a", ["own"], false), held("b", [], true)];
    const kindOf = async (servers: ToolSource[], name: string) =>
      failure(await findTool(servers, name, never)).kind;
    expect(await kindOf([known], "typo")).toBe("not_found");
    expect(await kindOf([known], "a/typo")).toBe("not_found");
    expect(await kindOf([known], "own")).toBe("unavailable");
    expect(await kindOf([known], "a/own")).toBe("unavailable");
    expect(failure(await findTool([known, away], "typo", never)).message).toContain("b can't");
  });

  test("a list that changed while it was read is not kept", async () => {
    const host = hostOf([odd({ ODD_MODE: "grows" })]);
    const names = async () => value(await host.list(never)).map(({ name }) => name);
    expect(await names()).not.toContain("grown");
    expect(await names()).toContain("grown");
  });

  test("all pages of a list are read, and a changed list is read again", async () => {
    const host = hostOf([odd()]);
    const before = value(await host.list(never)).map((tool) => tool.name);
    expect(before).toContain("liar");
    expect(before).not.toContain("grown");
    value(await callTool(host, "grow", {}, never));
    await expect
      .poll(async () => value(await host.list(never)).map((tool) => tool.name))
      .toContain("grown");
  });

  test("what was resolved is called, and nothing that has taken its place since [policy.resolved]", async () => {
    const host = hostOf([odd({ WHO: "staging" }, "staging"), odd({ WHO: "prod" }, "prod")]);
    const staging = value(await host.describe("staging/environment", never));
    expect(staging).toMatchObject({ server: "staging", name: "environment" });
    expect(staging.digest).toMatch(/^[0-9a-f]{64}$/);
    const called = value(await host.call(staging, {}, never));
    expect(JSON.parse(String(called.content))).toMatchObject({ WHO: "staging" });

    const others = [
      [{ ...staging, digest: "0".repeat(64) }, "policy_denied"],
      [{ ...staging, server: "nobody" }, "not_found"],
      [{ ...staging, name: "staging/environment" }, "not_found"],
      [{ ...staging, server: "prod", name: "strict" }, "policy_denied"],
    ] as const;
    for (const [target, kind] of others) {
      expect(failure(await host.call(target, {}, never))).toMatchObject({ kind, retryable: false });
    }
  });
});
