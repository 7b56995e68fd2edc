import { sampleOf } from "../compare/sample.ts";
import { summaryOf } from "../compare/summary.ts";
import { measureText, share } from "../compare/words.ts";
import { passAtK, passHatK } from "../statistics/estimates.ts";
import type { EvalReport } from "../contracts.ts";
import { taskRows } from "./rows.ts";

/** A report for a person at a terminal. @param layOut rows, the headings first, as lines */
export function reportText(
  report: EvalReport,
  layOut: (rows: string[][]) => readonly string[],
): string {
  const rows = taskRows(report).map((row) => [
    row.id,
    row.category,
    row.passed,
    row.score,
    row.cost,
    row.time,
    row.why.replaceAll(/\s+/g, " "),
  ]);
  const headings = ["TASK", "CATEGORY", "PASSED", "SCORE", "COST", "TIME", "WHY NOT"];
  return [...summaryLines(report), "", ...layOut([headings, ...rows])].join("\n");
}

/** What a report says in all, a line each. */
export function summaryLines(report: EvalReport): string[] {
  const sample = sampleOf(report);
  const { pass_rate, interval, trials, uncounted, passed, cost_per_pass } = summaryOf(sample);
  const lines = [
    `${report.suite}, agent ${report.agent}, ${report.id}, by ${report.control_plane}${report.mock ? ": A MOCK, whose answers were made up" : ""}.`,
  ];
  if (!report.complete) {
    lines.push(`It is not complete: ${report.stopped_because ?? "it was stopped"}.`);
  }
  if (pass_rate === null || interval === null) lines.push("Nothing was measured.");
  else {
    lines.push(
      `${share(pass_rate)} passed (95 %: ${share(interval.low)} to ${share(interval.high)}): ${passed} of ${trials} trials of ${sample.tasks.length} tasks.`,
    );
    const k = report.epochs;
    const mean = (of: typeof passAtK) => {
      const values = sample.tasks
        .map((task) =>
          of(task.trials.length, task.trials.filter((trial) => trial.passed).length, k),
        )
        .filter((value) => value !== null);
      return values.length === 0
        ? null
        : values.reduce((sum, value) => sum + value, 0) / values.length;
    };
    const [any, all] = [mean(passAtK), mean(passHatK)];
    if (k > 1 && any !== null && all !== null) {
      lines.push(
        `Of ${k} trials of a task at least one passes in ${share(any)} (pass@${k}), and all in ${share(all)} (pass^${k}).`,
      );
    }
    if (cost_per_pass !== null) {
      lines.push(
        `A passed trial costs ${measureText("cost_microusd", cost_per_pass)}, failed ones included.`,
      );
    }
  }
  if (uncounted > 0) {
    lines.push(
      `${uncounted} trials are broken or were judged by no scorer, and count for nothing.`,
    );
  }
  const retries = report.tasks
    .flatMap((task) => task.trials)
    .reduce((sum, trial) => sum + trial.retries, 0);
  if (retries > 0)
    lines.push(`The infrastructure failed ${retries} times, and trials were made again.`);
  for (const [key, count] of Object.entries(report.unread_expectations)) {
    lines.push(`No scorer reads "expected.${key}", which ${count} tasks have.`);
  }
  for (const { file, line, problem } of report.bad_lines) {
    lines.push(`${file}:${line} was passed over: ${problem}`);
  }
  return lines;
}
