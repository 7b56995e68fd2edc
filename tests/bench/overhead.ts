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
  /** How often all workers were started anew, and the rounds of all starts together. */
  starts: number;
  rounds: number;
  /** Of each worker in each of them. */
  steps: number;
  cpuMicrosPerStep: Record<Way, number>;
  stepsPerSecond: Record<Way, number>;
  /** What a step takes more than where nothing watches, as a share: medians over the starts, 95 % intervals. */
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
 * meets them alike. Each round gives one ratio to the worker that nothing watches, and each start the median of its
 * rounds: what a compiler happened to do with a process stays with it for its life, and is as much as is looked for, so
 * all are started anew several times. What is told is the median over the starts, and between which two it is.
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
  const perStart: Round[][] = [];
  while (perStart.length < starts) {
    const nth = perStart.length;
    const made = { concurrency, collector: collector.url, prefix: `bench:${nth}:` };
    // Who begins is another one each time: the first to warm up is not as warm.
    const order = names.map((_, at) => names[(nth + at) % names.length] ?? "nothing");
    perStart.push(await takeStart(stage, made, order, seconds / starts));
    note(`start ${perStart.length} of ${starts}: ${briefly(perStart.slice(-1))}`);
  }
  return figuresOf(perStart);
}

/** All workers from their start to their end. */
async function takeStart(
  stage: Stage,
  made: Made,
  order: readonly Way[],
  seconds: number,
): Promise<Round[]> {
  const contenders = order.map((way) => startContender(stage, way, made));
  for (let turns = 0; turns < 4; turns += 1)
    for (const { turn } of contenders) await turn(warmUpSteps / 4);
  const leave = new AbortController();
  const readings = contenders
    .filter(({ way }) => optionsOf(way).hasPage)
    .map(async ({ worker }) => read(await addressOf(stage, worker), leave.signal));
  const rounds: Round[] = [];
  // The first is for the page to be told all that it is told at first.
  await takeRound(contenders);
  const until = performance.now() + seconds * 1_000;
  while (performance.now() < until || rounds.length < fewestRounds)
    rounds.push(await takeRound(contenders));
  leave.abort();
  await Promise.all(readings);
  await Promise.all(contenders.map(({ worker }) => worker.stop()));
  return rounds;
}

interface Made {
  concurrency: number;
  collector: string;
  /** Of the keys of this start's workers. */
  prefix: string;
}

/** Past the steps that the inspector keeps whole, and until the compiler has done most of what it will do. */
const warmUpSteps = 8_000;
/** As many as an interval needs, and one or two more. */
const starts = 8;
const fewestRounds = 5;
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

const moreOf = (perStart: readonly Round[][], way: Way, what: keyof Taken) =>
  medianInterval(
    perStart.map((rounds) =>
      median(rounds.map((round) => round[way][what] / round.nothing[what] - 1)),
    ),
  );

const briefly = (perStart: readonly Round[][]) =>
  names
    .filter((way) => way !== "nothing")
    .map((way) => `${way} ${percent(moreOf(perStart, way, "cpuMicros").median)}`)
    .join(", ");

function figuresOf(perStart: readonly Round[][]): OverheadFigures {
  const rounds = perStart.flat();
  const each = <T>(of: (way: Way) => T) =>
    Object.fromEntries(names.map((way) => [way, of(way)])) as Record<Way, T>;
  const { nothing: _, ...more } = each((way) => ({
    cpu: moreOf(perStart, way, "cpuMicros"),
    time: moreOf(perStart, way, "micros"),
  }));
  return {
    starts: perStart.length,
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
  { concurrency, collector, prefix: ofStart }: Made,
) {
  const prefix = `${ofStart}${names.indexOf(way)}:`;
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
  const { starts: times, rounds, steps, cpuMicrosPerStep, stepsPerSecond, more } = figures;
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
    `${rounds} rounds of ${steps} local retrievals each, once warm, in ${times} starts; medians of paired ratios, 95 % intervals`,
    table(["what watches the worker", "CPU µs a step", "more", "steps/s", "time, more"], rows),
  ].join("\n");
}
