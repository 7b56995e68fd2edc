import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Feed } from "../../adapters/console/inspector/feed.ts";
import { startInspector } from "../../adapters/console/inspector/serve.ts";
import { stepMachine } from "../../machines/step/machine.ts";
import { chromiumPath, startChromium } from "../support/chromium.ts";
import { listen } from "../support/listen.ts";
import { mib, quantile, table } from "./figures.ts";
import { jobData, publish } from "./jobs.ts";
import { openStage, type Stage } from "./stage.ts";

const ways = ["off", "traced and measured", "nobody looks", "a page is open"] as const;
type Way = (typeof ways)[number];

export interface InspectorFigures {
  steps: number;
  rounds: number;
  /** The worker's CPU time in steady state. */
  cpuMicrosPerStep: Record<Way, number>;
  /** To the one without an inspector, over all rounds. */
  ratios: Record<Exclude<Way, "off">, number>;
  /** Null without Chromium. */
  page: PageFigures | null;
}

interface PageFigures {
  actors: number;
  updates: number;
  p50Ms: number;
  p95Ms: number;
  maxMs: number;
  /** The page's own, collected, before and after the events. */
  heapBytes: number;
  heapAfterBytes: number;
  events: number;
}

/**
 * What the inspector costs a worker, and how quickly its page draws. The three workers are there all the time and take
 * turns, a window of steps each, so that whatever else the machine does meets them alike. They warm up first, past the
 * steps that are recorded for later, so that neither their start nor those are counted.
 */
export async function benchInspector(
  { steps, rounds, concurrency }: { steps: number; rounds: number; concurrency: number },
  note: (line: string) => void,
): Promise<InspectorFigures> {
  const measured: Record<Way, number>[] = [];
  {
    await using stage = await openStage();
    await using collector = await startCollector();
    const made = { concurrency, collector: collector.url };
    const contenders = ways.map((way) => startContender(stage, way, made));
    for (const { run } of contenders) await run(warmUpSteps);
    const leave = new AbortController();
    const { worker } = contenders[ways.indexOf("a page is open")] as (typeof contenders)[number];
    const address = join(stage.folder, `inspector-${worker.pid}.txt`);
    const reading = read(readFileSync(address, "utf8").trim(), leave.signal);
    for (let round = 0; round < rounds; round += 1) {
      const found: Partial<Record<Way, number>> = {};
      for (let turn = 0; turn < ways.length; turn += 1) {
        const next = contenders[(round + turn) % ways.length];
        if (next !== undefined) found[next.way] = await next.run(Math.ceil(steps / rounds));
      }
      measured.push(found as Record<Way, number>);
      note(
        `round ${round + 1}: ${ways.map((way) => `${way} ${found[way]?.toFixed(0)} µs`).join(", ")}`,
      );
    }
    leave.abort();
    await reading;
  }
  const mean = (way: Way) => measured.reduce((sum, round) => sum + round[way], 0) / rounds;
  const cpu = {
    off: mean("off"),
    "traced and measured": mean("traced and measured"),
    "nobody looks": mean("nobody looks"),
    "a page is open": mean("a page is open"),
  };
  return {
    steps,
    rounds,
    cpuMicrosPerStep: cpu,
    ratios: {
      "traced and measured": cpu["traced and measured"] / cpu.off,
      "nobody looks": cpu["nobody looks"] / cpu.off,
      "a page is open": cpu["a page is open"] / cpu.off,
    },
    page: chromiumPath === null ? null : await benchPage(note),
  };
}

const warmUpSteps = 4_000;

/** A tenth of the steps traced, and metrics to be asked for. */
const watching = (collector: string) => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: collector,
  OTEL_TRACES_SAMPLER: "traceidratio",
  OTEL_TRACES_SAMPLER_ARG: "0.1",
  OTEL_METRICS_EXPORTER: "none",
  WORKER_HTTP_PORT: "0",
});

function startContender(
  { redis, sink, startWorker }: Stage,
  way: Way,
  { concurrency, collector }: { concurrency: number; collector: string },
) {
  const prefix = `bench:${way.replaceAll(" ", "-")}:`;
  const isInspected = way === "nobody looks" || way === "a page is open";
  const args = isInspected ? ["--inspect"] : [];
  const more = way === "traced and measured" ? watching(collector) : {};
  const worker = startWorker({ concurrency, args, env: { REDIS_QUEUE_PREFIX: prefix, ...more } });
  let from = 0;
  /** Its CPU time for one of so many steps, microseconds. */
  const run = async (count: number): Promise<number> => {
    sink.tell({ kind: "expect", reports: count });
    const reported = sink.next("reported");
    const jobs = Array.from({ length: count }, (_, number) => jobData(from + number));
    from += count;
    const before = worker.usage().cpuMs;
    await publish(redis.client, jobs, `${prefix}stream:steps`);
    await reported;
    // What is done after the last report belongs to it, too.
    await sleep(300);
    return ((worker.usage().cpuMs - before) * 1_000) / count;
  };
  return { way, worker, run };
}

