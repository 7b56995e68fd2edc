import { isAtRest } from "../rest.ts";
import type { History, Promises } from "./history.ts";

/**
 * A report that the network or a pause held back: where repeats are not recognised, it may come second; and one that
 * says `waiting` may come after the step was settled without a word, in a run that had ended, and open the run again.
 */
const isHeldBack = ({ at, askedAt }: { at: number; askedAt: number }) => at - askedAt > 1_000;

function unended(of: History): string[] {
  return of.plan.steps.flatMap(({ stepId, kind }) => {
    const record = of.records.get(stepId) ?? null;
    if (kind === "nameless" || of.letterOf.has(stepId) || isAtRest(of, stepId, record)) return [];
    return [`${stepId} is ${record?.phase ?? "unknown"}`];
  });
}

/** How histories end. */
export const ends: Promises = {
  "every path ends once faults stop": (of) =>
    of.cameToRest
      ? []
      : [
          `${of.stats.length} jobs on the stream; ${unended(of).join(", ")}; ${of.plane.approvals
            .map(({ id, status }) => `${id} ${status}`)
            .join(", ")}`,
        ],

  "a step whose entry vanished, or whose last writes were lost, still ends": (of) =>
    of.cameToRest || !("entry-vanished" in of.faults.counts || "writes-lost" in of.faults.counts)
      ? []
      : unended(of),

  "a worker that is stopped ends": ({ didStop }) => (didStop ? [] : ["it did not"]),

  "a drain ends": ({ late }) => late,

  "a step has exactly one accepted report, unless it waits for a person or its run has ended": ({
    plan,
    plane,
    records,
    cameToRest,
    witness,
    faults,
  }) =>
    plan.steps.flatMap(({ stepId, runId, kind }) => {
      if (kind === "nameless") return [];
      const taken = plane.steps.get(stepId)?.taken ?? 0;
      const waits = records.get(stepId)?.phase === "parked";
      const isExcused =
        plane.hasEnded(runId) ||
        plane.reopened.has(runId) ||
        faults.unusable.has(stepId) ||
        !cameToRest;
      if (taken === 1 || (taken === 0 && (waits || isExcused))) return [];
      const reports = witness.reports.filter(
        (report) => report.stepId === stepId && report.reception === "accepted",
      );
      const isUnguarded = plan.rules === "ferrumdeck" && reports.some(isHeldBack);
      return isUnguarded ? [] : [`${stepId} has ${taken}`];
    }),

  "the stream is empty at the end": ({ stats, cameToRest }) =>
    stats.length === 0 || !cameToRest ? [] : [`${stats.length} jobs are left`],

  "a step is not taken from a worker that nothing disturbed": ({ witness }) => witness.robbed,

  "capacity is never exceeded": ({ witness }) => [...new Set(witness.overfull)],

  "nothing unexpected is thrown": ({ witness }) => witness.unexpected,
};
