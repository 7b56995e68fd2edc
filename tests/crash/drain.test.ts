import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { StepKey } from "../../machines/contracts/domain/record.ts";
import type { StepKind } from "../chaos/plan-step.ts";
import type { Child } from "../chaos/spawn-child.ts";
import { type CrashStage, openCrashStage } from "../support/crash-stage.ts";
import { startTestRedis, type TestRedis } from "../support/redis.ts";

let redis: TestRedis;
let stage: CrashStage;
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(() => redis.stop());
beforeEach(async () => {
  stage = await openCrashStage(redis.url);
});
afterEach(() => stage.close());

async function order(kinds: StepKind[], count: number): Promise<StepKey[]> {
  const keys = [];
  for (let made = 0; made < count; made += 1) {
    keys.push(await stage.order(kinds[made % kinds.length] ?? "look"));
  }
  return keys;
}

async function touched(count: number): Promise<void> {
  while (stage.ledger.touches().length < count) await sleep(10);
}

/** How often each job that is out was delivered, by the group's own count. */
async function deliveries(): Promise<number[]> {
  const rows = await stage.redis.xpending(stage.stream, "steps-workers", "-", "+", 1_000);
  return (rows as [string, string, number, number][]).map(([, , , count]) => count);
}

/** Milliseconds from the signal to the end, which must be a good one. */
async function exit(worker: Pick<Child, "signal" | "exited">): Promise<number> {
  const asked = performance.now();
  worker.signal("SIGTERM");
  expect(await worker.exited).toEqual({ code: 0, signal: null });
  return performance.now() - asked;
}

describe("a worker told to end (SIGTERM) under load", () => {
  it("finishes what it began, hands back the rest uncounted, and nothing is lost or repeated", async () => {
    const first = stage.spawn({ capacity: 8, effectMs: [600, 1_200], drainMs: 15_000 });
    const keys = await order(["post", "put", "look", "loop"], 60);
    await touched(12);
    expect(await exit(first)).toBeLessThan(60_000);

    const begun = new Set(stage.ledger.touches().map((touch) => touch.order));
    expect(begun.size).toBeLessThan(keys.length);
    expect((await deliveries()).filter((count) => count > 0)).toEqual([]);

    await stage.takeOver({ capacity: 32 });
    await stage.finished(keys);
    const touches = stage.ledger.touches().map((touch) => `${touch.order} ${touch.effect}`);
    expect(touches.length).toBe(45 + 15 * 3);
    expect(new Set(touches).size).toBe(touches.length);
    for (const key of keys) expect(await stage.applied(key)).toBe(1);
    expect(await stage.approveAll()).toEqual([]);
  });

  it("hands back what is not finished in time, and the next worker takes it at once", async () => {
    const first = stage.spawn({ effectMs: [30_000, 30_000], drainMs: 300, leaseMs: 60_000 });
    const keys = await order(["put"], 6);
    await touched(4);
    expect(await exit(first)).toBeLessThan(20_000);
    expect(await deliveries()).toEqual([0, 0, 0, 0]);

    // Long before that lease would have run out.
    await stage.takeOver({ leaseMs: 60_000 });
    await stage.finished(keys);
    for (const key of keys) expect(await stage.applied(key)).toBe(1);
    expect(stage.ledger.touches().length).toBe(4 + 6);
  });

  it("ends at once on a second signal", async () => {
    const first = stage.spawn({ effectMs: [30_000, 30_000], drainMs: 60_000 });
    const keys = await order(["put"], 2);
    await touched(2);
    first.signal("SIGTERM");
    await sleep(1_000);
    expect(first.hasExited()).toBe(false);
    expect(await exit(first)).toBeLessThan(2_500);
    expect(await deliveries()).toEqual([0, 0]);

    await stage.takeOver();
    await stage.finished(keys);
  });
});

describe("`stateplane worker`, the program that ships, with its tools in an MCP server", () => {
  const root = join(import.meta.dirname, "../..");
  let folder: string;
  const spawned: ChildProcess[] = [];
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "stateplane-drain-"));
  });
  afterEach(async () => {
    for (const child of spawned.splice(0)) {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    }
    await rm(folder, { recursive: true, force: true });
  });

  /** The command itself, told everything by the environment's documented names. */
  async function worker(takesMs: number, drainMs: number) {
    const env = { LEDGER: stage.ledger.path, LEDGER_MS: String(takesMs) };
    const server = join(import.meta.dirname, "../support/ledger-mcp-server.ts");
    const config = {
      mcpServers: { ledger: { command: process.execPath, args: [server], env } },
      allowlist: { allowed_tools: ["put", "post"] },
    };
    const file = join(folder, "mcp.json");
    await writeFile(file, JSON.stringify(config));
    const child = spawn(process.execPath, [join(root, "cli/bin.ts"), "worker"], {
      cwd: folder,
      stdio: ["ignore", "ignore", "inherit"],
      env: {
        PATH: process.env["PATH"] ?? "",
        REDIS_URL: redis.url,
        REDIS_QUEUE_PREFIX: stage.stream.replace(/stream:steps$/, ""),
        CONTROL_PLANE_URL: stage.plane.url,
        FD_API_KEY: stage.plane.apiKey,
        MCP_CONFIG_PATH: file,
        WORKER_CONCURRENCY: "8",
        WORKER_DRAIN_MS: String(drainMs),
        LOG_LEVEL: "error",
      },
    });
    spawned.push(child);
    return {
      signal: (name: NodeJS.Signals) => void child.kill(name),
      exited: once(child, "exit").then(([code, signal]) => ({ code, signal })),
    };
  }

  it("ends with 0 in time, nothing lost, nothing repeated, no delivery counted", async () => {
    const first = await worker(300, 5_000);
    const keys = await order(["post", "put"], 40);
    await touched(12);
    expect(await exit(first)).toBeLessThan(20_000);
    expect(stage.ledger.touches().length).toBeLessThan(keys.length);
    expect((await deliveries()).filter((count) => count > 0)).toEqual([]);

    await worker(0, 5_000);
    await stage.finished(keys);
    expect(stage.ledger.touches().length).toBe(keys.length);
    for (const key of keys) expect(await stage.applied(key)).toBe(1);
    expect(await stage.approveAll()).toEqual([]);
  });

  it("hands back at once on a second signal", async () => {
    const first = await worker(30_000, 60_000);
    await order(["put"], 2);
    await touched(2);
    first.signal("SIGTERM");
    await sleep(500);
    expect(await exit(first)).toBeLessThan(20_000);
    expect(await deliveries()).toEqual([0, 0]);
  });
});
