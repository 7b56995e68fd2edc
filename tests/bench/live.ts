import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { mediansOf, table } from "./figures.ts";
import { jobData, publish } from "./jobs.ts";
import { type Contender, openStage, type Stage } from "./stage.ts";

type Weight = Record<"heapKib" | "rssKib", number>;

export interface LiveFigures {
  count: number;
  /** Each, above the same process once it has made as many calls, its garbage collected. */
  step: Weight;
  bareCall: Weight;
  ratio: Weight;
}

/** What a live step weighs: `count` llm steps that wait on a slow model, against as many bare SDK calls. */
export async function benchLive(
  { count, rounds }: { count: number; rounds: number },
  note: (line: string) => void,
): Promise<LiveFigures> {
  const measured: { step: Weight; bareCall: Weight; ratio: Weight }[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const bareCall = await weigh(count, startBare);
    const step = await weigh(count, startSteps);
    const ratio = {
      heapKib: step.heapKib / bareCall.heapKib,
      rssKib: step.rssKib / bareCall.rssKib,
    };
    measured.push({ step, bareCall, ratio });
    const [ofStep, ofCall] = [step, bareCall].map(({ heapKib }) => heapKib.toFixed(1));
    note(`round ${round + 1}: ${ofStep} KiB a step, ${ofCall} KiB a bare call`);
  }
  return {
    count,
    step: mediansOf(measured.map(({ step }) => step)),
    bareCall: mediansOf(measured.map(({ bareCall }) => bareCall)),
    ratio: mediansOf(measured.map(({ ratio }) => ratio)),
  };
}

interface Loaded {
  contender: Contender;
  /** Makes `count` wait on the model. */
  begin(count: number): Promise<void>;
}

const measuring = ["--expose-gc", "--import", join(import.meta.dirname, "memory-on-signal.ts")];

async function startBare(stage: Stage, count: number): Promise<Loaded> {
  stage.sink.tell({ kind: "answer-models", later: "answer" });
  const contender = stage.startPeer("bare-calls.ts", [stage.sink.url, String(count)], measuring);
  await contender.says("loaded");
  const begin = async () => void contender.child.kill("SIGHUP");
  await begin();
  await contender.says("all answered");
  stage.sink.tell({ kind: "answer-models", later: "wait" });
  return { contender, begin };
}

async function startSteps({ redis, sink, ...stage }: Stage, count: number): Promise<Loaded> {
  const contender = stage.startWorker({
    // More than wait on the model in the end: while others queue for it, a provider is given more calls at once.
    concurrency: 2 * count,
    execArgv: measuring,
    env: { OPENAI_API_KEY: "key", OPENAI_BASE_URL: sink.url },
  });
  await contender.says("takes jobs");
  let published = 0;
  const begin = (steps: number) =>
    publish(
      redis.client,
      Array.from({ length: steps }, () => jobData((published += 1), "wait")),
    );
  const warm = 4 * count;
  // A provider is given more calls while all its places are used, which calls that end at once do not.
  sink.tell({ kind: "answer-models", later: "answer slowly" });
  await sink.expect(warm);
  const reported = sink.next("reported");
  await begin(warm);
  await reported;
  sink.tell({ kind: "answer-models", later: "wait" });
  return { contender, begin };
}

async function weigh(
  count: number,
  start: (stage: Stage, count: number) => Promise<Loaded>,
): Promise<Weight> {
  await using stage = await openStage();
  const { contender, begin } = await start(stage, count);
  await sleep(1_000);
  const before = await memoryOf(contender);
  const allAsked = stage.sink.next("asked", ({ models }) => models === count);
  await begin(count);
  await allAsked;
  await sleep(1_000);
  const during = await memoryOf(contender);
  // Killed rather than stopped: what waits on the model would have to be released first.
  contender.child.kill("SIGKILL");
  return {
    heapKib: (during.heapBytes - before.heapBytes) / count / 1_024,
    rssKib: (during.rss - before.rss) / count / 1_024,
  };
}

async function memoryOf(contender: Contender): Promise<{ heapBytes: number; rss: number }> {
  const said = () => [...contender.output().matchAll(/^memory (.*)$/gm)];
  const before = said().length;
  contender.child.kill("SIGUSR2");
  while (said().length === before) await sleep(10);
  return JSON.parse(said().at(-1)?.[1] ?? "") as { heapBytes: number; rss: number };
}

export function liveTable({ count, step, bareCall, ratio }: LiveFigures): string {
  const row = (name: string, { heapKib, rssKib }: Weight, digits: number) => [
    name,
    heapKib.toFixed(digits),
    rssKib.toFixed(digits),
  ];
  return [
    `${count} waiting on a slow model, KiB each`,
    table(
      ["", "heap", "resident"],
      [row("llm step", step, 1), row("bare SDK call", bareCall, 1), row("ratio", ratio, 2)],
    ),
  ].join("\n");
}
