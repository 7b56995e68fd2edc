import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { listen } from "../support/listen.ts";
import { median, medianInterval, type MedianInterval, table } from "./figures.ts";
import { jobData, publish } from "./jobs.ts";
import { type Contender, endsEarly, openStage, type Stage } from "./stage.ts";

/** What a worker is started with; the first is what the others are held to, and the second says how much is chance. */
const ways = {
  nothing: {},
  "nothing, once more": {},
  "traces at 10 % and metrics": { isTraced: true },
  "the inspector, nobody looks": { args: ["--inspect"] },
  "the inspector, a page is open": { args: ["--inspect"], hasPage: true },
} satisfies Record<string, WayOptions>;

interface WayOptions {
  isTraced?: boolean;
  args?: readonly string[];
  hasPage?: boolean;
}
type Way = keyof typeof ways;
const names = Object.keys(ways) as Way[];
const optionsOf = (way: Way): WayOptions => ways[way];

export interface OverheadFigures {
  rounds: number;
  /** Of each worker in each of them. */
  steps: number;
  cpuMicrosPerStep: Record<Way, number>;
  stepsPerSecond: Record<Way, number>;
  /** What a step takes more than where nothing watches, as a share: medians over the rounds, 95 % intervals. */
  more: Record<Exclude<Way, "nothing">, { cpu: MedianInterval; time: MedianInterval }>;
}

/** What one of a round's steps took. */
interface Taken {
  cpuMicros: number;
  /** From the first report to the last of each turn. */
  micros: number;
}
type Round = Record<Way, Taken>;

/**
 * What traces, metrics and the inspector cost a worker. All of them are there all the time, warm, and take short turns
 * with the same steps, in one order and then in the reverse, so that whatever else the machine does, and whatever grows,
 * meets them alike. Each round gives one ratio to the worker that nothing watches; what is told is their median, and
 * between which two it is.
 *
 * What counts is the CPU time of all of a worker's threads in all of the round: also what it does while others have their
 * turn, since spans go out a second later.
 */
export async function benchOverhead(
  { seconds, concurrency }: { seconds: number; concurrency: number },
  note: (line: string) => void,
): Promise<OverheadFigures> {
  await using stage = await openStage();
  await using collector = await startCollector();
  const made = { concurrency, collector: collector.url };
  const contenders = names.map((way) => startContender(stage, way, made));
  for (const { turn } of contenders) await turn(warmUpSteps);
  const leave = new AbortController();
  const readings = contenders
    .filter(({ way }) => optionsOf(way).hasPage)
    .map(async ({ worker }) => read(await addressOf(stage, worker), leave.signal));
  const rounds: Round[] = [];
  // The first is for the page to be told all that it is told at first.
  await takeRound(contenders);
  const until = performance.now() + seconds * 1_000;
  while (performance.now() < until || rounds.length < fewestRounds) {
    rounds.push(await takeRound(contenders));
    if (rounds.length % 10 === 0) note(`${rounds.length} rounds: ${briefly(rounds)}`);
  }
  leave.abort();
  await Promise.all(readings);
  return figuresOf(rounds);
}

/** Past the steps that the inspector keeps whole, and until the compiler has done most of what it will do. */
const warmUpSteps = 6_000;
/** As many as an interval needs. */
const fewestRounds = 6;
const turnsInRound = 4;
const stepsInTurn = 200;

async function takeRound(contenders: readonly Contending[]): Promise<Round> {
  const cpu = () => contenders.map(({ worker }) => worker.cpuNanos() / 1_000);
  const before = cpu();
  const micros = contenders.map(() => 0);
  for (let nth = 0; nth < turnsInRound; nth += 1) {
    const order = [...contenders.keys()];
    for (const at of nth % 2 === 0 ? order : order.toReversed()) {
      micros[at] = (micros[at] ?? 0) + ((await contenders[at]?.turn(stepsInTurn)) ?? Number.NaN);
    }
  }
  const after = cpu();
  const steps = turnsInRound * stepsInTurn;
  const taken = contenders.map(({ way }, at): [Way, Taken] => [
    way,
    {
      cpuMicros: ((after[at] ?? Number.NaN) - (before[at] ?? 0)) / steps,
      micros: (micros[at] ?? Number.NaN) / steps,
    },
  ]);
  return Object.fromEntries(taken) as Round;
}

