import type { Interval } from "../statistics/estimates.ts";
import { bootstrapInterval, effectSize, holm, mcnemar, signFlipTest } from "../statistics/tests.ts";
import { type Fallen, fallenTasks } from "./fallen.ts";
import { type Measure, type MeasureName, measures, type Pair, pairUp } from "./measures.ts";
import { passesOf, type Sample, type SampledTask } from "./sample.ts";
import { detectable, type SampleSummary, summaryOf } from "./summary.ts";
import { compareTasks, type TaskComparison } from "./tasks.ts";

/*
 * What one eval says beside another of the same tasks. The chance of any false alarm is kept at 5 % in all, however many
 * categories and measures there are: 2 % for the pass rate, which the gate is for; 1 % for all other measures and the
 * categories together, by Holm's procedure; and what is left for tasks that fell from always to never, whose test at 5 %
 * is so coarse that it rejects at most half as often.
 */
export const levels = { pass_rate: 0.02, others: 0.01, fallen: 0.05, flips: 0.02 } as const;

/**
 * `worse` and `better` are no chance, and large enough to matter; `slightly worse` is no chance and small; `perhaps
 * worse` is large enough to matter, and may be chance.
 */
export type Verdict = "worse" | "slightly worse" | "perhaps worse" | "same" | "better";

export interface MeasureComparison {
  name: MeasureName;
  title: string;
  /** Null for all tasks together. */
  category: string | null;
  /** How many tasks show it on both sides, and how many of them are independent. */
  tasks: number;
  clusters: number;
  before: number;
  after: number;
  change: number;
  /** Of what it was before; null where that was nothing. */
  change_percent: number | null;
  /** The 95 % interval of the change, by the paired bootstrap; null where there is a single cluster. */
  interval: Interval | null;
  /** The chance of a change for the worse, or for the better, at least as large, were nothing changed. */
  chance_worse: number;
  chance_better: number;
  /** Cohen's d of the paired differences. */
  effect_size: number | null;
  verdict: Verdict;
}

export interface Comparison {
  before: SampleSummary;
  after: SampleSummary;
  /** Locks that differ, by name. */
  locks: readonly { name: string; before: string | null; after: string | null }[];
  measures: readonly MeasureComparison[];
  /** What is known of some tasks before, and no more now: those tasks are compared without it. */
  lost: readonly { name: MeasureName; title: string; tasks: readonly string[] }[];
  fallen: { tasks: readonly string[]; chance: number; is_chance: boolean };
  /** Tasks of which most trials passed before and no longer do, and the other way round. */
  mcnemar: { worse: number; better: number; chance: number };
  /**
   * The smallest drop of the pass rate that this sample shows four times in five; null where it can show none, and where
   * there is nothing to compare.
   */
  smallest_detectable: number | null;
  tasks: readonly TaskComparison[];
}

export function compare(before: Sample, after: Sample): Comparison {
  const was = new Map(before.tasks.map((task) => [task.id, task]));
  const both = after.tasks.flatMap((task): Pair[] => {
    const earlier = was.get(task.id);
    return earlier === undefined ? [] : [{ before: earlier, after: task }];
  });
  const pairs = both.filter(
    (pair) => pair.before.trials.length > 0 && pair.after.trials.length > 0,
  );
  const fallen = fallenTasks(pairs);
  const fell = fallen.tasks.map((pair) => pair.after.id);
  return {
    before: summaryOf(before),
    after: summaryOf(after),
    locks: differentLocks(before, after),
    measures: compareMeasures(pairs, after.gates.deterministic === true),
    lost: lostOf(pairs),
    fallen: {
      tasks: fell,
      chance: fallen.chance,
      is_chance: isChance(fallen, after),
    },
    mcnemar: byMajority(pairs),
    smallest_detectable: detectable(pairs, levels.pass_rate),
    tasks: compareTasks(before, after, new Set(fell)),
  };
}

function isChance(fallen: Fallen, { gates }: Sample): boolean {
  if (fallen.tasks.length === 0) return true;
  if (fallen.isSteady || gates.deterministic === true) return false;
  // Chances such as 1/20 must not miss the level by a rounding.
  return fallen.chance > levels.fallen + 1e-9 && fallen.chanceOfFlips > levels.flips;
}

