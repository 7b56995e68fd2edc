import { logChoose } from "../statistics/estimates.ts";
import { atLeast } from "../statistics/tests.ts";
import type { Pair } from "./measures.ts";
import { passesOf, type SampledTask } from "./sample.ts";

/** Tasks that always passed and now never do, and how far chance explains that there are so many. */
export interface Fallen {
  tasks: readonly Pair[];
  /** The chance of at least so many, were nothing changed. */
  chance: number;
  /** The chance of at least so many that fell, or rose from never to always. */
  chanceOfFlips: number;
  /** No trial of any other task differs from another of it: chance has no part in this agent, as far as can be seen. */
  isSteady: boolean;
}

/**
 * What always passed and now never does is no fluctuation of a mean, and is judged by itself. But of an unsteady task
 * that passes every second time, three passes and then three failures are luck, and with many such tasks there is always
 * one somewhere.
 *
 * So the trials of each task are taken as exchangeable between the two samples, which they are where nothing changed.
 * Given how many of a task's trials passed in all, the chance that just those of the first sample did is 1/C(n+m, n); it
 * is positive only where as many passed as the first has trials. The chance of at least so many fallen tasks follows by
 * the Poisson binomial distribution: one of 3 + 3 trials is significant where no other task is as unsteady, one of 5 + 5
 * beside up to a dozen. Where far more tasks fell or rose than chance explains, trials of one sample agree too well for
 * any of them to be chance, and so none that fell is. Trials of tasks that share a fixture are runs of their own, and count by themselves here.
 */
export function fallenTasks(pairs: readonly Pair[]): Fallen {
  const tasks = pairs.filter(({ before, after }) => isAlways(before) && passesOf(after) === 0);
  const chances = pairs
    .filter(({ before, after }) => passesOf(before) + passesOf(after) === before.trials.length)
    .map(({ before, after }) => {
      const all = before.trials.length + after.trials.length;
      return Math.exp(-logChoose(all, before.trials.length));
    });
  const others = pairs.filter((pair) => !tasks.includes(pair));
  const rose = pairs.filter(({ before, after }) => passesOf(before) === 0 && isAlways(after));
  const flips = pairs
    .filter(({ before, after }) => {
      const passed = passesOf(before) + passesOf(after);
      return passed === before.trials.length || passed === after.trials.length;
    })
    .map(flipChance);
  return {
    tasks,
    chance: atLeast(tasks.length, chances),
    chanceOfFlips: atLeast(tasks.length + rose.length, flips),
    isSteady: others.every(isSteady),
  };
}

/** The chance that the trials that passed are just all of one sample, were they dealt out again. */
function flipChance({ before, after }: Pair): number {
  const passed = passesOf(before) + passesOf(after);
  const all = before.trials.length + after.trials.length;
  const ways = [before, after].filter(({ trials }) => trials.length === passed).length;
  return Math.min(1, ways * Math.exp(-logChoose(all, passed)));
}

const isAlways = (task: SampledTask) => passesOf(task) === task.trials.length;

/** Whether all trials of a task went the same way, at the same cost. */
function isSteady({ before, after }: Pair): boolean {
  const [first, ...rest] = [...before.trials, ...after.trials];
  return rest.every(
    (trial) =>
      trial.passed === first?.passed &&
      trial.steps === first.steps &&
      trial.tool_calls === first.tool_calls &&
      trial.output_tokens === first.output_tokens,
  );
}
