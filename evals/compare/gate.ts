import type { Gates } from "../contracts.ts";
import { clusteredMean } from "../statistics/estimates.ts";
import { clustersNeeded } from "../statistics/tests.ts";
import { type Comparison, levels, type MeasureComparison } from "./compare.ts";
import { passesOf, type Sample } from "./sample.ts";
import { type Reason, warnings } from "./warnings.ts";
import { changeOf, idsOf, names, number, share, tasksOf } from "./words.ts";

export interface GateResult {
  passed: boolean;
  failures: readonly Reason[];
  warnings: readonly Reason[];
}

/** Whether a sample may pass, beside its baseline. @param allowed names of locks that may differ */
export function judge(
  comparison: Comparison,
  [before, after]: readonly [Sample, Sample],
  allowed: ReadonlySet<string> = new Set(),
): GateResult {
  const failures = [
    ...madeUp(before, after),
    ...unmeasured(comparison, [before, after], allowed),
    ...thresholds(after),
    ...regressions(comparison, after.gates),
  ];
  return { passed: failures.length === 0, failures, warnings: warnings(comparison, allowed) };
}

/** Locks without which two samples can't be compared: all but the agent's, which is what changed. */
export function refusedLocks(
  { locks }: Comparison,
  allowed: ReadonlySet<string>,
): Comparison["locks"] {
  return locks.filter(({ name }) => name !== "agent" && !allowed.has(name));
}

function madeUp(before: Sample, after: Sample): Reason[] {
  const reasons: Reason[] = [];
  if (after.mock) {
    const message = "The run is a mock: its answers were made up, and say nothing of the agent.";
    reasons.push({ kind: "mock", message });
  }
  if (before.mock) {
    const message = "The baseline is of a mock run; make one of a real run (--update-baseline).";
    reasons.push({ kind: "mock", message });
  }
  if (!after.complete) {
    const why = after.stopped_because ?? "it was stopped";
    const message = `The run is not complete (${why}); run it again to go on where it stood.`;
    reasons.push({ kind: "incomplete", message });
  }
  return reasons;
}

/** What was not seen can't pass. */
function unmeasured(
  comparison: Comparison,
  [before, after]: readonly [Sample, Sample],
  allowed: ReadonlySet<string>,
): Reason[] {
  const reasons: Reason[] = [];
  const { trials, uncounted } = comparison.after;
  const limit = after.gates.max_broken_percent ?? 5;
  const broken = (100 * uncounted) / Math.max(1, trials + uncounted);
  if (trials === 0) {
    const message = "No trial was measured: every one was broken, or judged by no scorer.";
    reasons.push({ kind: "nothing_measured", message });
  } else if (comparison.measures.length === 0) {
    const message = "No task was measured both in the baseline and now.";
    reasons.push({ kind: "nothing_measured", message });
  }
  if (broken > limit) {
    const message = `${uncounted} of ${trials + uncounted} trials (${number(broken)} %) are broken or judged by no scorer; at most ${number(limit)} % may be.`;
    reasons.push({ kind: "broken", message });
  }
  const lost = comparison.tasks.filter((task) => task.after?.trials === 0).map(({ id }) => id);
  if (lost.length > 0 && trials > 0) {
    const message = `${tasksOf(lost.length, "has", "have")} no trial that counts: ${names(lost)}.`;
    reasons.push({ kind: "not_measured", message, tasks: lost });
  }
  const removed = idsOf(comparison, "removed");
  if (removed.length > 0 && !allowed.has("dataset")) {
    const message = `${tasksOf(removed.length, "of the baseline was", "of the baseline were")} not run: ${names(removed)}.`;
    reasons.push({ kind: "not_run", message, tasks: removed });
  }
  // Of one dataset both have the same tasks.
  const added = idsOf(comparison, "new");
  if (added.length > 0 && isSameDataset(comparison, [before, after])) {
    const message = `The baseline lacks ${tasksOf(added.length, "of its own dataset", "of its own dataset")}: ${names(added)}. It was changed by hand; make it anew (--update-baseline).`;
    reasons.push({ kind: "not_measured", message, tasks: added });
  }
  const unheld = comparison.tasks.filter(
    (task) => task.before?.trials === 0 && task.after !== null,
  );
  if (unheld.length > 0) {
    const message = `${tasksOf(unheld.length, "has", "have")} no trial that counts in the baseline, and can be held to nothing: ${names(unheld.map(({ id }) => id))}. Make it anew (--update-baseline).`;
    reasons.push({ kind: "not_measured", message, tasks: unheld.map(({ id }) => id) });
  }
  return [...reasons, ...unknown(comparison, [before, after])];
}

