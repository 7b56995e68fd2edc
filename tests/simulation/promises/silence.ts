import { type History, type Promises, when } from "./history.ts";

const withinMs = 5_000;

/** Whether this worker's log named the step at info or above, soon enough; one that was struck may not have come to it. */
function isSaid(
  { witness }: History,
  { stepId, by, at }: { stepId: string; by: string; at: number },
): boolean {
  const isLine = witness.lines.some(
    (line) =>
      line.by === by && line.stepId === stepId && line.at >= at - 100 && line.at <= at + withinMs,
  );
  return isLine || witness.isDisturbed(by, at - withinMs, at + withinMs);
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
        .filter((report) => !isSaid(of, report))
        .map((report) => `${report.stepId} ${report.status} by ${when(report)}`),
      ...of.witness.delayed
        .filter((report) => !isSaid(of, report))
        .map((report) => `${report.stepId}: a report that failed, by ${when(report)}`),
      ...abandoned
        .filter((end) => !isSaid(of, end))
        .map((end) => `${end.stepId} abandoned by ${when(end)}`),
    ];
  },
};
