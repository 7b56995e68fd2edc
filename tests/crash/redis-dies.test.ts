import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterEach, beforeEach, expect, it } from "vitest";
import { findRedisServer } from "../../adapters/redis/redis-process.ts";
import { redisServersOf, startTestRedis } from "../support/redis.ts";
import { type RunningCli, runCli, startCli } from "../support/run-cli.ts";

/** `stateplane dev` and `control-plane`, the programs, on a Redis that somebody kills or empties. */
let folder: string;
let program: RunningCli | null = null;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane-dies-"));
  await writeFile(
    join(folder, "script.yaml"),
    "- reply: {content: Hello there, usage: {inputTokens: 7, outputTokens: 2}}\n  repeat: true\n",
  );
  await writeFile(
    join(folder, "stateplane.config.yaml"),
    "modelScript: script.yaml\nagents: {helper: {model: scripted/one}}\n",
  );
  await mkdir(join(folder, "bin"));
  const server = findRedisServer(process.env["PATH"] ?? "") ?? "";
  await symlink(server, join(folder, "bin", "redis-server"));
});
afterEach(async () => {
  program?.child.kill("SIGKILL");
  await program?.ended;
  for (const pid of await servers()) process.kill(pid, "SIGKILL");
  await rm(folder, { recursive: true, force: true });
});

async function start(
  args: string[],
  said: string,
  more: Record<string, string> = {},
): Promise<RunningCli> {
  const env = { PATH: join(folder, "bin"), FD_API_KEY: "a-key-of-sixteen-chars", ...more };
  program = startCli(args, { cwd: folder, env });
  await program.says(said);
  return program;
}

const servers = () => redisServersOf(folder);

async function killServer(signal: NodeJS.Signals): Promise<void> {
  await expect.poll(servers).toHaveLength(1);
  for (const pid of await servers()) process.kill(pid, signal);
}

const linesOf = ({ said }: RunningCli) =>
  said()
    .stderr.split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => (JSON.parse(line) as { msg: string }).msg);

it("work goes on in `dev` when its private Redis is killed, and that is one line [redis.kept]", async () => {
  const dev = await start(["dev"], "Ctrl-C stops.");
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    await killServer(signal);
    const submit = ["submit", "helper", "--task", "greet me", "--watch"];
    const submitted = await runCli(submit, { cwd: folder });
    expect(submitted.stdout).toMatch(/run +run_\w+ +completed +Hello there/u);
  }
  dev.kill("SIGINT");
  expect((await dev.ended).code).toBe(0);
  // Where that takes the machine longer than five seconds, it is said that steps wait, too.
  const lines = linesOf(dev).filter(
    (line) => !/^the store .* (?:not answered|answers)/u.test(line),
  );
  expect(lines).toEqual(
    ["code 0", "SIGKILL"].map((how) =>
      expect.stringMatching(
        new RegExp(`^the Redis server in .* ended with ${how} and was started again on the same`),
      ),
    ),
  );
  expect(await servers()).toEqual([]);
});

it("a worker whose Redis lost all its data says so once, and takes what comes then [redis.emptied]", async () => {
  const redis = await startTestRedis();
  const client = new Redis(redis.url);
  try {
    const dev = await start(["dev"], "Ctrl-C stops.", { REDIS_URL: redis.url });
    // Until its worker has made the group, there is nothing of it that could be lost.
    const groups = () => client.xinfo("GROUPS", "fd:queue:stream:steps").catch(() => []);
    await expect.poll(groups).not.toEqual([]);
    await client.flushall();
    await dev.says("was emptied");
    const submit = ["submit", "helper", "--task", "greet me", "--watch"];
    const submitted = await runCli(submit, { cwd: folder });
    expect(submitted.stdout).toMatch(/run +run_\w+ +completed +Hello there/u);
    dev.kill("SIGINT");
    expect((await dev.ended).code).toBe(0);
    expect(linesOf(dev).filter((line) => line.includes("was emptied"))).toEqual([
      expect.stringMatching(/what was kept of their steps, .*appendonly yes/u),
    ]);
  } finally {
    client.disconnect();
    await redis.stop();
  }
});

it.each([
  ["dev", "Ctrl-C stops."],
  ["control-plane", "is running"],
])(
  "`%s` whose private Redis can't be started again says what to do and ends with 3 [redis.lost]",
  async (command, said) => {
    const lost = await start([command], said);
    await rm(join(folder, "bin", "redis-server"));
    await killServer("SIGKILL");
    const { code, stderr } = await lost.ended;
    expect(stderr).toMatch(/the Redis server in .* ended with SIGKILL and can't be started again/u);
    expect(stderr).toMatch(/install one and start this program again, its data is kept there/u);
    expect(code).toBe(3);
  },
);
