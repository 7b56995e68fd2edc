import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { glob, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createRedisBackend } from "../../adapters/redis/backend.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { toEnvelope } from "../../machines/contracts/domain/job.ts";
import { isAlive } from "../support/is-alive.ts";
import { type FerrumDeckGateway, startFerrumDeckGateway } from "../support/ferrumdeck-gateway.ts";
import { startTestRedis, type TestRedis } from "../support/redis.ts";

const bin = join(import.meta.dirname, "../../cli/bin.ts");
/** Three programs start. */
const patience = { timeout: 90_000, interval: 50 };

let redis: TestRedis;
let gateway: FerrumDeckGateway;
let backend: StepBackend;
let folder: string;
let supervisor: ChildProcess;
let children: number[];

/** The processes whose parent is the supervisor. */
async function processes(): Promise<number[]> {
  const { stdout } = await promisify(execFile)("ps", [
    "-o",
    "pid=",
    "--ppid",
    `${supervisor.pid}`,
  ]).catch(() => ({ stdout: "" }));
  return stdout.trim().split(/\s+/).filter(Boolean).map(Number);
}

async function isWorkedOff(): Promise<void> {
  await vi.waitFor(async () => {
    expect(await backend.queue.stats()).toMatchObject({ length: 0, pending: 0 });
  }, patience);
}

async function publish(count: number, name: string): Promise<void> {
  for (let number = 0; number < count; number += 1) {
    const scope = { tenantId: "t", projectId: "p", agentId: null, traceId: null, spanId: null };
    // Each in a run of its own: the gateway ends a run with the first result, and the others would end unseen.
    const key = { runId: `run_${name}${number}`, stepId: `stp_${name}${number}` };
    const input = { query: "x", documents: [{ content: "x" }] };
    const job = { ...key, stepType: "retrieval" as const, input, ...scope, createdAt: Date.now() };
    await backend.queue.publish({ data: toEnvelope(job) });
  }
}

/** Empty where the file is gone: another test's program has taken it meanwhile. */
function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

/** Environments on their way to a process of ours that nobody has taken. */
async function filesOfStart(): Promise<string[]> {
  const found: string[] = [];
  for (const at of ["/dev/shm", tmpdir()]) {
    for await (const file of glob(join(at, "stateplane-start-*/*"))) {
      if (textOf(file).includes(gateway.apiKey)) found.push(file);
    }
  }
  return found;
}

beforeEach(async () => {
  [redis, gateway] = await Promise.all([startTestRedis(), startFerrumDeckGateway()]);
  folder = await mkdtemp(join(tmpdir(), "stateplane-test-"));
  backend = await createRedisBackend({ url: redis.url, prefix: "fd:queue:", consumer: "test" });
  const env = {
    PATH: process.env["PATH"],
    REDIS_URL: redis.url,
    CONTROL_PLANE_URL: gateway.url,
    FD_API_KEY: gateway.apiKey,
    LOG_LEVEL: "error",
  };
  const args = [bin, "worker", "--processes", "2"];
  supervisor = spawn(process.execPath, args, { env, cwd: folder, stdio: "ignore" });
  await publish(4, "first");
  await isWorkedOff();
  // One of the two may have done it all while the other was starting.
  await vi.waitFor(async () => {
    children = await processes();
    expect(children).toHaveLength(2);
  }, patience);
});
afterEach(async () => {
  // Those that live: the number of one that has ended may be another's by now.
  const left = await processes();
  supervisor.kill("SIGKILL");
  for (const pid of left) if (isAlive(pid)) process.kill(pid, "SIGKILL");
  await backend.close();
  await Promise.all([gateway.close(), redis.stop()]);
  await rm(folder, { recursive: true, force: true });
});

describe("stateplane worker --processes 2", () => {
  it("starts a process that dies again, and drains all of them as one", async () => {
    expect(children).toHaveLength(2);
    const [victim = 0, other = 0] = children;
    process.kill(victim, "SIGKILL");
    await vi.waitFor(async () => {
      children = await processes();
      expect(children).toHaveLength(2);
      expect(children).toContain(other);
      expect(children).not.toContain(victim);
    }, patience);
    await publish(4, "second");
    await isWorkedOff();
    supervisor.kill("SIGTERM");
    const [code] = await once(supervisor, "exit");
    expect(code).toBe(0);
    expect(children.filter(isAlive)).toEqual([]);
    expect(gateway.results()).toHaveLength(8);
  });

  it("shows no key to whoever reads how its processes were started [net.environment]", async () => {
    const pids = [supervisor.pid ?? 0, ...children];
    const shown = pids.map((pid) => readFileSync(`/proc/${pid}/environ`, "utf8"));
    expect(shown.filter((block) => block.includes(gateway.apiKey))).toEqual([]);
    expect(shown.filter((block) => block.includes("REDIS_URL"))).toEqual([]);
    // The keys were used: all that was published has been reported.
    expect(gateway.results()).toHaveLength(4);
    expect(await filesOfStart()).toEqual([]);
  });

  it("drains all of them when its terminal is closed", async () => {
    supervisor.kill("SIGHUP");
    const [code] = await once(supervisor, "exit");
    expect(code).toBe(0);
    expect(children.filter(isAlive)).toEqual([]);
  });

  it("ends at the second signal with a process that hangs, and leaves none [stop.second-signal]", async () => {
    const [hung = 0] = children;
    process.kill(hung, "SIGSTOP");
    const ended = once(supervisor, "exit");
    supervisor.kill("SIGINT");
    await vi.waitFor(() => expect(children.filter(isAlive)).toEqual([hung]), patience);
    supervisor.kill("SIGINT");
    expect(await ended).toEqual([130, null]);
    await vi.waitFor(() => expect(children.filter(isAlive)).toEqual([]), patience);
  });

  it("leaves no process behind when it is killed itself", async () => {
    supervisor.kill("SIGKILL");
    await vi.waitFor(() => expect(children.filter(isAlive)).toEqual([]), patience);
  });
});
