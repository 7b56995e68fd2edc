import type { Clustered } from "../statistics/estimates.ts";
import { meanOf, passesOf, type SampledTask, type SampledTrial } from "./sample.ts";

/** A task in both samples, with trials that count in each. */
export interface Pair {
  before: SampledTask;
  after: SampledTask;
}

export const measureNames = [
  "pass_rate",
  "score",
  "early_failures",
  "cost_microusd",
  "duration_ms",
  "steps",
  "tool_calls",
] as const;
export type MeasureName = (typeof measureNames)[number];

export interface Measure {
  name: MeasureName;
  title: string;
  isHigherBetter: boolean;
  /** How its change is judged: in its own unit, or by how much of what it was before. */
  scale: "share" | "relative";
  /** A change for the worse that is smaller than this is let through, however certain it is. */
  tolerance: number;
  of: (task: SampledTask, pair: Pair) => number | null;
}

const taken = (key: "cost_microusd" | "duration_ms" | "steps" | "tool_calls") => {
  return ({ trials }: SampledTask) => meanOf(trials.map((trial) => trial[key]));
};

/**
 * What is compared, and from where on a change matters. The agent's speed depends on the machine too, so that only a
 * large change of it is taken for the agent's.
 */
export const measures: Readonly<Record<MeasureName, Measure>> = {
  pass_rate: {
    name: "pass_rate",
    title: "pass rate",
    isHigherBetter: true,
    scale: "share",
    tolerance: 0.02,
    of: (task) => passesOf(task) / task.trials.length,
  },
  score: {
    name: "score",
    title: "score",
    isHigherBetter: true,
    scale: "share",
    tolerance: 0.02,
    of: ({ trials }) => meanOf(trials.map(({ score }) => score)),
  },
  early_failures: {
    name: "early_failures",
    title: "trials given up early",
    isHigherBetter: false,
    scale: "share",
    tolerance: 0.02,
    of: (task, pair) => earlyFailures(task, pair),
  },
  cost_microusd: {
    name: "cost_microusd",
    title: "cost",
    isHigherBetter: false,
    scale: "relative",
    tolerance: 0.1,
    of: taken("cost_microusd"),
  },
  duration_ms: {
    name: "duration_ms",
    title: "latency",
    isHigherBetter: false,
    scale: "relative",
    tolerance: 0.5,
    of: taken("duration_ms"),
  },
  steps: {
    name: "steps",
    title: "steps",
    isHigherBetter: false,
    scale: "relative",
    tolerance: 0.2,
    of: taken("steps"),
  },
  tool_calls: {
    name: "tool_calls",
    title: "tool calls",
    isHigherBetter: false,
    scale: "relative",
    tolerance: 0.2,
    of: taken("tool_calls"),
  },
};

const efforts = ["steps", "tool_calls", "output_tokens", "cost_microusd"] as const;

/**
 * The share of trials that failed after less than half the effort of those that pass: an agent that gives up gets cheaper
 * and faster, and looks better in everything but this. What passing takes is read of both samples together, so that
 * neither is favoured; null where no trial of the task passes.
 */
function earlyFailures({ trials }: SampledTask, { before, after }: Pair): number | null {
  const passing = [...before.trials, ...after.trials].filter(({ passed }) => passed);
  const usual = efforts.map((key) => [key, meanOf(passing.map((trial) => trial[key]))] as const);
  const known = usual.filter(([, effort]) => effort !== null && effort > 0);
  if (known.length === 0) return null;
  const isEarly = (trial: SampledTrial) => {
    const shares = known.map(([key, effort]) => {
      const took = trial[key];
      return took === null || effort === null ? null : took / effort;
    });
    return !trial.passed && (meanOf(shares) ?? 1) < 0.5;
  };
  return trials.filter(isEarly).length / trials.length;
}

/** A measure of the tasks that show it on both sides. */
export interface Paired {
  before: number;
  after: number;
  /** After less before, a task each. */
  differences: Clustered[];
}

/** Null where no task shows it on both sides. */
export function pairUp(measure: Measure, pairs: readonly Pair[]): Paired | null {
  let [before, after] = [0, 0];
  const differences: Clustered[] = [];
  for (const pair of pairs) {
    const was = measure.of(pair.before, pair);
    const is = measure.of(pair.after, pair);
    if (was === null || is === null) continue;
    before += was;
    after += is;
    differences.push({ value: is - was, cluster: pair.after.cluster });
  }
  const count = differences.length;
  return count === 0 ? null : { before: before / count, after: after / count, differences };
}
