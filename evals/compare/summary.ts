import { clusteredMean, type Interval, passRateInterval } from "../statistics/estimates.ts";
import { clustersNeeded, smallestDetectable } from "../statistics/tests.ts";
import { measures, type Pair, pairUp } from "./measures.ts";
import { passesOf, type Sample, type SampledTask } from "./sample.ts";

export interface SampleSummary {
  id: string;
  suite: string;
  agent: string;
  mock: boolean;
  epochs: number;
  ended_at: string;
  tasks: number;
  trials: number;
  uncounted: number;
  passed: number;
  pass_rate: number | null;
  interval: Interval | null;
  /** Of all trials whose price is known, in micro-dollars, for each trial that passed. */
  cost_per_pass: number | null;
}

export function summaryOf(sample: Sample): SampleSummary {
  const { id, suite, agent, mock, epochs, ended_at } = sample;
  const counted = sample.tasks.filter(({ trials }) => trials.length > 0);
  const trials = counted.flatMap((task) => task.trials);
  const passed = trials.filter((trial) => trial.passed).length;
  const rates = counted.map((task) => ({
    value: passesOf(task) / task.trials.length,
    cluster: task.cluster,
  }));
  const costs = trials.map(({ cost_microusd }) => cost_microusd);
  return {
    id,
    suite,
    agent,
    mock,
    epochs,
    ended_at,
    tasks: sample.tasks.length,
    trials: trials.length,
    uncounted: sample.tasks.reduce((sum, { uncounted }) => sum + uncounted, 0),
    passed,
    pass_rate: rates.length === 0 ? null : clusteredMean(rates).mean,
    interval: rates.length === 0 ? null : passRateInterval(rates, trials.length),
    cost_per_pass:
      passed === 0 || costs.includes(null)
        ? null
        : costs.reduce<number>((sum, cost) => sum + (cost ?? 0), 0) / passed,
  };
}

/** The smallest drop of the pass rate that the pairs show four times in five, in a test at this level. */
export function detectable(pairs: readonly Pair[], level: number): number | null {
  const paired = pairUp(measures.pass_rate, pairs);
  if (paired === null) return null;
  const found = smallestDetectable(paired.differences, { level, floor: leastError(pairs) });
  if (found === null) return null;
  // So many clusters must differ, by a trial each at the least.
  const trials = Math.max(...pairs.map(({ after }) => after.trials.length));
  const least = clustersNeeded(level) / (pairs.length * trials);
  return Math.min(1, Math.max(found, least));
}

/**
 * The standard error that tasks' own unsteadiness gives, seen in trials of one sample that disagree. One unsteady task
 * more than were seen is assumed: of a few steady trials nobody can say that none would differ.
 */
function leastError(pairs: readonly Pair[]): number {
  let [noise, shares] = [0.25, 0];
  for (const { before, after } of pairs) {
    noise += (varianceOf(before) + varianceOf(after)) / 2;
    shares += 1 / before.trials.length + 1 / after.trials.length;
  }
  const count = pairs.length;
  return Math.sqrt(((noise / (count + 1)) * (shares / count)) / count);
}

function varianceOf(task: SampledTask): number {
  const count = task.trials.length;
  if (count < 2) return 0;
  const rate = passesOf(task) / count;
  return (rate * (1 - rate) * count) / (count - 1);
}
