import { parseArgs } from "node:util";
import { drawPlan } from "./draw-plan.ts";
import { isPlantName, type PlantName, plants } from "./plants.ts";
import type { Plan } from "./plan.ts";
import type { Broken } from "./promises.ts";
import { shrink } from "./shrink.ts";
import { simulate } from "./simulate.ts";

const usage = `Plays random histories of whole workers on virtual time, and checks what must hold in each.

  npm run simulate -- [--seeds N] [--seed S] [--json] [--plant NAME]

  --seeds N     how many seeds, from 1 on (default 200)
  --seed S      this seed; with --seeds N, S and the N-1 after it
  --json        one line of JSON at the end, and nothing else on standard output
  --plant NAME  plants a bug that must be found:
${Object.entries(plants)
  .map(([name, { bug }]) => `                  ${name.padEnd(14)} ${bug}`)
  .join("\n")}
`;

interface Failed {
  seed: number;
  broken: Broken[];
  shrunk: Plan;
  history: string[];
}

interface Wanted {
  first: number;
  count: number;
  json: boolean;
  plant: PlantName | null;
}

function readArguments(): Wanted | string {
  try {
    const { values } = parseArgs({
      options: {
        seeds: { type: "string" },
        seed: { type: "string" },
        json: { type: "boolean", default: false },
        plant: { type: "string" },
      },
    });
    const number = (text: string | undefined, otherwise: number) =>
      text === undefined ? otherwise : /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    const first = number(values.seed, 1);
    const count = number(values.seeds, values.seed === undefined ? 200 : 1);
    if (Number.isNaN(first)) return "--seed: expected a whole number";
    if (Number.isNaN(count) || count < 1) return "--seeds: expected a whole number from 1 on";
    const plant = values.plant ?? null;
    if (plant !== null && !isPlantName(plant)) {
      return `--plant: expected one of ${Object.keys(plants).join(", ")}`;
    }
    return { first, count, json: values.json, plant };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function commandFor(seed: number, plant: PlantName | null): string {
  return `npm run simulate -- --seed ${seed}${plant === null ? "" : ` --plant ${plant}`}`;
}

function describe({ seed, broken, shrunk, history }: Failed, plant: PlantName | null): string {
  return [
    `seed ${seed} breaks a promise`,
    ...broken.map(({ promise, how }) => `  ${promise}: ${how}`),
    `shrunk to ${shrunk.steps.length} steps and ${shrunk.faults.length} faults:`,
    ...shrunk.steps.map((step) => `  step  ${JSON.stringify(step)}`),
    ...shrunk.faults.map((fault) => `  fault ${JSON.stringify(fault)}`),
    "its history:",
    ...history.map((line) => `  ${line}`),
    `repeat it: ${commandFor(seed, plant)}`,
    "",
  ].join("\n");
}

async function main(): Promise<number> {
  const wanted = readArguments();
  if (typeof wanted === "string") {
    process.stderr.write(`${wanted}\n\n${usage}`);
    return 2;
  }
  const { first, count, json, plant } = wanted;
  const startedAt = performance.now();
  const faults: Record<string, number> = {};
  const failures: Failed[] = [];
  let [seeds, steps, reports] = [0, 0, 0];
  const tell = (text: string) => void (json ? process.stderr : process.stdout).write(text);
  const isLive = process.stdout.isTTY && !json;
  const progress = () => `${seeds} of ${count} seeds, ${failures.length} failing`;

  for (let seed = first; seed < first + count; seed += 1) {
    const plan = drawPlan(seed);
    const played = await simulate(plan, plant);
    seeds += 1;
    steps += played.steps;
    reports += played.reports;
    for (const [kind, times] of Object.entries(played.faults)) {
      faults[kind] = (faults[kind] ?? 0) + times;
    }
    const [broken] = played.broken;
    if (broken !== undefined) {
      const shrunk = await shrink(plan, broken.promise, plant);
      const again = await simulate(shrunk, plant);
      const failed = { seed, broken: again.broken, shrunk, history: again.history };
      failures.push(failed);
      if (isLive) tell("\r\u001b[K");
      tell(describe(failed, plant));
      // One is enough to mend; the rest would take long to shrink.
      if (failures.length >= 3 || plant !== null) break;
    }
    if (isLive) tell(`\r\u001b[K${progress()}`);
    else if (!json && seeds % 250 === 0) tell(`${progress()}\n`);
  }
  if (isLive) tell("\r\u001b[K");
  const seconds = Number(((performance.now() - startedAt) / 1_000).toFixed(1));
  const sorted = Object.fromEntries(Object.entries(faults).sort(([, a], [, b]) => b - a));
  const clean = seeds - failures.length;
  if (json) {
    const brief = failures.map(({ seed, broken, shrunk }) => ({ seed, broken, shrunk }));
    const summary = { seeds, clean, faults: sorted, steps, reports, seconds, failures: brief };
    process.stdout.write(`${JSON.stringify(summary)}\n`);
  } else {
    tell(`${clean} of ${seeds} seeds clean: ${steps} steps, ${reports} reports, ${seconds} s\n`);
    for (const [kind, times] of Object.entries(sorted)) {
      tell(`  ${String(times).padStart(7)}  ${kind}\n`);
    }
  }
  return failures.length === 0 ? 0 : 1;
}

process.exitCode = await main();
