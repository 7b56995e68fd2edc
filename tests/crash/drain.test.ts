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
import { type RunningCli, startCli } from "../support/run-cli.ts";

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

/** Asks it to end, which must be a good one. */
async function exit(worker: Pick<Child, "signal" | "exited">): Promise<void> {
  worker.signal("SIGTERM");
  expect(await worker.exited).toEqual({ code: 0, signal: null });
}

/** Longer than any test: who waits for it never ends, and what it leases to a worker stays with that one. */
const hour = 3_600_000;
const never = { effectMs: [hour, hour] as [number, number], leaseMs: hour };

describe("a worker told to end (SIGTERM) under load", { timeout: 300_000 }, () => {
  it("finishes what it began, hands back the rest uncounted, and nothing is lost or repeated", async () => {
    const brief = { effectMs: [600, 1_200] as [number, number], leaseMs: hour };
    const first = stage.spawn({ ...brief, capacity: 8, drainMs: hour });
    const keys = await order(["post", "put", "look", "loop"], 60);
    await touched(12);
    await exit(first);

    const begun = new Set(stage.ledger.touches().map((touch) => touch.order));
    expect(begun.size).toBeLessThan(keys.length);
    expect((await deliveries()).filter((count) => count > 0)).toEqual([]);

    await stage.takeOver({ capacity: 32, leaseMs: hour });
    await stage.finished(keys);
    const touches = stage.ledger.touches().map((touch) => `${touch.order} ${touch.effect}`);
    expect(touches.length).toBe(45 + 15 * 3);
    expect(new Set(touches).size).toBe(touches.length);
    for (const key of keys) expect(await stage.applied(key)).toBe(1);
    expect(await stage.approveAll()).toEqual([]);
  });

  it("hands back what is not finished in time, and the next worker takes it at once", async () => {
    const first = stage.spawn({ ...never, drainMs: 300 });
    const keys = await order(["put"], 6);
    await touched(4);
    await exit(first);
    expect(await deliveries()).toEqual([0, 0, 0, 0]);

    // Long before that lease would have run out.
    await stage.takeOver({ leaseMs: hour });
    await stage.finished(keys);
    for (const key of keys) expect(await stage.applied(key)).toBe(1);
    expect(stage.ledger.touches().length).toBe(4 + 6);
  });

  it("ends at once on a second signal", async () => {
    const first = stage.spawn({ ...never, drainMs: hour });
    const keys = await order(["put"], 2);
    await touched(2);
    await first.ready;
    // A second one that comes before the first was heard is one with it.
    const heard = first.says();
    first.signal("SIGTERM");
    expect(await heard).toBe("draining");
    await sleep(1_000);
    expect(first.hasExited()).toBe(false);
    await exit(first);
    expect(await deliveries()).toEqual([0, 0]);

    await stage.takeOver({ leaseMs: hour });
    await stage.finished(keys);
  });
});

describe("`stateplane worker`, the program that ships, with its tools in an MCP server", () => {
  let folder: string;
  const running: RunningCli[] = [];
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "stateplane-drain-"));
  });
  afterEach(async () => {
    for (const program of running.splice(0)) {
      program.kill("SIGKILL");
      await program.ended;
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
    const program = startCli(["worker"], {
      cwd: folder,
      env: {
        REDIS_URL: redis.url,
        REDIS_QUEUE_PREFIX: stage.stream.replace(/stream:steps$/, ""),
        CONTROL_PLANE_URL: stage.plane.url,
        FD_API_KEY: stage.plane.apiKey,
        MCP_CONFIG_PATH: file,
        WORKER_CONCURRENCY: "8",
        WORKER_DRAIN_MS: String(drainMs),
      },
    });
    running.push(program);
    return {
      says: (text: string) => program.says(text),
      signal: (name: NodeJS.Signals) => program.kill(name),
      exited: program.ended.then(({ code }) => ({ code, signal: program.child.signalCode })),
    };
  }

  it("ends with 0, nothing lost, nothing repeated, no delivery counted", async () => {
    const first = await worker(1_500, hour);
    const keys = await order(["post", "put"], 40);
    await touched(12);
    await exit(first);
    expect(stage.ledger.touches().length).toBeLessThan(keys.length);
    expect((await deliveries()).filter((count) => count > 0)).toEqual([]);

    await worker(0, hour);
    await stage.finished(keys);
    expect(stage.ledger.touches().length).toBe(keys.length);
    for (const key of keys) expect(await stage.applied(key)).toBe(1);
    expect(await stage.approveAll()).toEqual([]);
  });

  it("hands back at once on a second signal", async () => {
    const first = await worker(hour, hour);
    await order(["put"], 2);
    await touched(2);
    first.signal("SIGTERM");
    await first.says("steps may finish");
    await exit(first);
    expect(await deliveries()).toEqual([0, 0]);
  });
});
