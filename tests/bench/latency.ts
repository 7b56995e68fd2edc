import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { mediansOf, quantile, table } from "./figures.ts";
import { jobData, publish, stream, toEntry } from "./jobs.ts";
import { openStage, type Schedule, type Stage } from "./stage.ts";

type Figures = Record<
  "executingMedianMs" | "executingP99Ms" | "reportMedianMs" | "reportP99Ms",
  number
>;

type ToReport = Pick<Figures, "reportMedianMs" | "reportP99Ms">;

export interface LatencyFigures {
  /** One step at a time, with pauses. */
  idle: Figures;
  /** What such a step takes of the worker's main thread, and how long that waited for a processor that others had. */
  idleStep: Schedule;
  /**
   * A bare loop that reads, works and sends, with a job between each two of the idle worker's: what this machine takes by
   * itself, with whatever else it does just then.
   */
  loop: ToReport;
  /** At half of what the worker took in a burst just before, arrivals at random. */
  half: Figures;
  halfPerSecond: number;
}

const samples = 500;
const gapMs = 12;
const halfLoadMs = 4_000;
const loopStream = "bench:loop:steps";

/**
 * From just before `XADD` is sent to the handler's first line, and to the report's last byte at the control plane.
 * The sender never waits for the worker, so that a slow step delays no other's start.
 */
export async function benchLatency(
  { rounds, concurrency }: { rounds: number; concurrency: number },
  note: (line: string) => void,
): Promise<LatencyFigures> {
  const measured: LatencyFigures[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const own = await measure(concurrency);
    measured.push(own);
    const [idle, half, loop] = [own.idle, own.half, own.loop].map((figures) =>
      figures.reportMedianMs.toFixed(2),
    );
    note(`round ${round + 1}: ${idle} ms idle, ${half} ms at half load; the bare loop ${loop}`);
  }
  return {
    idle: mediansOf(measured.map(({ idle }) => idle)),
    idleStep: mediansOf(measured.map(({ idleStep }) => idleStep)),
    loop: mediansOf(measured.map(({ loop }) => loop)),
    half: mediansOf(measured.map(({ half }) => half)),
    halfPerSecond: mediansOf(measured.map(({ halfPerSecond }) => ({ halfPerSecond })))
      .halfPerSecond,
  };
}

async function measure(concurrency: number): Promise<LatencyFigures> {
  await using stage = await openStage();
  const marks = join(stage.folder, "executing.json");
  await writeFile(join(stage.folder, "stateplane.config.js"), configOf(marks));
  const { redis, sink } = stage;
  const peer = ["loop", redis.url, sink.url, String(concurrency), loopStream];
  const loop = stage.startPeer("peer.ts", peer);
  await warmUp(stage, "loop", loopStream);
  // After it: a worker that has nothing to do collects its garbage, once, and is to do so when it will.
  const worker = stage.startWorker({ concurrency });
  await worker.says("takes jobs");
  const halfPerSecond = (await warmUp(stage, "warm", stream)) / 2;

  const before = worker.schedule();
  const idle = await send(stage, 2 * samples, (number) => ({
    afterMs: gapMs,
    ...(number % 2 === 0
      ? { id: `stp_idle_${number}`, to: stream }
      : { id: `stp_loop_${number}`, to: loopStream }),
  }));
  const after = worker.schedule();
  await loop.stop();
  const random = randomFrom(7);
  const busy = await send(stage, Math.round((halfPerSecond * halfLoadMs) / 1_000), (number) => ({
    afterMs: (-Math.log(1 - random()) / halfPerSecond) * 1_000,
    id: `stp_half_${number}`,
    to: stream,
  }));
  await worker.stop();
  const executing = new Map(JSON.parse(await readFile(marks, "utf8")) as [string, number][]);
  const { reportMedianMs, reportP99Ms } = figuresOf(idle, executing, "stp_loop_");
  return {
    idle: figuresOf(idle, executing, "stp_idle_"),
    idleStep: {
      ranMs: (after.ranMs - before.ranMs) / samples,
      waitedMs: (after.waitedMs - before.waitedMs) / samples,
    },
    loop: { reportMedianMs, reportP99Ms },
    half: figuresOf(busy, executing, "stp_half_"),
    halfPerSecond,
  };
}

