import { setTimeout as sleep } from "node:timers/promises";
import { mediansOf, mib, table } from "./figures.ts";
import { jobData, publish, publishToBullmq, unfinished } from "./jobs.ts";
import { type Contender, endsEarly, openStage, type Stage } from "./stage.ts";

export interface ThroughputOptions {
  steps: number;
  concurrency: number;
  processes: number;
  rounds: number;
  /** A folder for CPU profiles of our worker; null for none. */
  profile: string | null;
}

const contenders = ["loop", "bullmq", "stateplane"] as const;
type Name = (typeof contenders)[number];

type Measured = Record<
  "perSecond" | "warmPerSecond" | "cpuMicrosPerStep" | "rssBytes" | "peakRssBytes",
  number
>;

export interface ThroughputFigures {
  options: ThroughputOptions;
  medians: Record<Name, Measured>;
  /** Of our rate to theirs, within each round; medians over the rounds. */
  ratios: Record<"toLoop" | "toBullmq" | "warmToLoop" | "warmToBullmq" | "cpuToBullmq", number>;
  rounds: Record<Name, Measured>[];
}

/**
 * The same jobs, already waiting when a contender starts, until the sink has every report. `perSecond` runs from
 * the first report to the last, so that starting a process is not in it and warming up is; `warmPerSecond` is the
 * second half. Contenders take turns in going first.
 */
export async function benchThroughput(
  options: ThroughputOptions,
  note: (line: string) => void,
): Promise<ThroughputFigures> {
  await using stage = await openStage();
  const rounds: Record<Name, Measured>[] = [];
  for (let round = 0; round < options.rounds; round += 1) {
    const measured: Partial<Record<Name, Measured>> = {};
    for (let turn = 0; turn < contenders.length; turn += 1) {
      const name = contenders[(round + turn) % contenders.length] ?? "loop";
      measured[name] = await measure(stage, name, options);
      note(`round ${round + 1}: ${name} ${Math.round(measured[name].warmPerSecond)}/s once warm`);
    }
    rounds.push(measured as Record<Name, Measured>);
  }
  const of = (name: Name) => mediansOf(rounds.map((round) => round[name]));
  return {
    options,
    medians: { loop: of("loop"), bullmq: of("bullmq"), stateplane: of("stateplane") },
    ratios: mediansOf(
      rounds.map(({ loop, bullmq, stateplane }) => ({
        toLoop: stateplane.perSecond / loop.perSecond,
        toBullmq: stateplane.perSecond / bullmq.perSecond,
        warmToLoop: stateplane.warmPerSecond / loop.warmPerSecond,
        warmToBullmq: stateplane.warmPerSecond / bullmq.warmPerSecond,
        // The one ratio that other work on the machine hardly touches; the lower the better.
        cpuToBullmq: stateplane.cpuMicrosPerStep / bullmq.cpuMicrosPerStep,
      })),
    ),
    rounds,
  };
}

async function measure(stage: Stage, name: Name, options: ThroughputOptions): Promise<Measured> {
  const { steps, concurrency, processes, profile } = options;
  const { redis, sink } = stage;
  await redis.client.flushall();
  const jobs = Array.from({ length: steps }, (_, number) => jobData(number));
  await (name === "bullmq" ? publishToBullmq(redis.url, jobs) : publish(redis.client, jobs));
  await sink.expect(steps);
  const reported = sink.next("reported");
  const execArgv = profile === null ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`];
  const start = (): Contender =>
    name === "stateplane"
      ? stage.startWorker({ concurrency, execArgv })
      : stage.startPeer("peer.ts", [name, redis.url, sink.url, String(concurrency)]);
  const running = Array.from({ length: processes }, start);
  const ended = running.map((contender) => endsEarly(name, contender));
  const { first, half, last } = await Promise.race([reported, ...ended]);
  const usages = running.map((contender) => contender.usage());
  await finished(stage, name);
  await Promise.all(running.map((contender) => contender.stop()));
  const sum = (read: (usage: (typeof usages)[number]) => number) =>
    usages.reduce((total, usage) => total + read(usage), 0);
  return {
    perSecond: (steps - 1) / ((last - first) / 1e9),
    warmPerSecond: (steps - Math.floor(steps / 2)) / ((last - half) / 1e9),
    // Starting and stopping the process is in it, as it is for every contender.
    cpuMicrosPerStep: (sum(({ cpuMs }) => cpuMs) * 1_000) / steps,
    rssBytes: sum(({ rssBytes }) => rssBytes),
    peakRssBytes: sum(({ peakRssBytes }) => peakRssBytes),
  };
}

/** A report without an acknowledged job would be half the work. */
async function finished({ redis }: Stage, name: Name): Promise<void> {
  for (let tries = 0; tries < 500; tries += 1) {
    if ((await unfinished(redis.client)) === 0) return;
    await sleep(10);
  }
  throw new Error(`${name} left ${await unfinished(redis.client)} jobs that it had reported`);
}

export function throughputTable({ options, medians, ratios }: ThroughputFigures): string {
  const rows = contenders.map((name) => {
    const { perSecond, warmPerSecond, cpuMicrosPerStep, rssBytes, peakRssBytes } = medians[name];
    return [
      name,
      perSecond.toFixed(0),
      warmPerSecond.toFixed(0),
      cpuMicrosPerStep.toFixed(0),
      mib(rssBytes),
      mib(peakRssBytes),
    ];
  });
  const head = ["", "steps/s", "once warm", "CPU µs a step", "resident", "at most"];
  const { steps, concurrency, processes, rounds } = options;
  return [
    `${steps} local retrievals, one POST each, ${concurrency} at once, ${processes} process(es), medians of ${rounds}`,
    table(head, rows),
    `ratio to BullMQ ${ratios.toBullmq.toFixed(2)}, once warm ${ratios.warmToBullmq.toFixed(2)}`,
    `ratio to the plain loop ${ratios.toLoop.toFixed(2)}, once warm ${ratios.warmToLoop.toFixed(2)}`,
    `CPU a step, ratio to BullMQ ${ratios.cpuToBullmq.toFixed(2)}`,
  ].join("\n");
}