const moreOf = (rounds: readonly Round[], way: Way, what: keyof Taken) =>
  medianInterval(rounds.map((round) => round[way][what] / round.nothing[what] - 1));

const briefly = (rounds: readonly Round[]) =>
  names
    .filter((way) => way !== "nothing")
    .map((way) => `${way} ${percent(moreOf(rounds, way, "cpuMicros").median)}`)
    .join(", ");

function figuresOf(rounds: readonly Round[]): OverheadFigures {
  const each = <T>(of: (way: Way) => T) =>
    Object.fromEntries(names.map((way) => [way, of(way)])) as Record<Way, T>;
  const { nothing: _, ...more } = each((way) => ({
    cpu: moreOf(rounds, way, "cpuMicros"),
    time: moreOf(rounds, way, "micros"),
  }));
  return {
    rounds: rounds.length,
    steps: turnsInRound * stepsInTurn,
    cpuMicrosPerStep: each((way) => median(rounds.map((round) => round[way].cpuMicros))),
    stepsPerSecond: each((way) => 1e6 / median(rounds.map((round) => round[way].micros))),
    more,
  };
}

type Contending = ReturnType<typeof startContender>;

function startContender(
  { redis, sink, startWorker }: Stage,
  way: Way,
  { concurrency, collector }: { concurrency: number; collector: string },
) {
  const prefix = `bench:${names.indexOf(way)}:`;
  const { isTraced = false, args = [] } = optionsOf(way);
  const more = isTraced ? watching(collector) : {};
  const env = { REDIS_QUEUE_PREFIX: prefix, ...patient, ...more };
  const worker = startWorker({ concurrency, args, env });
  const ended = endsEarly(way, worker);
  let from = 0;
  /** @returns microseconds */
  const turn = async (steps: number): Promise<number> => {
    const jobs = Array.from({ length: steps }, (_, number) => tracedJob(from + number));
    from += steps;
    await sink.expect(steps);
    const reported = sink.next("reported");
    await publish(redis.client, jobs, `${prefix}stream:steps`);
    const { first, last } = await Promise.race([reported, ended]);
    return (last - first) / 1_000;
  };
  return { way, worker, turn };
}

/** As a control plane names a trace in each job. */
function tracedJob(number: number): ReturnType<typeof jobData> {
  const job = jobData(number);
  // Of a sequence that fills its range evenly: of however many in a row, a tenth is below a tenth of it.
  const share = Math.floor(((number * 0.618_033_988_749_895) % 1) * 2 ** 32);
  const traceId = `${"0".repeat(23)}1${share.toString(16).padStart(8, "0")}`;
  const context = { ...job.context, trace_id: traceId, span_id: "00f067aa0ba902b7" };
  return { ...job, context };
}

/** Where the machine stands still for a while, no report is sent twice and no job changes hands: either is other work. */
const patient = { WORKER_LEASE_MS: "600000", CONTROL_PLANE_TIMEOUT_MS: "600000" };

/** A tenth of the steps traced, and metrics to be asked for. */
const watching = (collector: string) => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: collector,
  OTEL_TRACES_SAMPLER: "traceidratio",
  OTEL_TRACES_SAMPLER_ARG: "0.1",
  OTEL_METRICS_EXPORTER: "none",
  WORKER_HTTP_PORT: "0",
});

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

const addressOf = async ({ folder }: Stage, { pid }: Contender) =>
  readFileSync(join(folder, `inspector-${pid}.txt`), "utf8").trim();

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

const percent = (share: number) => `${share < 0 ? "" : "+"}${(share * 100).toFixed(1)} %`;
const withInterval = ({ median: middle, low, high }: MedianInterval) =>
  `${percent(middle)} (${percent(low)} to ${percent(high)})`;

export function overheadTable(figures: OverheadFigures): string {
  const { rounds, steps, cpuMicrosPerStep, stepsPerSecond, more } = figures;
  const rows = names.map((way) => {
    const { cpu, time } = way === "nothing" ? { cpu: null, time: null } : more[way];
    return [
      way,
      cpuMicrosPerStep[way].toFixed(1),
      cpu === null ? "" : withInterval(cpu),
      stepsPerSecond[way].toFixed(0),
      time === null ? "" : withInterval(time),
    ];
  });
  return [
    `${rounds} rounds of ${steps} local retrievals each, once warm; medians of paired ratios, 95 % intervals`,
    table(["what watches the worker", "CPU µs a step", "more", "steps/s", "time, more"], rows),
  ].join("\n");
}
