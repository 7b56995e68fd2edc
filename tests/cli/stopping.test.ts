import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createRedisBackend } from "../../adapters/redis/backend.ts";
import { key } from "../conformance/store-conformance/stage.ts";
import { type RunningCli, runCli, startCli } from "../support/run-cli.ts";
import { redisServersOf, startTestRedis, type TestRedis } from "../support/redis.ts";

const root = join(import.meta.dirname, "../..");

let folder: string;
let redis: TestRedis;
let running: RunningCli[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane-stopping-"));
  redis = await startTestRedis();
  running = [];
});
afterEach(async () => {
  for (const { child, ended } of running) {
    child.kill("SIGKILL");
    await ended;
  }
  await redis.stop();
  await rm(folder, { recursive: true, force: true });
});

function start(args: string[], env: Record<string, string> = {}): RunningCli {
  const cli = startCli(args, { cwd: folder, env: { REDIS_URL: redis.url, ...env } });
  running.push(cli);
  return cli;
}

it("what waits for a Redis that is away is rejected when the store is abandoned, and later calls too [stop.store-away]", async () => {
  const backend = await createRedisBackend({ url: redis.url, prefix: "p:", consumer: "w" });
  await backend.store.find(key);
  await redis.stop();
  const waits = backend.store.wakeDue(1);
  // Longer than the pauses between two attempts are at first.
  await Promise.race([waits.catch(() => {}), sleep(1_000)]);
  await expect(backend.store.find(key)).rejects.toMatchObject({ trouble: "passing" });
  backend.abandon?.();
  await expect(waits).rejects.toMatchObject({ trouble: "passing" });
  await expect(backend.queue.stats()).rejects.toMatchObject({ trouble: "passing" });
  await expect(backend.store.find(key)).rejects.toMatchObject({ trouble: "passing" });
  await backend.close();
});

it("what a connection had sent that broke since is rejected when the store is abandoned [stop.store-away]", async () => {
  const backend = await createRedisBackend({ url: redis.url, prefix: "p:", consumer: "w" });
  await backend.store.find(key);
  redis.freeze();
  const waits = [
    backend.store.wakeDue(1),
    backend.store.find(key),
    backend.queue.publish({ data: "{}" }),
    backend.queue.release(["0-1"]),
  ];
  // What has no answer for ten seconds is taken for hung, and its connection made anew.
  for (const wait of waits) await Promise.race([wait.catch(() => {}), sleep(3_000)]);
  backend.abandon?.();
  for (const wait of waits) await expect(wait).rejects.toMatchObject({ trouble: "passing" });
  await backend.close();
});

it.each([["dev"], ["dev", "--inspect"]])(
  "told to end while its Redis is away, `%s %s` closes all in time [stop.store-away]",
  async (...args) => {
    const dev = start(args);
    await dev.says("Ctrl-C stops.");
    await redis.stop();
    const submitted = await runCli(["submit", "assistant", "--task", "hello"], { cwd: folder });
    expect(submitted.code).toBe(0);
    const [, run = ""] = /(run_\w+)/u.exec(submitted.stdout) ?? [];
    expect(run).not.toBe("");
    dev.kill("SIGINT");
    const { code, stderr } = await dev.ended;
    expect(stderr).not.toMatch(/did not close|failed to close/u);
    expect(code).toBe(0);
  },
);

it("told to end while its Redis is away, a control plane closes all in time [stop.store-away]", async () => {
  const plane = start(["control-plane", "--port", "0"], { FD_API_KEY: "a-key-of-sixteen-chars" });
  await plane.says("is running");
  await redis.stop();
  plane.kill("SIGTERM");
  expect(await plane.ended).toMatchObject({ code: 0 });
});

it("a second signal ends a process, though nothing in it heeds the first [stop.second-signal]", async () => {
  const module = JSON.stringify(join(root, "cli/stopping.ts"));
  const program = `
    const { listenForStop } = await import(${module});
    const stopping = listenForStop();
    stopping.signal.addEventListener("abort", () => console.log("asked"));
    stopping.now.addEventListener("abort", () => console.log("urged"));
    setInterval(() => {}, 1_000);
    console.log("listens");`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  let said = "";
  for await (const chunk of child.stdout) {
    const text = String(chunk);
    said += text;
    if (/listens|asked/u.test(text)) child.kill("SIGINT");
  }
  expect(said).toBe("listens\nasked\nurged\n");
  expect(await ended).toEqual([130, null]);
});

it("a second Ctrl-C ends `npm start -- --keep`, whose store answers nothing more [stop.second-signal]", async () => {
  const program = join(root, "examples/first-light/main.ts");
  const child = spawn(process.execPath, [program, "--yes", "--keep", "--store", "redis"], {
    cwd: root,
    env: { PATH: process.env["PATH"], TMPDIR: folder, HOME: folder },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const servers: number[] = [];
  try {
    const ended = once(child, "exit");
    let said = "";
    let signals = 0;
    for await (const chunk of child.stdout) {
      said += String(chunk);
      if (signals === 0 && said.includes("Ctrl-C ends it.")) {
        signals += 1;
        servers.push(...(await redisServersOf(folder)));
        for (const pid of servers) process.kill(pid, "SIGSTOP");
        child.kill("SIGINT");
      }
      if (signals === 1 && said.includes("Ctrl-C again")) {
        signals += 1;
        child.kill("SIGINT");
      }
    }
    expect(servers).not.toEqual([]);
    expect(said).toContain("Ending; Ctrl-C again ends it at once.");
    expect(await ended).toEqual([130, null]);
  } finally {
    child.kill("SIGKILL");
    for (const pid of servers) process.kill(pid, "SIGKILL");
  }
}, 240_000);
