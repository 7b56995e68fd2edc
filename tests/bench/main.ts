/**
 * npm run bench -- [SUBCOMMAND] [--rounds 5] [--json]
 *
 *   throughput  against a plain loop and BullMQ  [--steps] [--concurrency] [--processes] [--profile FOLDER]
 *   latency     from XADD to executing and to the report, idle and at half load  [--concurrency]
 *   chart       the step chart interpreted and compiled
 *   parked      what a parked approval weighs, and how soon it goes on  [--parked]
 *   live        what a live llm step weighs against a bare SDK call  [--live]
 *   loop        an agent's loop of 20 turns against one over the bare SDK, and what its turns cost the store
 *   retrieval   recall of words, vectors and both over the project's own docs, offline
 *   mcp         calls of a tool server over standard streams, against the bare SDK client  [--calls]
 *   workflow    what a step of a workflow costs the control plane, 1,000 parallel steps, memory over many runs
 *   sandbox     what a sandboxed true, python and node take beyond the bare driver's command
 *   overhead    what traces, metrics and the inspector cost a worker, with 95 % intervals  [--seconds]
 *   inspector   how quickly the inspector's page draws 10,000 machines; needs Chromium
 *   screening   precision, recall and benign texts flagged, part by part, and what a megabyte takes
 *   gate        how often an eval's gate fails, where nothing changed and where something did  [--comparisons]
 *   eval        200 trials of an eval at parallel 16 with a model of 200 ms, against the models' time alone
 *   startup     how soon the program is there, and what it takes when idle  [--built: from dist/]
 *
 * Every ratio is between figures of the same run; every figure is the median over the rounds. Without a
 * subcommand all of them run. Needs redis-server on the PATH, and Linux for what /proc tells of a process.
 */
import { parseArgs } from "node:util";
import { benchChart, chartTable } from "./chart.ts";
import { benchGate, gateTable } from "./gate.ts";
import { benchInspector, inspectorTable } from "./inspector.ts";
import { benchEval, evalTable } from "./eval.ts";
import { benchLatency, latencyTable } from "./latency.ts";
import { benchLive, liveTable } from "./live.ts";
import { benchLoop, loopTable } from "./loop.ts";
import { benchRetrieval, retrievalTable } from "./retrieval.ts";
import { benchMcp, mcpTable } from "./mcp.ts";
import { benchOverhead, overheadTable } from "./overhead.ts";
import { benchParked, parkedTable } from "./parked.ts";
import { benchSandbox, sandboxTable } from "./sandbox.ts";
import { benchScreening, screeningTable } from "./screening.ts";
import { benchStartup, startupTable } from "./startup.ts";
import { benchWorkflow, workflowTable } from "./workflow.ts";
import { benchThroughput, throughputTable } from "./throughput.ts";
import { endWithNeed } from "../support/needs-redis.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "5" },
    steps: { type: "string", default: "20000" },
    concurrency: { type: "string", default: "64" },
    processes: { type: "string", default: "1" },
    profile: { type: "string" },
    parked: { type: "string", default: "10000" },
    live: { type: "string", default: "2000" },
    calls: { type: "string", default: "1000" },
    seconds: { type: "string", default: "120" },
    comparisons: { type: "string", default: "100" },
    built: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const rounds = Number(values.rounds);
const concurrency = Number(values.concurrency);
const note = (line: string) => process.stderr.write(`${line}\n`);

/** Figures as they are for `--json`, and as a person reads them. */
interface Bench {
  figures: unknown;
  text: string;
}
const as = <F>(figures: F, toText: (figures: F) => string): Bench => ({
  figures,
  text: toText(figures),
});

const benches: Record<string, () => Promise<Bench>> = {
  throughput: async () => {
    const { steps, processes, profile = null } = values;
    const count = { steps: Number(steps), processes: Number(processes) };
    const options = { ...count, concurrency, rounds, profile };
    return as(await benchThroughput(options, note), throughputTable);
  },
  latency: async () => as(await benchLatency({ rounds, concurrency }, note), latencyTable),
  chart: async () => as(benchChart(rounds), chartTable),
  parked: async () => as(await benchParked(Number(values.parked), 50), parkedTable),
  live: async () => as(await benchLive({ count: Number(values.live), rounds }, note), liveTable),
  loop: async () => as(await benchLoop(rounds), loopTable),
  retrieval: async () => as(await benchRetrieval(note), retrievalTable),
  mcp: async () => as(await benchMcp(Number(values.calls), rounds), mcpTable),
  workflow: async () => as(await benchWorkflow(), workflowTable),
  sandbox: async () => as(await benchSandbox(rounds, note), sandboxTable),
  overhead: async () => {
    const options = { seconds: Number(values.seconds), concurrency };
    return as(await benchOverhead(options, note), overheadTable);
  },
  inspector: async () => as(await benchInspector(note), inspectorTable),
  screening: async () => as(benchScreening(rounds), screeningTable),
  gate: async () => as(benchGate(Number(values.comparisons), note), gateTable),
  eval: async () => as(await benchEval(rounds, note), evalTable),
  startup: async () =>
    as(await benchStartup({ rounds, isBuilt: values.built }, note), startupTable),
};

const asked = positionals.length === 0 ? Object.keys(benches) : positionals;
const unknown = asked.filter((name) => !(name in benches));
if (unknown.length > 0) {
  note(`unknown: ${unknown.join(", ")}; choose from ${Object.keys(benches).join(", ")}`);
  process.exit(2);
}
const all: Record<string, unknown> = {};
for (const name of asked) {
  const bench = await benches[name]?.().catch(endWithNeed);
  if (bench === undefined) continue;
  all[name] = bench.figures;
  if (!values.json) process.stdout.write(`${name}: ${bench.text}\n\n`);
}
if (values.json) process.stdout.write(`${JSON.stringify(all)}\n`);
