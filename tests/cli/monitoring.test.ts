import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type FerrumDeckGateway, startFerrumDeckGateway } from "../support/ferrumdeck-gateway.ts";
import { listen } from "../support/listen.ts";
import { startTestRedis, type TestRedis } from "../support/redis.ts";
import { runCli, type RunningCli, startCli } from "../support/run-cli.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const folder = useTemporaryFolder();
const timeout = 240_000;
const patience = { timeout: 60_000, interval: 50 };

let redis: TestRedis;
let client: Redis;
let gateway: FerrumDeckGateway;
let isAway = false;
const running: RunningCli[] = [];
/** What came to the collector: by whom, and what by path. */
const keys = new Set<string>();
const exported: { path: string; names: string[] }[] = [];
const collector = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const names = Buffer.concat(chunks)
      .toString()
      .matchAll(/"name":"([^"]+)"/g);
    keys.add(`${request.headers["x-key"]}`);
    exported.push({ path: request.url ?? "", names: [...names].map(([, name = ""]) => name) });
    response.end("{}");
  });
});
let endpoint = "";

beforeAll(async () => {
  redis = await startTestRedis();
  client = new Redis(redis.url);
  gateway = await startFerrumDeckGateway({
    failing: () => (isAway ? { status: 503, body: "" } : null),
  });
  endpoint = `http://127.0.0.1:${await listen(collector)}`;
});
afterAll(async () => {
  for (const { kill, ended } of running) {
    kill("SIGKILL");
    await ended;
  }
  client.disconnect();
  collector.closeAllConnections();
  collector.close();
  await gateway.close();
  await redis.stop();
});

function startWorker(more: Record<string, string>): RunningCli {
  const env = {
    REDIS_URL: redis.url,
    CONTROL_PLANE_URL: gateway.url,
    FD_API_KEY: gateway.apiKey,
    ...more,
  };
  const worker = startCli(["worker"], { cwd: folder, env });
  running.push(worker);
  return worker;
}

async function publish(number: number, input: object, stepType = "retrieval"): Promise<void> {
  const suffix = String(number).padStart(26, "0");
  const payload = {
    run_id: `run_${suffix}`,
    step_id: `stp_${suffix}`,
    step_type: stepType,
    input,
    context: { tenant_id: "ten_1", project_id: "prj_1", trace_id: null, span_id: null },
  };
  const envelope = { id: payload.step_id, payload, created_at: Date.now(), attempts: 0 };
  await client.xadd("fd:queue:stream:steps", "*", "data", JSON.stringify(envelope));
}

const ask = async (url: string) => {
  const answer = await fetch(url);
  return { status: answer.status, text: await answer.text() };
};

const isReady = (url: string) =>
  vi.waitFor(async () => expect((await ask(`${url}/readyz`)).status).toBe(200), patience);

/** Samples of Prometheus' text format: the value by the name with its labels, as they stand there. */
const samples = (text: string) =>
  new Map(
    text
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"))
      .map((line) => {
        const at = line.lastIndexOf(" ");
        return [line.slice(0, at), Number(line.slice(at + 1))] as const;
      }),
  );