/** Where nobody knows any more what the baseline knew, nobody can say whether it got worse. */
function unknown(
  { lost, measures }: Comparison,
  [before, after]: readonly [Sample, Sample],
): Reason[] {
  const gone = lost.filter(({ name }) => measures.every((measure) => measure.name !== name));
  const isLimited = after.gates.max_cost_increase_percent !== undefined;
  const reasons = gone
    .filter(({ name }) => !isLimited || name !== "cost_microusd")
    .map(({ title }): Reason => {
      const message = `Nobody knows the ${title} of any task any more, and so nobody can say whether it got worse; the baseline has it. If that is meant, update the baseline.`;
      return { kind: "not_measured", message };
    });
  if (!isLimited) return reasons;
  for (const [of, sample] of [
    ["now", after],
    ["in the baseline", before],
  ] as const) {
    const trials = sample.tasks.flatMap((task) => task.trials);
    const count = trials.filter((trial) => trial.cost_microusd === null).length;
    if (count === 0) continue;
    const message = `Nobody knows what ${count} of ${trials.length} trials cost ${of}, and the suite limits their cost (max_cost_increase_percent); give the prices of its models (\`prices\`), or leave the limit out.`;
    reasons.push({ kind: "cost_limit", message });
  }
  return reasons;
}

const isSameDataset = ({ locks }: Comparison, [before, after]: readonly [Sample, Sample]) =>
  before.locks["dataset"] !== undefined &&
  after.locks["dataset"] !== undefined &&
  locks.every(({ name }) => name !== "dataset");

/** What the suite demands, whatever the baseline was. */
function thresholds({ gates, tasks }: Sample): Reason[] {
  const threshold = gates.pass_rate_threshold;
  if (threshold === undefined) return [];
  const rates = tasks
    .filter(({ trials }) => trials.length > 0)
    .map((task) => ({
      category: task.category,
      cluster: task.cluster,
      value: passesOf(task) / task.trials.length,
    }));
  const reasons: Reason[] = [];
  const { mean } = clusteredMean(rates);
  if (mean < threshold - 1e-9) {
    const message = `The pass rate is ${share(mean)}; the suite demands ${share(threshold)} (pass_rate_threshold).`;
    reasons.push({ kind: "pass_rate_threshold", message });
  }
  if (gates.require_all_categories_pass !== true) return reasons;
  for (const category of [...new Set(rates.map((rate) => rate.category))].sort()) {
    const own = clusteredMean(rates.filter((rate) => rate.category === category)).mean;
    if (own >= threshold - 1e-9) continue;
    const message = `The pass rate of ${category} is ${share(own)}; the suite demands ${share(threshold)} of every category (require_all_categories_pass).`;
    reasons.push({ kind: "category_threshold", message });
  }
  return reasons;
}

function fallen({ fallen: { tasks, is_chance } }: Comparison): Reason[] {
  if (is_chance) return [];
  const message = `${tasksOf(tasks.length, "always passed and now never does", "always passed and now never do")}: ${names(tasks)}.`;
  return [{ kind: "fallen", message, tasks }];
}

/** What got worse, by no chance and by more than is let through. */
export function regressions(comparison: Comparison, gates: Gates): Reason[] {
  const reasons = fallen(comparison);
  for (const measure of comparison.measures) {
    const isCost = measure.name === "cost_microusd";
    const limit = isCost ? gates.max_cost_increase_percent : undefined;
    if (limit !== undefined) {
      if (isOver(measure, limit))
        reasons.push({ kind: "cost_limit", message: overCost(measure, limit) });
    } else if (measure.verdict === "worse") {
      const tasks = fallenBack(comparison, measure);
      const which = tasks.length === 0 ? "" : ` These tasks pass less often: ${names(tasks)}.`;
      const message = `${changeOf(measure)}${which}`;
      reasons.push({ kind: "regression", message, ...(tasks.length > 0 && { tasks }) });
    }
  }
  return reasons;
}

/**
 * Over the suite's own limit, and no chance; of a sample in which no change could be told from chance, the limit is held
 * to what was seen.
 */
function isOver({ change, before, clusters, verdict }: MeasureComparison, limit: number): boolean {
  if (change <= 1e-9 || change <= (limit / 100) * before + 1e-9) return false;
  const isCertain = verdict === "worse" || verdict === "slightly worse";
  return isCertain || clusters < clustersNeeded(levels.others);
}

const overCost = (measure: MeasureComparison, limit: number) =>
  `${changeOf(measure)} The suite allows an increase of ${number(limit)} % (max_cost_increase_percent).`;

/** The tasks that pass less often than they did, those that lost most first. */
function fallenBack({ tasks }: Comparison, { name, category }: MeasureComparison): string[] {
  if (name !== "pass_rate") return [];
  return tasks
    .filter((task) => category === null || task.category === category)
    .map(({ id, before, after }) => {
      const rate = (side: typeof before) =>
        side === null || side.trials === 0 ? null : side.passed / side.trials;
      const [was, is] = [rate(before), rate(after)];
      return { id, lost: was === null || is === null ? 0 : was - is };
    })
    .filter(({ lost }) => lost > 0)
    .sort((one, other) => other.lost - one.lost)
    .map(({ id }) => id);
}
