import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createRedisBackend } from "../../adapters/redis/backend.ts";
import { startPrivateRedis } from "../../adapters/redis/private-server.ts";
import { findRedisServer } from "../../adapters/redis/redis-process.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { key, take } from "../conformance/store-conformance/stage.ts";
import { redisServersOf } from "../support/redis.ts";

let root: string;
let directory: string;
let backends: StepBackend[];
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "stateplane-kept-"));
  directory = join(root, "redis");
  backends = [];
});
afterEach(async () => {
  for (const backend of backends) await backend.close();
  vi.unstubAllEnvs();
  await rm(root, { recursive: true, force: true });
});

const open = async (url: string): Promise<StepBackend> => {
  const backend = await createRedisBackend({ url, prefix: "p:", consumer: `w${backends.length}` });
  backends.push(backend);
  return backend;
};

const pids = () => redisServersOf(root);

async function kill(signal: NodeJS.Signals): Promise<void> {
  const all = await pids();
  expect(all).toHaveLength(1);
  for (const pid of all) process.kill(pid, signal);
  await expect.poll(async () => (await pids()).includes(all[0] ?? 0)).toBe(false);
}

const readOwner = async (): Promise<{ pid: number }> =>
  JSON.parse(await readFile(join(directory, "server.json"), "utf8")).owner;

function listen() {
  const lines: string[] = [];
  const say = (_: object, line: string) => void lines.push(line);
  return { lines, log: { info: say, warn: say } };
}

it.each(["SIGTERM", "SIGKILL"] as const)(
  "a private server that ends by %s is started again on its data, and that is one line [redis.kept]",
  async (signal) => {
    const { lines, log } = listen();
    const server = await startPrivateRedis({ directory, log });
    const backend = await open(server.url);
    await take(backend);
    await kill(signal);
    expect(await backend.queue.stats()).toMatchObject({ length: 1 });
    expect(await (await open(server.url)).store.find(key)).toMatchObject({ fence: 1 });
    const how = signal === "SIGTERM" ? "code 0" : "SIGKILL";
    await expect
      .poll(() => lines)
      .toEqual([
        `the Redis server in ${directory} ended with ${how} and was started again on the same data; work goes on`,
      ]);
    await server.stop();
    expect(await pids()).toEqual([]);
  },
);

it("a private server on a port is started again at the same address", async () => {
  directory = join(root, "a folder with a long name ".repeat(4));
  const { lines, log } = listen();
  const server = await startPrivateRedis({ directory, log });
  const backend = await open(server.url);
  const port = new URL(server.url).port;
  const [pid = 0] = await redisServersOf(`:${port}\\b`);
  expect(pid).toBeGreaterThan(0);
  process.kill(pid, "SIGKILL");
  await expect.poll(() => lines).toHaveLength(1);
  expect(await backend.queue.stats()).toMatchObject({ length: 0 });
  await server.stop();
});

it("a private server that ends three times in a row is given up with what to do [redis.lost]", async () => {
  const { lines, log } = listen();
  const server = await startPrivateRedis({ directory, log });
  for (let time = 0; time < 3; time += 1) {
    await expect.poll(pids).toHaveLength(1);
    await expect.poll(() => lines.length).toBe(time);
    await kill("SIGKILL");
  }
  expect(await server.lost).toMatch(
    /can't be kept running: 3 times in a row .* ended with SIGKILL; see redis\.log there, .* start this program again, its data is kept there$/u,
  );
  await server.stop();
});

it("a private server whose program is gone is given up with what to do [redis.lost]", async () => {
  const bin = join(root, "bin");
  await mkdir(bin);
  await symlink(findRedisServer(process.env["PATH"] ?? "") ?? "", join(bin, "redis-server"));
  vi.stubEnv("PATH", bin);
  const server = await startPrivateRedis({ directory });
  await rm(join(bin, "redis-server"));
  vi.unstubAllEnvs();
  vi.stubEnv("PATH", bin);
  const all = await promisify(execFile)("/usr/bin/pgrep", ["-f", `redis-server .*${root}`]);
  process.kill(Number(all.stdout.trim()), "SIGTERM");
  expect(await server.lost).toMatch(
    /ended with code 0 and can't be started again: there is no redis-server or valkey-server on the PATH any more; install one/u,
  );
  await server.stop();
});

/** A program of its own that keeps the server, and ends it when it is told to. */
async function startOwner(): Promise<ChildProcess> {
  const module = new URL("../../adapters/redis/private-server.ts", import.meta.url);
  const program = `
    const { startPrivateRedis } = await import(${JSON.stringify(module.href)});
    const server = await startPrivateRedis({ directory: ${JSON.stringify(directory)} });
    process.on("SIGTERM", () => server.stop().then(() => process.exit(0)));
    process.stdout.write("started");
    setInterval(() => {}, 1000);`;
  const owner = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(owner.stdout, "data");
  return owner;
}

it("a server whose owner lives is started again by the owner alone: others wait for it [redis.owner]", async () => {
  const owner = await startOwner();
  owner.kill("SIGSTOP");
  await kill("SIGKILL");
  let isJoined = false;
  const joining = startPrivateRedis({ directory }).finally(() => (isJoined = true));
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  expect(isJoined).toBe(false);
  expect(await pids()).toEqual([]);
  owner.kill("SIGCONT");
  const joined = await joining;
  expect(await readOwner()).toMatchObject({ pid: owner.pid });

  // Its owner ends it: who still needs it goes on with it.
  const { lines, log } = listen();
  const longer = await startPrivateRedis({ directory, log });
  await joined.stop();
  const backend = await open(longer.url);
  const ended = once(owner, "exit");
  owner.kill("SIGTERM");
  await ended;
  expect(await backend.queue.stats()).toMatchObject({ length: 0 });
  await expect.poll(readOwner).toMatchObject({ pid: process.pid });
  await expect
    .poll(() => lines)
    .toEqual([
      `the Redis server in ${directory} was ended with the program that kept it; this one keeps it now`,
    ]);
  await longer.stop();
  expect(await pids()).toEqual([]);
});

it("a server whose owner was killed is left to none by those who joined it [redis.owner]", async () => {
  const owner = await startOwner();
  const { lines, log } = listen();
  const [one, other] = [
    await startPrivateRedis({ directory }),
    await startPrivateRedis({ directory, log }),
  ];
  const gone = once(owner, "exit");
  owner.kill("SIGKILL");
  await gone;
  const before = await pids();
  await one.stop();
  await expect.poll(readOwner).toMatchObject({ pid: process.pid });
  await expect.poll(() => lines).toHaveLength(1);
  const backend = await open(other.url);
  expect(await backend.queue.stats()).toMatchObject({ length: 0 });
  expect(await pids()).not.toEqual(before);
  await other.stop();
  expect(await pids()).toEqual([]);
});
