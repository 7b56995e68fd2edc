import { setTimeout as sleep } from "node:timers/promises";
import { Feed } from "../../adapters/console/inspector/feed.ts";
import { startInspector } from "../../adapters/console/inspector/serve.ts";
import { stepMachine } from "../../machines/step/machine.ts";
import { chromiumPath, startChromium } from "../support/chromium.ts";
import { mib, quantile } from "./figures.ts";

export interface InspectorFigures {
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

const actors = 10_000;
const movesPerTick = 100;
const tickMs = 20;
const events = 100_000;

/** How quickly the page draws: 10,000 steps alive, 5,000 moves a second, ten of which also end a step and begin another: 100,000 events. */
export async function benchInspector(note: (line: string) => void): Promise<InspectorFigures> {
  if (chromiumPath === null)
    throw new Error("the inspector's page is looked at in Chromium: there is none");
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
          actorId: `x:${made - actors + 1}`,
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
  const { p50Ms, p95Ms, maxMs, updates, heapBytes, heapAfterBytes } = figures;
  return `the page, ${figures.actors} actors alive: from a change to its picture ${p50Ms.toFixed(0)} ms, 95th percentile ${p95Ms.toFixed(0)} ms, at most ${maxMs.toFixed(0)} ms (${updates} updates); heap ${mib(heapBytes)}, after ${figures.events} events ${mib(heapAfterBytes)}`;
}
