import { copyFile, mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterEach, beforeEach, expect, it } from "vitest";
import { startTestRedis, type TestRedis } from "../support/redis.ts";
import { runCli, type RunningCli, startCli } from "../support/run-cli.ts";
import { useVendors } from "../support/vendor-server.ts";
import { chatStream } from "../support/vendor-streams.ts";

const timeout = 240_000;
const apiKey = "fd_first_key";
let folder: string;
let redis: TestRedis;
let running: RunningCli[] = [];
const { vendor } = useVendors();
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane-plane-"));
  redis = await startTestRedis();
  await writeFile(join(folder, "script.yaml"), "- reply: {content: Hello there}\n");
  await writeFile(
    join(folder, "stateplane.config.yaml"),
    "modelScript: script.yaml\nagents: {helper: {model: scripted/one}}\n",
  );
});
afterEach(async () => {
  for (const each of running) {
    each.kill("SIGTERM");
    await each.ended;
  }
  running = [];
  await redis.stop();
  await rm(folder, { recursive: true, force: true });
});

const start = (args: string[], env: Record<string, string>) => {
  const cli = startCli(args, { cwd: folder, env: { REDIS_URL: redis.url, ...env } });
  running.push(cli);
  return cli;
};
const serve = async (dataDir: string) => {
  const plane = start(["control-plane", "--port", "0", "--json", "--data-dir", dataDir], {
    FD_API_KEY: apiKey,
  });
  const said = await plane.says(/"kind":"ready"/);
  const [, url = ""] = /"url":"([^"]+)"/.exec(said) ?? [];
  return { plane, url };
};

it(
  "says once that its store is away, which one, and once that it is back [plane.store-away]",
  { timeout },
  async () => {
    const { plane } = await serve("quiet");
    const client = new Redis(redis.url);
    const [, pid = ""] = /process_id:(\d+)/u.exec(await client.info("server")) ?? [];
    client.disconnect();
    process.kill(Number(pid), "SIGSTOP");
    try {
      await plane.says("has not answered");
    } finally {
      process.kill(Number(pid), "SIGCONT");
    }
    await plane.says("answers again");
    const lines = plane
      .said()
      .stderr.split("\n")
      .filter((line) => /not answered|answers again/u.test(line))
      .map((line) => JSON.parse(line) as { level: string; msg: string });
    expect(lines).toMatchObject([
      {
        level: "warn",
        msg: `the store (Redis at ${redis.url}) has not answered for 5 s; jobs wait in the control plane until it does`,
      },
      { level: "info", msg: `the store (Redis at ${redis.url}) answers again` },
    ]);
  },
);