describe("a worker that is watched", () => {
  it(
    "answers for its health and counts its steps, for who asks and for the collector [metrics.worker]",
    { timeout },
    async () => {
      const headersFile = join(folder, "headers");
      writeFileSync(headersFile, "x-key=from%20a%20file\n");
      const worker = startWorker({
        WORKER_HTTP_PORT: "0",
        OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
        OTEL_EXPORTER_OTLP_HEADERS_FILE: headersFile,
        OTEL_METRIC_EXPORT_INTERVAL: "200",
      });
      const said = await worker.says(/"url":"http:[^"]+","msg":"health and metrics/);
      const [, url = ""] = /"url":"(http:[^"]+)","msg":"health/.exec(said) ?? [];
      await worker.says("the worker takes jobs");
      expect((await ask(`${url}/healthz`)).status).toBe(200);
      expect((await ask(`${url}/nothing`)).status).toBe(404);
      expect((await fetch(`${url}/metrics`, { method: "POST" })).status).toBe(405);
      await isReady(url);

      await publish(1, { query: "lease", documents: [{ content: "a lease is renewed" }] });
      await publish(2, { documents: [] });
      await publish(3, { tool_name: "nobodys_tool", tool_input: {} }, "tool");
      const outcome = (type: string, how: string) =>
        [...samples(metrics)].find(
          ([name]) =>
            name.startsWith("stateplane_steps_total{") &&
            name.includes(`step_type="${type}"`) &&
            name.includes(`outcome="${how}"`),
        )?.[1];
      let metrics = "";
      await vi.waitFor(async () => {
        metrics = (await ask(`${url}/metrics`)).text;
        expect(outcome("retrieval", "completed")).toBe(1);
        expect(outcome("retrieval", "failed")).toBe(1);
        expect(outcome("tool", "failed")).toBe(1);
      }, patience);
      const names = new Set([...samples(metrics).keys()].map((key) => key.split("{", 1)[0]));
      for (const name of [
        "stateplane_step_duration_seconds_bucket",
        "stateplane_step_state_duration_seconds_count",
        "stateplane_store_duration_seconds_count",
        "stateplane_control_plane_duration_seconds_count",
        "stateplane_queue_waiting",
        "stateplane_queue_dead_letters",
        "stateplane_steps_capacity",
        "stateplane_policy_verdicts_total",
        "nodejs_eventloop_delay_p99_seconds",
      ]) {
        expect(names).toContain(name);
      }
      const denied = [...samples(metrics)].find(([name]) => name.includes('verdict="deny"'));
      expect(denied?.[1]).toBe(1);
      // Of runs and steps nothing is told.
      expect(metrics).not.toMatch(/run_0|stp_0|ten_1/);
      await vi.waitFor(() => {
        const sent = exported.filter(({ path }) => path === "/v1/metrics");
        expect(sent.flatMap((one) => one.names)).toContain("stateplane.steps");
      }, patience);
      expect(keys).toContain("from a file");

      const env = {
        REDIS_URL: redis.url,
        CONTROL_PLANE_URL: gateway.url,
        FD_API_KEY: gateway.apiKey,
      };
      const workers = new URL(url).host;
      const look = await runCli(["top", "--json", "--workers", workers], { cwd: folder, env });
      expect(look).toMatchObject({ code: 0 });
      expect(JSON.parse(look.stdout)).toMatchObject({
        queue: { length: 0, pending: 0, parked: 0, waitingMs: null, consumers: [{ taken: 0 }] },
        states: {},
        runs: { tokens: 0 },
        troubles: [],
      });

      isAway = true;
      try {
        await vi.waitFor(async () => {
          const { status, text } = await ask(`${url}/readyz`);
          expect([status, text]).toEqual([503, expect.stringContaining("control plane")]);
        }, patience);
        expect((await ask(`${url}/healthz`)).status).toBe(200);
        const half = await runCli(["top", "--json"], { cwd: folder, env });
        expect(half).toMatchObject({ code: 3, stderr: "" });
        expect(JSON.parse(half.stdout)).toMatchObject({
          queue: { length: 0 },
          runs: null,
          troubles: [
            expect.stringMatching(/^the control plane can't be reached: (?!.*can't be r)/),
          ],
        });
      } finally {
        isAway = false;
      }
      await isReady(url);
      worker.kill("SIGTERM");
      expect((await worker.ended).code).toBe(0);
    },
  );

  it(
    "works without what can't be had: a port that is taken, a collector that is away [metrics.trouble]",
    { timeout },
    async () => {
      const { port } = new URL(endpoint);
      const worker = startWorker({
        WORKER_HTTP_PORT: port,
        OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9",
        OTEL_METRIC_EXPORT_INTERVAL: "100",
      });
      await worker.says(
        `port ${port} of 127.0.0.1 (from environment variable WORKER_HTTP_PORT) is taken`,
      );
      await worker.says("the worker takes jobs");
      await worker.says("the collector does not take metrics");
      await publish(4, { query: "lease", documents: [{ content: "a lease is renewed" }] });
      await worker.says("the step completed");
      worker.kill("SIGTERM");
      const { code, stderr } = await worker.ended;
      expect(code).toBe(0);
      expect(stderr.split("the collector does not take metrics")).toHaveLength(2);
    },
  );
});
