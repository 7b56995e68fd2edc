import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterEach, beforeEach, expect, it } from "vitest";
import { findRedisServer } from "../../adapters/redis/redis-process.ts";
import { createRedisBackend } from "../../adapters/redis/backend.ts";
import { startPrivateRedis } from "../../adapters/redis/private-server.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { key, take } from "../conformance/store-conformance/stage.ts";

let root: string;
let backends: StepBackend[];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "stateplane-private-"));
  backends = [];
});
afterEach(async () => {
  for (const backend of backends) await backend.close();
  await rm(root, { recursive: true, force: true });
});

const open = async (url: string): Promise<StepBackend> => {
  const backend = await createRedisBackend({ url, prefix: "p:", consumer: `w${backends.length}` });
  backends.push(backend);
  return backend;
};

it("keeps what it was given over a stop and a start, on a socket only its user may open", async () => {
  const directory = join(root, ".stateplane", "redis");
  const first = await startPrivateRedis({ directory });
  expect(first.url).toBe(`unix://${directory}/redis.sock`);
  expect((await stat(join(directory, "redis.sock"))).mode & 0o777).toBe(0o700);
  const backend = await open(first.url);
  await take(backend);
  await backend.close();
  await first.stop();
  await expect(createRedisBackend({ url: first.url, prefix: "p:", consumer: "w" })).rejects.toThrow(
    /redis\.sock: (ENOENT|ECONNREFUSED)/,
  );

  const second = await startPrivateRedis({ directory });
  expect(await (await open(second.url)).store.find(key)).toMatchObject({ fence: 1 });
  await second.stop();
});

it("has what it answered on the disk, and nothing to warn of", async () => {
  const server = await startPrivateRedis({ directory: join(root, "redis") });
  const backend = await open(server.url);
  expect(backend.warnings).toEqual([]);
  const redis = new Redis(new URL(server.url).pathname);
  expect(await redis.config("GET", "appendfsync")).toEqual(["appendfsync", "always"]);
  redis.disconnect();
  await server.stop();
});

it("does not see what the program that starts it inherited", async () => {
  const secret = join(root, "secret.txt");
  await writeFile(secret, "a secret");
  const module = JSON.stringify(
    new URL("../../adapters/redis/redis-process.ts", import.meta.url).href,
  );
  const program = `
    const { startRedisProcess, findRedisServer } = await import(${module});
    const { readdirSync, readlinkSync } = await import("node:fs");
    const directory = ${JSON.stringify(root)};
    const binary = findRedisServer(process.env.PATH);
    const server = await startRedisProcess(binary, directory, { path: directory + "/s.sock" });
    const folder = "/proc/" + server.pid + "/fd/";
    for (const name of readdirSync(folder)) console.log(readlinkSync(folder + name));
    await server.stop();`;
  const child = spawn(
    "bash",
    [
      "-c",
      `exec 40<"$0" 187<"$0"; exec "$1" --input-type=module -e "$2"`,
      secret,
      process.execPath,
      program,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  let printed = "";
  child.stdout.on("data", (chunk) => (printed += chunk));
  expect(await once(child, "close")).toEqual([0, null]);
  expect(printed).toContain("socket:");
  expect(printed).not.toContain("secret.txt");
});

it("falls back to a loopback port with a password where a socket's path would be too long", async () => {
  const directory = join(root, "a folder with a long name ".repeat(4), "é#?%");
  const server = await startPrivateRedis({ directory });
  expect(server.url).toMatch(/^redis:\/\/:[0-9a-f]{48}@127\.0\.0\.1:\d+$/);
  // No system gives one of these to another program while the server starts, or is started again.
  expect(Number(new URL(server.url).port)).toBeLessThan(32_768);
  expect((await stat(join(directory, "server.json"))).mode & 0o077).toBe(0);
  const backend = await open(server.url);
  expect(backend.describe).not.toContain(new URL(server.url).password);
  await take(backend);
  const joined = await startPrivateRedis({ directory });
  expect(joined.url).toBe(server.url);
  // Whoever still needs a server that its owner stops starts it again.
  await joined.stop();
  await server.stop();
});

it("takes a folder with odd characters in its name", async () => {
  const server = await startPrivateRedis({ directory: join(root, 'a "b" #?%20 é') });
  await take(await open(server.url));
  await server.stop();
});

it("is one server for several programs in one directory, ended by the one that started it", async () => {
  const directory = join(root, "redis");
  const all = await Promise.all([1, 2, 3].map(() => startPrivateRedis({ directory })));
  expect(new Set(all.map(({ url }) => url)).size).toBe(1);
  const backend = await open(all[0]?.url ?? "");
  for (const { stop } of all) await stop();
  await expect(open(all[0]?.url ?? "")).rejects.toThrow(/REDIS_URL/);
  await backend.close();
});

it("is taken over, and then ended, by the next program when its starter was killed", async () => {
  const directory = join(root, "redis");
  const module = new URL("../../adapters/redis/private-server.ts", import.meta.url);
  const program = `
    const { startPrivateRedis } = await import(${JSON.stringify(module.href)});
    await startPrivateRedis({ directory: ${JSON.stringify(directory)} });
    process.stdout.write("started");
    setInterval(() => {}, 1000);`;
  const starter = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(starter.stdout, "data");
  starter.kill("SIGKILL");
  await once(starter, "exit");

  const next = await startPrivateRedis({ directory });
  const backend = await open(next.url);
  expect(await backend.queue.stats()).toMatchObject({ length: 0 });
  const note = JSON.parse(await readFile(join(directory, "server.json"), "utf8"));
  expect(note.owner).toMatchObject({ pid: process.pid });
  await next.stop();
  await expect(open(next.url)).rejects.toThrow(/REDIS_URL/);
});

it("is found on the PATH under either name, and a file that is no program is passed over", async () => {
  expect(findRedisServer(process.env["PATH"] ?? "")).toMatch(/(redis|valkey)-server$/);
  expect(findRedisServer(`${root}::/nowhere`)).toBeNull();
  expect(findRedisServer("")).toBeNull();
  // A folder of that name, and a file that may not be run, are no programs.
  const folder = join(root, "no-programs");
  await mkdir(join(folder, "redis-server"), { recursive: true });
  await writeFile(join(folder, "valkey-server"), "", { mode: 0o644 });
  expect(findRedisServer(folder)).toBeNull();
  await chmod(join(folder, "valkey-server"), 0o755);
  expect(findRedisServer(`/nowhere:${folder}`)).toBe(join(folder, "valkey-server"));
});