it(
  "serves alone: a worker with a key for work alone completes a run, and a copy made meanwhile is whole [plane.alone] [plane.backup]",
  { timeout },
  async () => {
    const { plane, url } = await serve("one");
    const client = { CONTROL_PLANE_URL: url, FD_API_KEY: apiKey };
    const cli = (...args: string[]) => runCli(args, { cwd: folder, env: client });
    const { stdout } = await cli("keys", "create", "worker-1", "--scopes", "work");
    start(["worker"], { CONTROL_PLANE_URL: url, FD_API_KEY: stdout.trim() });
    expect(await cli("tenants", "create", "acme", "--per-minute", "600")).toMatchObject({
      code: 0,
    });
    const acme = ["--scopes", "admin", "--tenant", "acme", "--per-minute", "2"];
    const { stdout: secret } = await cli("keys", "create", "acme-admin", ...acme);
    const own = { ...client, FD_API_KEY: secret.trim() };
    const seen = await runCli(["runs", "list", "--json"], { cwd: folder, env: own });
    expect([seen.code, seen.stdout.trim()]).toEqual([0, '{"runs":[],"total":0}']);
    const set = await cli("budgets", "set", "tenant/acme", "--period", "day", "--cost", "0.5");
    expect([set.code, set.stdout], set.stderr).toEqual([
      0,
      expect.stringMatching(/tenant\/acme +day +\$0\.00 of \$0\.50/u),
    ]);
    expect(await cli("budgets", "set", "acme")).toMatchObject({ code: 2 });
    const submitted = await cli("submit", "helper", "--task", "Say hello", "--watch");
    expect([submitted.code, submitted.stdout]).toEqual([0, expect.stringContaining("Hello there")]);

    // Runs are made all the while the copy is.
    const headers = { authorization: `Bearer ${apiKey}` };
    const body = JSON.stringify({ agent_id: "helper", input: { task: "t" } });
    let isOver = false;
    const making = (async () => {
      while (!isOver) await fetch(`${url}/v1/runs`, { method: "POST", headers, body });
    })();
    const made = await cli("backup", "copy.sqlite");
    isOver = true;
    await making;
    expect(made).toMatchObject({ code: 0, stderr: "" });
    expect((await stat(join(folder, "copy.sqlite"))).mode & 0o777).toBe(0o600);
    const db = new DatabaseSync(join(folder, "copy.sqlite"), { readOnly: true });
    expect(db.prepare("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
    const count = Number(db.prepare("SELECT count(*) AS n FROM runs").get()?.["n"]);
    db.close();
    expect(count).toBeGreaterThan(0);
    expect((await cli("backup", "copy.sqlite")).code).toBe(2);
    expect(await cli("backup", "none/copy.sqlite")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(
        "none/copy.sqlite was not written: there is no such folder\n",
      ),
    });
    expect((await readdir(join(folder, "one"))).filter((name) => /backup/.test(name))).toEqual([]);
    expect((await readdir(folder)).filter((name) => name.endsWith(".part"))).toEqual([]);
    plane.kill("SIGTERM");
    expect((await plane.ended).code).toBe(0);

    await mkdir(join(folder, "two"));
    await copyFile(join(folder, "copy.sqlite"), join(folder, "two", "control-plane.sqlite"));
    const again = await serve("two");
    const restored = { CONTROL_PLANE_URL: again.url, FD_API_KEY: apiKey };
    const verified = await runCli(["audit", "verify"], { cwd: folder, env: restored });
    expect([verified.code, verified.stdout]).toEqual([0, expect.stringContaining("whole")]);
    const listed = await runCli(["keys", "list"], { cwd: folder, env: restored });
    expect(listed.stdout).toContain("worker-1");
  },
);

it(
  "shows what a model says in a worker of another process while it says it [events.text]",
  { timeout },
  async () => {
    const words = Array.from({ length: 40 }, (_, at) => `word${at} `);
    const goOn = Promise.withResolvers<void>();
    const breakOff = Promise.withResolvers<void>();
    const all = chatStream({ text: words });
    const half = all.indexOf("word20 ");
    const { url: vendorUrl, seen } = await vendor(async (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(all.slice(0, half));
      // The first answer breaks off; what was shown of it must not be taken for the beginning of the second.
      if (seen.length === 1) return void breakOff.promise.then(() => response.destroy());
      await goOn.promise;
      response.end(all.slice(half));
    });
    await writeFile(
      join(folder, "stateplane.config.yaml"),
      `providers: {lab: {kind: openai-compatible, baseURL: "${vendorUrl}/v1"}}\nagents: {helper: {model: lab/one}}\n`,
    );
    const { url } = await serve("one");
    const env = { CONTROL_PLANE_URL: url, FD_API_KEY: apiKey };
    const { stdout: key } = await runCli(["keys", "create", "worker-1", "--scopes", "work"], {
      cwd: folder,
      env,
    });
    start(["worker"], { CONTROL_PLANE_URL: url, FD_API_KEY: key.trim() });
    const watching = start(["submit", "helper", "--task", "Say it", "--watch"], env);
    // The model has not ended: only what it streamed can be shown.
    await watching.says("word19 ");
    breakOff.resolve();
    await watching.says(/broke off there[^]*word19 /);
    expect(watching.said().stdout).not.toContain("completed");
    goOn.resolve();
    const { code, stdout } = await watching.ended;
    expect(code).toBe(0);
    expect(stdout).toContain(words.join("").trimEnd());
  },
);

it(
  "with no worker, whoever watches a run or looks at all of them is told so, and how to start one [watch.no-worker]",
  { timeout },
  async () => {
    const { url } = await serve("one");
    const env = { CONTROL_PLANE_URL: url, FD_API_KEY: apiKey };
    const watching = start(["submit", "helper", "--task", "Say it", "--watch"], env);
    await watching.says(/no worker has taken it yet.*to start one: .*worker/);
    const look = await runCli(["top"], { cwd: folder, env: { REDIS_URL: redis.url, ...env } });
    expect(look.stdout).toMatch(/no worker takes what waits; to start one: .*worker/);
    start(["worker"], env);
    const { code, stdout, stderr } = await watching.ended;
    expect([code, stdout]).toEqual([0, expect.stringContaining("Hello there")]);
    expect(stderr.match(/no worker/gu)).toHaveLength(1);

    // Why a run failed is what its step's error says.
    const denied = [{ type: "tool", input: { tool_name: "nowhere", tool_input: {} } }];
    await writeFile(join(folder, "denied.json"), JSON.stringify(denied));
    const submit = ["submit", "helper", "--steps", "denied.json", "--watch"];
    expect(await runCli(submit, { cwd: folder, env })).toMatchObject({ code: 1 });
    const after = await runCli(["top"], { cwd: folder, env: { REDIS_URL: redis.url, ...env } });
    expect(after.stdout).toMatch(/NEWEST FAILURES[^]*run_\w+ +policy_denied: tool 'nowhere'/u);
  },
);

it(
  "refuses to serve without its first key, and to copy for a key without admin",
  { timeout },
  async () => {
    const refused = await runCli(["control-plane"], { cwd: folder, env: { REDIS_URL: redis.url } });
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("FD_API_KEY")]);
    const open = ["control-plane", "--host", "0.0.0.0", "--port", "0"];
    const guessed = await runCli(open, {
      cwd: folder,
      env: { REDIS_URL: redis.url, FD_API_KEY: "short" },
    });
    expect(guessed.code).toBe(2);
    expect(guessed.stderr).toMatch(/FD_API_KEY \(from .*\) has 5 characters and can be guessed/u);
    const { url, plane } = await serve("one");
    expect(await plane.says(/can be guessed/u)).toContain("has 12 characters");
    const env = { CONTROL_PLANE_URL: url, FD_API_KEY: apiKey };
    const { stdout } = await runCli(["keys", "create", "looker"], { cwd: folder, env });
    const looker = { ...env, FD_API_KEY: stdout.trim() };
    const copied = await runCli(["backup", "copy.sqlite"], { cwd: folder, env: looker });
    expect([copied.code, copied.stderr]).toEqual([
      2,
      expect.stringContaining("needs the scope admin"),
    ]);
    expect((await readdir(folder)).filter((name) => name.startsWith("copy"))).toEqual([]);
  },
);
