import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import type { ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import { failure } from "../support/failure.ts";
import { useMcpHosts } from "../support/mcp-hosts.ts";

const script = fileURLToPath(new URL("../support/raw-mcp-server.ts", import.meta.url));
const never = new AbortController().signal;
const { hostOf, warnings } = useMcpHosts();
let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane-raw-mcp-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const raw = (mode: string, name = "raw", env: Record<string, string> = {}) => ({
  name,
  command: process.execPath,
  args: [script],
  env: { RAW_MODE: mode, NODE_NO_WARNINGS: "1", ...env },
});

async function call(host: ToolHost, name: string, signal = never, input = {}) {
  const described = await host.describe(name, signal);
  return described.ok ? host.call(described.value, input, signal) : described;
}

describe("an MCP server that means no good", () => {
  test("may write to stderr without end: nothing of it is kept [mcp.bounds]", async () => {
    const host = hostOf([raw("floods")]);
    expect(await call(host, "fine")).toMatchObject({ ok: true, value: { content: "ok" } });
  });

  test("may list pages without end: the list is given up [mcp.bounds]", async () => {
    const host = hostOf([raw("pages")]);
    const outcome = await call(host, "fine");
    expect(outcome.ok ? "" : outcome.failure.message).toContain("more than 200 pages");
  });

  test("costs the tools of no other server when it never lists its own [mcp.apart]", async () => {
    const seen = join(folder, "seen by the silent");
    const silent = { ...raw("silent", "silent", { RAW_SEEN: seen }), timeoutMs: 5_000 };
    const host = hostOf([silent, raw("", "good")]);
    const lists = async () => (await readFile(seen, "utf8")).split('"tools/list"').length - 1;
    expect(await call(host, "fine")).toMatchObject({ ok: true, value: { server: "good" } });
    expect(await lists()).toBe(1);
    // It is known to be silent now: as long as its wait lasts, nobody asks it again.
    const clock = vi.spyOn(performance, "now").mockReturnValue(performance.now());
    onTestFinished(() => clock.mockRestore());
    expect(await call(host, "fine")).toMatchObject({ ok: true, value: { server: "good" } });
    expect(await lists()).toBe(1);
  });

  test("loses the tools that can't be read, and no other [mcp.apart]", async () => {
    const host = hostOf([raw("odd-tools")]);
    expect(await call(host, "fine")).toMatchObject({ ok: true });
    expect(await host.describe("nameless schema", never)).toMatchObject({ ok: false });
    expect(warnings).toContain("MCP tool left out: it can't be read");
    expect(warnings).toContain("MCP tool disabled: its schema can't be used");
    for (const [name, reason] of [
      ["nameless schema", "can't be used: "],
      ["promised", "can't be used: its input schema"],
      ["loops", "can't be checked: its schema refers to itself without end"],
    ] as const) {
      const refused = failure(await call(host, name));
      expect(refused).toMatchObject({ kind: "invalid_input", retryable: false });
      expect(refused.message).toContain(reason);
    }
    const text = `${"a".repeat(40)}!`;
    expect(await call(host, "slow", never, { text })).toMatchObject({
      ok: false,
      failure: { kind: "invalid_input" },
    });
  });

  test("loses the tools whose names are not of the protocol's characters, or that are too long [mcp.apart]", async () => {
    const host = hostOf([raw("odd-tools")]);
    expect(await call(host, "fine")).toMatchObject({ ok: true });
    const [look] = await host.look(never);
    if (look?.found?.ok !== true) throw new Error("no look");
    const { disabled, tools } = look.found.value;
    for (const name of ["a tool without a name", "x\ufffd", "a\nb", "rеad", "x".repeat(129)]) {
      expect([name, disabled.get(name)]).toEqual([
        name,
        expect.stringContaining("its name is not of"),
      ]);
    }
    expect(disabled.get("long")).toContain("longer than");
    expect(tools.map(({ name }) => name)).not.toContain("rеad");
  });

  test("sends no number that would arrive as another one [number.exact]", async () => {
    const outcome = await call(hostOf([raw("")]), "big");
    expect(outcome.ok ? "" : outcome.failure.message).toContain("9007199254740993");
  });

  test("says why it did not start [mcp.reason]", async () => {
    const outcome = await call(hostOf([raw("refuses")]), "fine");
    expect(outcome.ok ? "" : outcome.failure.message).toContain("EXAMPLE_TOKEN is not set");
  });

  test("may take long while it shows progress [mcp.progress]", async () => {
    // It shows progress every quarter of a second for five.
    const host = hostOf([{ ...raw(""), limits: { timeoutMs: 4_000 } }]);
    expect(await call(host, "works", never, { times: 20 })).toMatchObject({
      ok: true,
      value: { content: "done" },
    });
  });

  test("is told of no cancellation of what it has answered [mcp.cancel]", async () => {
    const seen = join(folder, "seen");
    const host = hostOf([raw("", "raw", { RAW_SEEN: seen })]);
    const state = new AbortController();
    expect(await call(host, "fine", state.signal)).toMatchObject({ ok: true });
    state.abort();
    expect(await call(host, "fine")).toMatchObject({ ok: true });
    const said = await readFile(seen, "utf8");
    expect(said).toContain('"tools/call"');
    expect(said).not.toContain("notifications/cancelled");
  });
});