/** A burst, so that what is measured then is warm. Returns how many a second it took at most. */
async function warmUp({ redis, sink }: Stage, name: string, to: string): Promise<number> {
  const burst = 6_000;
  await sink.expect(burst);
  const warm = sink.next("reported");
  const jobs = Array.from({ length: burst }, (_, number) => ({
    ...jobData(number),
    step_id: `stp_${name}_${number}`,
  }));
  await publish(redis.client, jobs, to);
  const { half: middle, last } = await warm;
  await sleep(500);
  return burst / 2 / ((last - middle) / 1e9);
}

/** In the worker: notes when each step's handler began, and writes it down at the end. */
const configOf = (file: string) => `
import { writeFileSync } from "node:fs";
const begun = [];
process.on("exit", () => writeFileSync(${JSON.stringify(file)}, JSON.stringify(begun)));
export default { handlers: { retrieval: async ({ job }) => {
  begun.push([job.stepId, Number(process.hrtime.bigint())]);
  return { kind: "done", output: { documents: [] } };
} } };
`;

interface Sent {
  sent: Map<string, number>;
  reported: Map<string, number>;
}

/** @param next which step comes next, on which stream, and how long after the one before */
async function send(
  { redis, sink }: Stage,
  count: number,
  next: (number: number) => { afterMs: number; id: string; to: string },
): Promise<Sent> {
  await sink.expect(count);
  const reported = sink.next("reported");
  const sent = new Map<string, number>();
  const answers: Promise<unknown>[] = [];
  let due = performance.now();
  for (let number = 0; number < count; number += 1) {
    const { afterMs, id, to } = next(number);
    due += afterMs;
    const wait = due - performance.now();
    if (wait > 1) await sleep(wait);
    const entry = toEntry({ ...jobData(number), step_id: id });
    sent.set(id, Number(process.hrtime.bigint()));
    answers.push(redis.client.xadd(to, "*", "data", entry));
  }
  await Promise.all(answers);
  return { sent, reported: new Map((await reported).at) };
}

/** Of the steps whose ids begin so. */
function figuresOf(
  { sent, reported }: Sent,
  executing: ReadonlyMap<string, number>,
  named: string,
): Figures {
  const own = [...sent].filter(([id]) => id.startsWith(named));
  const after = (moments: ReadonlyMap<string, number>) =>
    own.map(([id, at]) => ((moments.get(id) ?? Number.NaN) - at) / 1e6);
  const [begun, told] = [after(executing), after(reported)];
  return {
    executingMedianMs: quantile(begun, 0.5),
    executingP99Ms: quantile(begun, 0.99),
    reportMedianMs: quantile(told, 0.5),
    reportP99Ms: quantile(told, 0.99),
  };
}

/** Numbers in [0, 1), the same for the same seed (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export function latencyTable({
  idle,
  idleStep,
  loop,
  half,
  halfPerSecond,
}: LatencyFigures): string {
  const ms = (figure: number) => figure.toFixed(2);
  const row = (name: string, figures: Figures) => [name, ...Object.values(figures).map(ms)];
  const ratio = (to: keyof ToReport) => ms(idle[to] / loop[to]);
  return [
    "from XADD, ms",
    table(
      ["", "executing", "p99", "report", "p99"],
      [
        row("idle", idle),
        ["the bare loop, in turn with it", "", "", ms(loop.reportMedianMs), ms(loop.reportP99Ms)],
        row(`half load (${halfPerSecond.toFixed(0)}/s)`, half),
      ],
    ),
    `idle, as a multiple of the loop: ${ratio("reportMedianMs")} at the median, ${ratio("reportP99Ms")} at p99`,
    `an idle step takes ${ms(idleStep.ranMs)} ms of the worker's main thread, which waits ${ms(idleStep.waitedMs)} ms for a processor`,
  ].join("\n");
}