function lostOf(pairs: readonly Pair[]): Comparison["lost"] {
  return Object.values(measures).flatMap(({ name, title, of }) => {
    const tasks = pairs
      .filter((pair) => of(pair.before, pair) !== null && of(pair.after, pair) === null)
      .map(({ after }) => after.id);
    return tasks.length === 0 ? [] : [{ name, title, tasks }];
  });
}

/** @param isSure the agent answers the same each time, so that no change of it is chance */
function compareMeasures(pairs: readonly Pair[], isSure: boolean): MeasureComparison[] {
  const categories = [...new Set(pairs.map(({ after }) => after.category))].sort();
  const all = Object.values(measures).map((measure) => compareMeasure(measure, pairs, null));
  const each = categories.length < 2 ? [] : categories;
  const parts = each.map((category) => {
    const own = pairs.filter(({ after }) => after.category === category);
    return compareMeasure(measures.pass_rate, own, category);
  });
  const [first, ...others] = [...all, ...parts].filter((found) => found !== null);
  if (first === undefined) return [];
  const worse = holm(
    others.map(({ chance_worse }) => chance_worse),
    levels.others,
  );
  const better = holm(
    others.map(({ chance_better }) => chance_better),
    levels.others,
  );
  const changed = (found: MeasureComparison) =>
    isSure && found.name !== "duration_ms" && worsening(found) > 1e-9;
  return [
    judged(
      first,
      first.chance_worse <= levels.pass_rate || changed(first),
      first.chance_better <= levels.pass_rate,
    ),
    ...others.map((found, at) =>
      judged(found, worse[at] === true || changed(found), better[at] === true),
    ),
  ];
}

function compareMeasure(
  measure: Measure,
  pairs: readonly Pair[],
  category: string | null,
): MeasureComparison | null {
  const paired = pairUp(measure, pairs);
  if (paired === null) return null;
  const { before, after, differences } = paired;
  const { rise, fall } = signFlipTest(differences);
  return {
    name: measure.name,
    title: category === null ? measure.title : `${measure.title} of ${category}`,
    category,
    tasks: differences.length,
    clusters: new Set(differences.map(({ cluster }) => cluster)).size,
    before,
    after,
    change: after - before,
    change_percent: before === 0 ? null : ((after - before) / before) * 100,
    interval: bootstrapInterval(differences),
    chance_worse: measure.isHigherBetter ? fall : rise,
    chance_better: measure.isHigherBetter ? rise : fall,
    effect_size: effectSize(differences.map(({ value }) => value)),
    verdict: "same",
  };
}

function judged(found: MeasureComparison, isWorse: boolean, isBetter: boolean): MeasureComparison {
  if (isWorse) return { ...found, verdict: isSevere(found) ? "worse" : "slightly worse" };
  if (isBetter) return { ...found, verdict: "better" };
  return { ...found, verdict: isSevere(found) ? "perhaps worse" : "same" };
}

/** Whether it changed for the worse by more than is let through. */
function isSevere(found: MeasureComparison): boolean {
  const { scale, tolerance } = measures[found.name];
  const allowed = scale === "share" ? tolerance : tolerance * found.before;
  return worsening(found) > 1e-9 && worsening(found) >= allowed - 1e-9;
}

const worsening = ({ name, change }: MeasureComparison): number =>
  measures[name].isHigherBetter ? -change : change;

/** Each task once, whatever its number of trials: passed where more than half of them did. */
function byMajority(pairs: readonly Pair[]): Comparison["mcnemar"] {
  const passes = (task: SampledTask) => passesOf(task) * 2 > task.trials.length;
  const worse = pairs.filter(({ before, after }) => passes(before) && !passes(after)).length;
  const better = pairs.filter(({ before, after }) => !passes(before) && passes(after)).length;
  return { worse, better, chance: mcnemar(worse, better) };
}

function differentLocks(before: Sample, after: Sample): Comparison["locks"] {
  const names = [...new Set([...Object.keys(before.locks), ...Object.keys(after.locks)])].sort();
  return names
    .map((name) => ({
      name,
      before: before.locks[name] ?? null,
      after: after.locks[name] ?? null,
    }))
    .filter((lock) => lock.before !== lock.after);
}
