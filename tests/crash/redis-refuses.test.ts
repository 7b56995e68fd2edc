import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createRedisBackend } from "../../adapters/redis/backend.ts";
import { toEnvelope } from "../../machines/contracts/domain/job.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { type FerrumDeckGateway, startFerrumDeckGateway } from "../support/ferrumdeck-gateway.ts";
import { startTestRedis, type TestRedis } from "../support/redis.ts";
import { type RunningCli, startCli } from "../support/run-cli.ts";

const patience = { timeout: 40_000, interval: 50 };

let server: TestRedis;
let redis: Redis;
let gateway: FerrumDeckGateway;
let backend: StepBackend;
let folder: string;
let worker: RunningCli;

beforeEach(async () => {
  [server, gateway] = await Promise.all([startTestRedis(), startFerrumDeckGateway()]);
  redis = new Redis(server.url);
  folder = await mkdtemp(join(tmpdir(), "stateplane-test-"));
  backend = await createRedisBackend({ url: server.url, prefix: "fd:queue:", consumer: "test" });
  worker = startCli(["worker"], {
    cwd: folder,
    env: {
      REDIS_URL: server.url,
      CONTROL_PLANE_URL: gateway.url,
      FD_API_KEY: gateway.apiKey,
      LOG_FORMAT: "json",
    },
  });
  await worker.says("takes jobs");
});
afterEach(async () => {
  worker.kill("SIGKILL");
  await worker.ended;
  await backend.close();
  redis.disconnect();
  await Promise.all([gateway.close(), server.stop()]);
  await rm(folder, { recursive: true, force: true });
});

/** Each in a run of its own: the gateway ends a run with the first result. */
async function publish(name: string, count = 5): Promise<void> {
  for (let number = 0; number < count; number += 1) {
    const key = { runId: `run_${name}${number}`, stepId: `stp_${name}${number}` };
    const scope = { tenantId: "t", projectId: "p", agentId: null, traceId: null, spanId: null };
    const input = { query: "x", documents: [{ content: "x" }] };
    const job = { ...key, stepType: "retrieval" as const, input, ...scope, createdAt: Date.now() };
    await backend.queue.publish({ data: toEnvelope(job) });
  }
}

const reported = () => gateway.results().length;

interface Refusal {
  /** From here on the server refuses what the worker writes. */
  begin(): Promise<unknown>;
  end(): Promise<unknown>;
  says: RegExp;
}

const refusals: Record<string, Refusal> = {
  "is full": {
    begin: async () => {
      await redis.config("SET", "maxmemory-policy", "noeviction");
      await redis.config("SET", "maxmemory", "1");
    },
    end: () => redis.config("SET", "maxmemory", "0"),
    says: /OOM|maxmemory|full/u,
  },
  "is demoted to a replica": {
    // Of a server that there is not: what it holds stays.
    begin: () => redis.replicaof("127.0.0.1", 1),
    end: () => redis.replicaof("NO", "ONE"),
    says: /READONLY|replica/u,
  },
};

describe("a worker whose Redis refuses writes", () => {
  it.each(Object.keys(refusals))(
    "%s: says so once, fails nothing, and goes on when it can [trouble.whole-worker]",
    { timeout: 90_000 },
    async (name) => {
      const { begin, end, says } = refusals[name] as Refusal;
      await publish("before");
      await vi.waitFor(() => expect(reported()).toBe(5), patience);
      // The jobs are there, and nobody may open them.
      await publish("during");
      await begin();
      await publish("refused").catch(() => {});
      await worker.says(says);
      await end();
      await publish("after");
      await vi.waitFor(() => expect(reported()).toBeGreaterThanOrEqual(15), patience);
      await vi.waitFor(async () => {
        expect(await backend.queue.stats()).toMatchObject({ length: 0, pending: 0 });
      }, patience);
      const results = gateway.results();
      expect(results.map(({ body }) => body["status"])).toEqual(results.map(() => "completed"));
      const steps = results.map(({ stepId }) => stepId);
      expect(new Set(steps).size).toBe(steps.length);
      const { stderr, stdout } = worker.said();
      const told = (stderr + stdout).split("\n").filter((line) => says.test(line));
      // Said when it began, not with every try.
      expect(told.length).toBeLessThanOrEqual(3);
      worker.kill("SIGTERM");
      expect((await worker.ended).code).toBe(0);
    },
  );
});
