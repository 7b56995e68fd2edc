import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { useHttpServers } from "../support/http-servers.ts";
import { startTestRedis, type TestRedis } from "../support/redis.ts";
import { type RunningCli, runCli, startCli } from "../support/run-cli.ts";

interface Span {
  name: string;
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  service: string;
}

const timeout = 240_000;
const { serve } = useHttpServers();
let folder: string;
let redis: TestRedis;
let spans: Span[];
let env: Record<string, string>;
let running: RunningCli[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane-traces-"));
  redis = await startTestRedis();
  spans = [];
  running = [];
  const collector = await serve((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      if (request.url === "/v1/traces") keep(JSON.parse(Buffer.concat(chunks).toString()));
      response.end("{}");
    });
  });
  env = {
    REDIS_URL: redis.url,
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_METRICS_EXPORTER: "none",
  };
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
  await redis.stop();
  await rm(folder, { recursive: true, force: true });
});

function keep({ resourceSpans }: { resourceSpans: readonly Record<string, unknown>[] }): void {
  for (const { resource, scopeSpans } of resourceSpans as readonly {
    resource: { attributes: { key: string; value: { stringValue?: string } }[] };
    scopeSpans: { spans: Omit<Span, "service">[] }[];
  }[]) {
    const name = resource.attributes.find(({ key }) => key === "service.name");
    const service = name?.value.stringValue ?? "";
    for (const { spans: some } of scopeSpans)
      spans.push(...some.map((span) => ({ ...span, service })));
  }
}

const start = (args: string[], more: Record<string, string>) => {
  const cli = startCli(args, { cwd: folder, env: { ...env, ...more } });
  running.push(cli);
  return cli;
};

/** What a run of two steps, asked for twice under one key, sends to the collector; and its own trace. */
async function traceRun(more: Record<string, string> = {}): Promise<string> {
  const key = "fd_first_key";
  const plane = start(["control-plane", "--port", "0", "--json", "--data-dir", "data"], {
    FD_API_KEY: key,
    OTEL_SERVICE_NAME: "plane",
    ...more,
  });
  const [, url = ""] = /"url":"([^"]+)"/.exec(await plane.says(/"kind":"ready"/)) ?? [];
  const client = { CONTROL_PLANE_URL: url, FD_API_KEY: key };
  start(["worker"], { ...client, OTEL_SERVICE_NAME: "worker", ...more });
  const ask = async () => {
    const answer = await fetch(`${url}/v1/runs`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "idempotency-key": "the same" },
      body: JSON.stringify({
        agent_id: "helper",
        input: {},
        steps: [
          { type: "retrieval", input: { query: "a", documents: [{ content: "a" }] } },
          { type: "llm", input: { task: "Say hello" } },
        ],
      }),
    });
    return (await answer.json()) as { id: string; trace_id: string };
  };
  const run = await ask();
  expect(await ask()).toMatchObject({ id: run.id, trace_id: run.trace_id });
  const watched = await runCli(["runs", "watch", run.id], { cwd: folder, env: client });
  expect(watched.code).toBe(0);
  for (const each of running) {
    each.kill("SIGTERM");
    await each.ended;
  }
  return run.trace_id;
}

it(
  "a run is one tree of spans, from its submission to the reports of its steps, across the processes [traces.one-tree]",
  { timeout },
  async () => {
    const traceId = await traceRun();
    expect(new Set(spans.map(({ service }) => service))).toEqual(new Set(["plane", "worker"]));
    expect(new Set(spans.map((span) => span.traceId))).toEqual(new Set([traceId]));
    const ids = new Set(spans.map(({ spanId }) => spanId));
    const roots = spans.filter(({ parentSpanId = "" }) => !ids.has(parentSpanId));
    expect(roots.map(({ name, parentSpanId = "" }) => [name, parentSpanId])).toEqual([
      ["create_run", ""],
    ]);
    const steps = spans.map(({ name }) => name).filter((name) => name.startsWith("step."));
    expect(steps.toSorted()).toEqual(["step.execute.llm", "step.execute.retrieval"]);
  },
);

it(
  "a run whose request names no trace is sampled as a root is [traces.one-tree]",
  { timeout },
  async () => {
    await traceRun({ OTEL_TRACES_SAMPLER: "parentbased_always_off" });
    expect(spans).toEqual([]);
  },
);
