import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { chooseStore } from "../../cli/compose/choose-store.ts";
import { chooseTools } from "../../cli/compose/choose-tools.ts";
import { artifactsOf, artifactWarnings } from "../../cli/compose/compose-ports.ts";
import {
  Closing,
  workWhenIdle,
  runtimeOptions,
  policyWarnings,
} from "../../cli/compose/start-worker.ts";
import { type ConfigRequest, loadConfig } from "../../cli/config/load-config.ts";
import { InvalidSetting } from "../../machines/contracts/domain/errors.ts";
import { compileRules } from "../../machines/contracts/domain/screening/injection.ts";
import { injectionRules } from "../../machines/contracts/domain/screening/injection-rules.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "stateplane-compose-"));
});
afterEach(() => {
  warned.length = 0;
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

const load = (given: Partial<ConfigRequest> = {}) =>
  loadConfig({ flags: {}, env: {}, folder, file: null, ...given });
const warned: string[] = [];
const log = {
  debug() {},
  info() {},
  warn: (fields: object, message: string) =>
    void warned.push(`${message}: ${JSON.stringify(fields)}`),
  error() {},
};
const nothing = { allowed: [], approvalRequired: [], denied: [] };

describe("a worker's options", () => {
  it("try a step once where no retries are wanted", async () => {
    const { settings } = await load({ env: { WORKER_MAX_RETRIES: "0" } });
    expect(runtimeOptions(settings, nothing).limits.maxAttempts).toBe(1);
  });

  it("take what the configuration says and the runtime's own for the rest", async () => {
    const file = join(folder, "stateplane.config.ts");
    const policy = 'policy: () => ({ kind: "deny", reason: "no" })';
    const some = "concurrency: 9, bulkheads: { sandbox: 2 }, deadlines: { approvalMs: 5 }";
    writeFileSync(file, `export default { ${some}, ${policy} };`);
    const { settings } = await load();
    const options = runtimeOptions(settings, nothing);
    expect(options).toMatchObject({
      capacity: 9,
      bulkheads: { sandbox: 2 },
      deadlines: { approvalMs: 5, queueMs: null },
      inDoubt: "ask",
      toolPolicy: "control-plane",
      failClosed: true,
      maxIterations: 25,
    });
    expect(options.policy?.({ kind: "tool", name: "x", input: {} }, {} as never)).toEqual({
      kind: "deny",
      reason: "no",
    });
  });
});

it("settings that leave tool calls to the worker's lists are warned of at start [loop.worker-policy]", () => {
  expect(policyWarnings({ toolPolicy: "control-plane", failClosed: "on" })).toEqual([]);
  const open = policyWarnings({ toolPolicy: "worker", failClosed: "off" });
  expect(open.join("\n")).toMatch(/STATEPLANE_TOOL_POLICY=worker.*\nAGENTIC_FAIL_CLOSED is off/);
});

describe("a worker's tools", () => {
  it("are none without an MCP file, and then it says so", async () => {
    const tools = await chooseTools(await load(), {});
    expect(tools.servers).toEqual([]);
    expect(tools.describe).toContain("MCP_CONFIG_PATH is not set");
  });

  it("are FerrumDeck's where its variables ask for them", async () => {
    const env = { GITHUB_TOKEN: "gh-token", WORKSPACE_PATH: "/workspace" };
    const { servers, allowlist } = await chooseTools(await load(), env);
    expect(servers).toMatchObject([
      { name: "github", command: "npx", env: { GITHUB_PERSONAL_ACCESS_TOKEN: "gh-token" } },
      { name: "filesystem", command: "npx", args: ["-y", expect.any(String), "/workspace"] },
    ]);
    expect(allowlist.allowed).toContain("read_file");
    expect(allowlist.approvalRequired).toContain("write_file");
    expect(allowlist.denied).toContain("delete_file");
  });

  it("are allowed by the file's list, or by the configuration's in its place, else not at all", async () => {
    const mcp = (more: object) => {
      const servers = [{ name: "one", command: "one" }];
      writeFileSync(join(folder, "mcp.json"), JSON.stringify({ servers, ...more }));
    };
    const env = { MCP_CONFIG_PATH: "mcp.json" };
    mcp({ allowlist: { allowed_tools: ["read"], denied_tools: ["erase"] } });
    expect((await chooseTools(await load({ env }), {})).allowlist).toEqual({
      allowed: ["read"],
      approvalRequired: [],
      denied: ["erase"],
    });
    mcp({});
    expect((await chooseTools(await load({ env }), {})).allowlist).toEqual(nothing);
    writeFileSync(join(folder, "stateplane.config.yaml"), "allowlist: {allowed: [write]}");
    const { allowlist } = await chooseTools(await load({ env }), {});
    expect(allowlist).toEqual({ ...nothing, allowed: ["write"] });
  });

  it("are refused with the file's fault, not its content", async () => {
    const content = '{"servers": [{"name": "one", "command": 3, "env": {"KEY": "s3cr3t"}}]}';
    writeFileSync(join(folder, "mcp.json"), content);
    const config = await load({ flags: { mcp: "mcp.json" } });
    const refused = chooseTools(config, {});
    await expect(refused).rejects.toThrow(InvalidSetting);
    await expect(refused).rejects.toThrow(/from flag --mcp.*servers\[0\]/);
    await expect(refused).rejects.not.toThrow(/s3cr3t/);
  });
});

describe("a worker's store", () => {
  it("is SQLite where it is asked for, whatever REDIS_URL says, in a folder of its owner's", async () => {
    const env = { REDIS_URL: "redis://127.0.0.1:1" };
    const store = await chooseStore(await load({ env, flags: { store: "sqlite" } }), "c1");
    expect(store).toMatchObject({ kind: "sqlite", describe: expect.stringContaining("SQLite in") });
    expect(await store.backend.queue.stats()).toMatchObject({ length: 0 });
    await store.close();
    const dataDir = join(folder, ".stateplane");
    expect(statSync(dataDir).mode & 0o777).toBe(0o700);
    expect(readdirSync(dataDir)).toContain(".gitignore");
  });

  it("is SQLite where there is no Redis to be had, and says why", async () => {
    vi.stubEnv("PATH", folder);
    const store = await chooseStore(await load(), "c1");
    expect(store.kind).toBe("sqlite");
    expect(store.describe).toContain("no REDIS_URL, and no redis-server on the PATH");
    await store.close();
  });

  it("is refused where Redis was asked for and can't be had", async () => {
    vi.stubEnv("PATH", folder);
    const config = await load({ flags: { store: "redis" } });
    await expect(chooseStore(config, "c1")).rejects.toThrow(/store \(from flag --store\)/);
  });
});

it("a worker whose artifacts are to be in the data folder makes that as every other user of it does", async () => {
  const dataDir = join(folder, ".stateplane");
  const config = await load({ env: { REDIS_URL: "redis://127.0.0.1:1" } });
  expect(await artifactWarnings(config, { artifacts: artifactsOf(config) })).toEqual([]);
  expect(readdirSync(dataDir).toSorted()).toEqual([".gitignore", "artifacts"]);
  expect(statSync(dataDir).mode & 0o777).toBe(0o700);

  const elsewhere = join(folder, "elsewhere");
  rmSync(dataDir, { recursive: true });
  const named = await load({
    env: { REDIS_URL: "redis://127.0.0.1:1", FD_ARTIFACTS_PATH: elsewhere },
  });
  expect(await artifactWarnings(named, { artifacts: artifactsOf(named) })).toEqual([]);
  expect(readdirSync(folder)).toEqual(["elsewhere"]);
});

it("the rules that look for orders to a model are compiled after a worker's start, one at a time, until it closes", async () => {
  vi.useFakeTimers();
  const tried = injectionRules.map(({ pattern }) => vi.spyOn(pattern, "exec"));
  onTestFinished(() => {
    vi.useRealTimers();
    for (const spy of tried) spy.mockRestore();
  });
  const times = () => tried.filter((spy) => spy.mock.calls.length > 0).length;
  const stopped = new Closing(log);
  workWhenIdle(compileRules(), 1_000, stopped);
  vi.advanceTimersByTime(1_000);
  expect(times()).toBe(1);
  await stopped.close();
  vi.advanceTimersByTime(10_000);
  expect(times()).toBe(1);
  workWhenIdle(compileRules(), 1_000, new Closing(log));
  vi.advanceTimersByTime(10_000);
  expect(times()).toBe(injectionRules.length);
  expect(vi.getTimerCount()).toBe(0);
});

describe("closing", () => {
  it("goes in the reverse order, once, past what fails and past what takes too long", async () => {
    const closed: string[] = [];
    const closing = new Closing(log);
    closing.add("first", async () => void closed.push("first"));
    closing.add("broken", () => Promise.reject(new Error("broken pipe")));
    closing.add("stuck", () => new Promise(() => {}), 20);
    closing.add("last", async () => void closed.push("last"));
    await Promise.all([closing.close(), closing.close()]);
    expect(closed).toEqual(["last", "first"]);
    expect(warned).toEqual([
      'did not close in time: {"what":"stuck","withinMs":20}',
      expect.stringContaining('"what":"broken"'),
    ]);
  });
});
