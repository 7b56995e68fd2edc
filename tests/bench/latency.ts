import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { mediansOf, quantile, table } from "./figures.ts";
import { jobData, publish, stream, toEntry } from "./jobs.ts";
import { openStage, type Stage } from "./stage.ts";

type Figures = Record<
  "executingMedianMs" | "executingP99Ms" | "reportMedianMs" | "reportP99Ms",
  number
>;

export interface LatencyFigures {
  /** One step at a time, with pauses. */
  idle: Figures;
  /** At half of what the worker took in a burst just before, arrivals at random. */
  half: Figures;
  halfPerSecond: number;
  /** The same, idle, of a bare loop that reads, works and sends: what this machine and its processes take by themselves. */
  loop: Pick<Figures, "reportMedianMs" | "reportP99Ms">;
}

const samples = 500;
const halfLoadMs = 4_000;

/**
 * From just before `XADD` is sent to the handler's first line, and to the report's last byte at the control plane.
 * The sender never waits for the worker, so that a slow step delays no other's start.
 */
export async function benchLatency(
  { rounds, concurrency }: { rounds: number; concurrency: number },
  note: (line: string) => void,
): Promise<LatencyFigures> {
  const measured: Measured[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const own = { ...(await measure(concurrency)), loop: await measureLoop(concurrency) };
    measured.push(own);
    const [idle, half, loop] = [own.idle, own.half, own.loop].map((figures) =>
      figures.reportMedianMs.toFixed(2),
    );
    note(`round ${round + 1}: ${idle} ms idle, ${half} ms at half load; the bare loop ${loop}`);
  }
  return {
    idle: mediansOf(measured.map(({ idle }) => idle)),
    half: mediansOf(measured.map(({ half }) => half)),
    loop: mediansOf(measured.map(({ loop }) => loop)),
    halfPerSecond: mediansOf(measured.map(({ perSecond }) => ({ perSecond }))).perSecond,
  };
}

type Measured = Record<"idle" | "half", Figures> &
  Pick<LatencyFigures, "loop"> & { perSecond: number };

async function measure(concurrency: number): Promise<Omit<Measured, "loop">> {
  await using stage = await openStage();
  const marks = join(stage.folder, "executing.json");
  await writeFile(join(stage.folder, "stateplane.config.js"), configOf(marks));
  const worker = stage.startWorker({ concurrency });
  await worker.says("takes jobs");
  const perSecond = (await warmUp(stage)) / 2;

  const idle = await send(stage, "idle", samples, () => 12);
  const count = Math.round((perSecond * halfLoadMs) / 1_000);
  const random = randomFrom(7);
  const busy = await send(
    stage,
    "half",
    count,
    () => (-Math.log(1 - random()) / perSecond) * 1_000,
  );
  await worker.stop();
  const executing = new Map(JSON.parse(await readFile(marks, "utf8")) as [string, number][]);
  return {
    idle: figuresOf(idle, executing),
    half: figuresOf(busy, executing),
    perSecond,
  };
}

async function measureLoop(concurrency: number): Promise<LatencyFigures["loop"]> {
  await using stage = await openStage();
  const loop = stage.startPeer("peer.ts", [
    "loop",
    stage.redis.url,
    stage.sink.url,
    String(concurrency),
  ]);
  await warmUp(stage);
  const { reportMedianMs, reportP99Ms } = figuresOf(
    await send(stage, "idle", samples, () => 12),
    new Map(),
  );
  await loop.stop();
  return { reportMedianMs, reportP99Ms };
}

/** A burst, so that what is measured then is warm. Returns how many a second it took at most. */
async function warmUp(stage: Stage): Promise<number> {
  const burst = 6_000;
  stage.sink.tell({ kind: "expect", reports: burst });
  const warm = stage.sink.next("reported");
  await publish(
    stage.redis.client,
    Array.from({ length: burst }, (_, number) => jobData(number)),
  );
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

async function send(
  { redis, sink }: Stage,
  name: string,
  count: number,
  gapMs: () => number,
): Promise<Sent> {
  sink.tell({ kind: "expect", reports: count });
  const reported = sink.next("reported");
  const sent = new Map<string, number>();
  const answers: Promise<unknown>[] = [];
  let due = performance.now();
  for (let number = 0; number < count; number += 1) {
    due += gapMs();
    const wait = due - performance.now();
    if (wait > 1) await sleep(wait);
    const id = `stp_${name}_${number}`;
    const entry = toEntry({ ...jobData(number), step_id: id });
    sent.set(id, Number(process.hrtime.bigint()));
    answers.push(redis.client.xadd(stream, "*", "data", entry));
  }
  await Promise.all(answers);
  return { sent, reported: new Map((await reported).at) };
}

function figuresOf({ sent, reported }: Sent, executing: ReadonlyMap<string, number>): Figures {
  const after = (moments: ReadonlyMap<string, number>) =>
    [...sent].map(([id, at]) => ((moments.get(id) ?? Number.NaN) - at) / 1e6);
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

export function latencyTable({ idle, half, loop, halfPerSecond }: LatencyFigures): string {
  const row = (name: string, figures: Figures) => [
    name,
    ...Object.values(figures).map((ms) => ms.toFixed(2)),
  ];
  return [
    "from XADD, ms",
    table(
      ["", "executing", "p99", "report", "p99"],
      [row("idle", idle), row(`half load (${halfPerSecond.toFixed(0)}/s)`, half)],
    ),
    `the bare loop, idle: ${loop.reportMedianMs.toFixed(2)} to the report, ${loop.reportP99Ms.toFixed(2)} at p99; ratio ${(idle.reportMedianMs / loop.reportMedianMs).toFixed(2)}`,
  ].join("\n");
}