/** Takes what is sent to it, and looks at none of it. */
async function startCollector() {
  const server = createServer((request, response) => {
    request.resume();
    request.on("end", () => response.end("{}"));
  });
  const port = await listen(server);
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Takes what a page would be told. */
async function read(address: string, signal: AbortSignal): Promise<void> {
  const [url = "", token = ""] = address.split("/#token=");
  const headers = { authorization: `Bearer ${token}` };
  try {
    const { body } = await fetch(`${url}/inspect/stream`, { headers, signal });
    for await (const _part of body ?? []);
  } catch {
    if (!signal.aborted) throw new Error("the inspector's stream ended by itself");
  }
}

const actors = 10_000;
const movesPerTick = 100;
const tickMs = 20;
const events = 100_000;

/** 10,000 steps alive, 5,000 moves a second, ten of which also end a step and begin another: 100,000 events. */
async function benchPage(note: (line: string) => void): Promise<PageFigures> {
  const feed = new Feed(Date.now);
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const inspector = await startInspector({
    feed,
    machines: { step: stepMachine },
    find: async () => null,
    host: "127.0.0.1",
    port: 0,
    hide: (text) => text,
    log,
  });
  const states = ["pending", "policy-check.checking", "executing.working", "validating"];
  let made = 0;
  const appear = () => {
    made += 1;
    const key = { runId: `run_${made % 100}`, stepId: `stp_${made}` };
    const about = { machine: "step", name: key.stepId, parent: null, about: "a_tool" };
    feed.appeared({ id: `x:${made}`, ...about, ...key, stepType: "tool", passed: [] });
    move(made, "pending");
  };
  const move = (n: number, value: string) =>
    feed.moved({
      id: `x:${n}`,
      event: "record.fresh",
      detail: { type: "record.fresh" },
      source: null,
      value,
      status: "active",
      context: { runId: `run_${n % 100}`, attempts: 0 },
      at: Date.now(),
    });
  const browser = await startChromium();
  try {
    const page = await browser.newPage({ viewport: { width: 1500, height: 950 } });
    const session = await page.context().newCDPSession(page);
    await session.send("Performance.enable");
    const heap = async () => {
      await session.send("HeapProfiler.collectGarbage");
      const { metrics } = await session.send("Performance.getMetrics");
      return metrics.find(({ name }) => name === "JSHeapUsedSize")?.value ?? Number.NaN;
    };
    await page.goto(inspector.address);
    await page.getByText("live", { exact: true }).waitFor();
    for (let n = 0; n < actors; n += 1) appear();
    await page.getByText(`${actors.toLocaleString("en")} of`).waitFor();
    note(`${actors} actors are on the page`);
    const heapBytes = await heap();
    await page.evaluate('performance.clearMeasures("inspector.update")');
    for (let moved = 0; moved < events; moved += movesPerTick) {
      for (let nth = 0; nth < movesPerTick - 10; nth += 1) {
        const n = made - Math.floor(Math.random() * actors);
        move(n, states[Math.floor(Math.random() * states.length)] ?? "pending");
      }
      for (let nth = 0; nth < 10; nth += 1) {
        const [runId, stepId] = [`run_${(made - actors + 1) % 100}`, `stp_${made - actors + 1}`];
        feed.ended({
          runId,
          stepId,
          stepType: "tool",
          passed: [],
          state: "settled",
          outcome: "completed",
        });
        appear();
      }
      await sleep(tickMs);
    }
    const took = await page.evaluate<number[]>(
      'performance.getEntriesByName("inspector.update").map(({ duration }) => duration)',
    );
    return {
      actors,
      updates: took.length,
      p50Ms: quantile(took, 0.5),
      p95Ms: quantile(took, 0.95),
      maxMs: Math.max(...took),
      heapBytes,
      heapAfterBytes: await heap(),
      events,
    };
  } finally {
    await browser.close();
    await inspector.close();
  }
}

export function inspectorTable(figures: InspectorFigures): string {
  const { steps, rounds, cpuMicrosPerStep, ratios, page } = figures;
  const percent = (ratio: number) => `${((ratio - 1) * 100).toFixed(1)} %`;
  const rows = ways.map((way) => [
    way,
    cpuMicrosPerStep[way].toFixed(0),
    way === "off" ? "" : percent(ratios[way]),
  ]);
  return [
    `${steps} local retrievals each once warm, in ${rounds} turns`,
    table(["the worker is", "CPU µs a step", "more"], rows),
    page === null
      ? "the page was not measured: there is no Chromium"
      : `the page, ${page.actors} actors alive: from a change to its picture ${page.p50Ms.toFixed(0)} ms, 95th percentile ${page.p95Ms.toFixed(0)} ms, at most ${page.maxMs.toFixed(0)} ms (${page.updates} updates); heap ${mib(page.heapBytes)}, after ${page.events} events ${mib(page.heapAfterBytes)}`,
  ].join("\n");
}
