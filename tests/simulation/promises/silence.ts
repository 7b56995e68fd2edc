import { type History, type Promises, when } from "./history.ts";

const soonMs = 5_000;

interface Told {
  stepId: string;
  by: string;
  at: number;
}

/** Whether this worker's log named the step at info or above from then on; one that was struck may not have come to it. */
function isSaid({ witness }: History, { stepId, by, at }: Told, withinMs: number): boolean {
  const isLine = witness.lines.some(
    (line) =>
      line.by === by && line.stepId === stepId && line.at >= at - 100 && line.at <= at + withinMs,
  );
  return isLine || witness.isDisturbed(by, at - soonMs, at + Math.min(withinMs, 60_000));
}

/** Only the first of several in a row: the others are the same news. */
function firsts<T extends Told>(told: readonly T[]): T[] {
  return told.filter(
    (one, index) =>
      told.findIndex(({ stepId, by }) => stepId === one.stepId && by === one.by) === index,
  );
}

/** Nothing is silent. */
export const silence: Promises = {
  "each end, delayed report and abandoned attempt is a line at info or above": (of) => {
    const ended = of.witness.reports.filter(
      ({ reception, status }) => reception === "accepted" && status !== "waiting_approval",
    );
    const abandoned = of.witness.ends.filter(
      ({ how, states }) => how === "abandoned" && states > 1,
    );
    return [
      ...ended
        .filter(
          (report) => !isSaid(of, { ...report, at: report.askedAt }, Number.POSITIVE_INFINITY),
        )
        .map((report) => `${report.stepId} ${report.status} by ${when(report)}`),
      ...firsts(of.witness.delayed)
        // What is asked before a report is sent may have failed first, and been said.
        .filter((report) => !isSaid(of, { ...report, at: report.at - soonMs }, 2 * soonMs))
        .map((report) => `${report.stepId}: a report that failed, by ${when(report)}`),
      ...abandoned
        .filter((end) => !isSaid(of, end, soonMs))
        .map((end) => `${end.stepId} abandoned by ${when(end)}`),
    ];
  },
};
