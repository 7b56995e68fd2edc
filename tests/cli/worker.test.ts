import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { startTestRedis, type TestRedis } from "../support/redis.ts";
import { type FerrumDeckGateway, startFerrumDeckGateway } from "../support/ferrumdeck-gateway.ts";
import { processGroup, runCli, type RunningCli, startCli } from "../support/run-cli.ts";

const timeout = 240_000;
const stream = "fd:queue:stream:steps";

let folder: string;
let redis: TestRedis;
let client: Redis;
let gateway: FerrumDeckGateway;
let isAway: boolean;
let worker: RunningCli | null;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane-worker-"));
  redis = await startTestRedis();
  client = new Redis(redis.url);
  isAway = false;
  gateway = await startFerrumDeckGateway({
    failing: () => (isAway ? { status: 503, body: "" } : null),
  });
  worker = null;
});
afterEach(async () => {
  if (worker !== null) {
    worker.kill("SIGKILL");
    await worker.ended;
  }
  client.disconnect();
  await gateway.close();
  await redis.stop();
  await rm(folder, { recursive: true, force: true });
});

const env = (more: Record<string, string> = {}) => ({
  REDIS_URL: redis.url,
  CONTROL_PLANE_URL: gateway.url,
  FD_API_KEY: gateway.apiKey,
  ...more,
});
function startWorker(more: Record<string, string> = {}): RunningCli {
  worker = startCli(["worker", "--log-level", "debug"], { cwd: folder, env: env(more) });
  return worker;
}

/** A job as FerrumDeck's gateway writes it. */
async function publish(number: number, code: string): Promise<void> {
  const suffix = String(number).padStart(26, "0");
  const payload = {
    run_id: `run_${suffix}`,
    step_id: `stp_${suffix}`,
    step_type: "sandbox",
    input: { language: "bash", code, timeout_seconds: 120 },
    context: { tenant_id: "ten_1", project_id: "prj_1", trace_id: null, span_id: null },
  };
  const envelope = { id: payload.step_id, payload, created_at: Date.now(), attempts: 0 };
  await client.xadd(stream, "*", "data", JSON.stringify(envelope));
}

describe("stateplane worker, on FerrumDeck's contract", () => {
  it("reports each job once, drains on SIGTERM and exits 0", { timeout }, async () => {
    const running = startWorker();
    await running.says("the worker takes jobs");
    await publish(1, "echo first");
    await vi.waitFor(() => expect(gateway.results()).toHaveLength(1), { timeout: 60_000 });
    await publish(2, "sleep 2; echo second");
    await running.says(/policy gave its verdict[\s\S]*policy gave its verdict/);
    running.kill("SIGTERM");
    await running.says("stopping");
    // Not ours any more: it stays on the stream for another worker.
    await publish(3, "echo third");
    expect(await running.ended).toMatchObject({ code: 0, stdout: "" });
    const results = gateway.results();
    expect(results.map(({ stepId }) => stepId.slice(-1))).toEqual(["1", "2"]);
    expect(results[1]?.body).toMatchObject({
      status: "completed",
      output: { stdout: "second\n", exit_code: 0 },
    });
    expect(await client.xlen(stream)).toBe(1);
    expect(await processGroup(running.pid)).toEqual([]);
  });

  it(
    "hands a step back when the time to drain is over, for the next worker to run",
    { timeout },
    async () => {
      const running = startWorker({ WORKER_DRAIN_MS: "300" });
      await running.says("the worker takes jobs");
      await publish(1, "sleep 100");
      await running.says("policy gave its verdict");
      running.kill("SIGTERM");
      expect(await running.ended).toMatchObject({ code: 0 });
      expect(gateway.results()).toEqual([]);
      expect(await client.xlen(stream)).toBe(1);
      expect(await processGroup(running.pid)).toEqual([]);
    },
  );

  it(
    "waits for a control plane that is away, says so, and takes no job before",
    { timeout },
    async () => {
      isAway = true;
      await publish(1, "echo late");
      const running = startWorker();
      await running.says("can't be reached; trying again");
      expect(running.said().stderr).not.toContain("takes jobs");
      isAway = false;
      await running.says("the worker takes jobs");
      await vi.waitFor(() => expect(gateway.results()).toHaveLength(1), { timeout: 60_000 });
      running.kill("SIGINT");
      expect(await running.ended).toMatchObject({ code: 0 });
    },
  );

  it("can be stopped while it waits", { timeout }, async () => {
    isAway = true;
    const running = startWorker();
    await running.says("can't be reached; trying again");
    running.kill("SIGTERM");
    expect(await running.ended).toMatchObject({ code: 0 });
  });

  it("ends at once with exit 2 when its key is refused", { timeout }, async () => {
    const key = "not-the-key-of-this-gateway";
    const options = { cwd: folder, env: env({ FD_API_KEY: key }) };
    const { code, stderr } = await runCli(["worker"], options);
    expect(code).toBe(2);
    expect(stderr).toContain("FD_API_KEY (from environment variable FD_API_KEY)");
    expect(stderr).not.toContain(key);
  });

  it("lets a person see, put back and throw away dead letters", { timeout }, async () => {
    const running = startWorker();
    await running.says("the worker takes jobs");
    await client.xadd(stream, "*", "data", "{not json");
    await running.says("dead letter");
    const dlq = (...args: string[]) => runCli(["dlq", ...args], { cwd: folder, env: env() });
    const listed = await dlq("list", "--json");
    const [letter] = JSON.parse(listed.stdout) as { id: string; reason: string }[];
    expect(letter?.reason).toContain("not JSON");
    const id = letter?.id ?? "";
    expect((await dlq("show", id)).stdout).toContain("{not json");
    expect((await dlq("list")).stdout).toContain(id);
    expect(await dlq("retry", id)).toMatchObject({ code: 0 });
    await vi.waitFor(async () => {
      const [again] = JSON.parse((await dlq("list", "--json")).stdout) as { id: string }[];
      expect(again).toBeDefined();
    }, 60_000);
    const [again] = JSON.parse((await dlq("list", "--json")).stdout) as { id: string }[];
    expect(await dlq("drop", again?.id ?? "")).toMatchObject({ code: 0 });
    expect(JSON.parse((await dlq("list", "--json")).stdout)).toEqual([]);
    expect(await dlq("drop", id)).toMatchObject({ code: 2 });
    running.kill("SIGTERM");
    expect((await running.ended).code).toBe(0);
  });
});
