import { whyFailed } from "../../evals/report/rows.ts";
import type { EvalReport, Trial } from "../../evals/contracts.ts";
import { dollars } from "../../evals/run-eval.ts";
import type { Suite } from "../../evals/suite.ts";
import type { Context } from "../command.ts";
import { plain } from "../output/plain.ts";

/** A line for each trial as it ends; on a terminal, whoever waits sees how far it is. */
export function progressOf({ output, invocation }: Context, suite: Suite) {
  const isVerbose = invocation.flags["verbose"] === true;
  return (
    trial: Trial,
    { done, all, isEarlier }: { done: number; all: number; isEarlier: boolean },
  ) => {
    if (output.isJson) return;
    const epoch = suite.settings.runs > 1 ? ` (${trial.epoch + 1})` : "";
    const score = trial.score === null ? "-" : trial.score.toFixed(2);
    const word = wordOf(trial);
    const notes = [
      ...(isEarlier ? ["from before"] : []),
      ...(trial.cached === true ? ["cached"] : []),
      ...(trial.retries > 0 ? [`${trial.retries} retries`] : []),
      ...reasonOf(trial),
    ];
    const width = String(all).length;
    const count = `${String(done).padStart(width)}/${all}`;
    const rest = notes.length === 0 ? "" : `  ${notes.join("; ")}`;
    output.line(`${count}  ${word.padEnd(6)}  ${score}  ${plain(trial.task_id)}${epoch}${rest}`);
    for (const { scorer, passed, score: value, message, skipped } of trial.scores) {
      if (!isVerbose && (passed || trial.passed)) continue;
      const shown = skipped === undefined ? value.toFixed(2) : "   -";
      output.line(`      ${shown}  ${plain(scorer)}: ${plain(message)}`);
    }
  };
}

/** Why it did not pass, where no line of a scorer below says so. */
function reasonOf(trial: Trial): string[] {
  const isSaid = trial.passed || trial.scores.some(({ passed, skipped }) => !passed && !skipped);
  if (trial.error !== undefined) return [plain(trial.error)];
  return isSaid ? [] : [plain(whyFailed(trial))];
}

const wordOf = ({ status, passed }: Trial): string =>
  status === "broken" ? "broken" : status === "timed_out" ? "late" : passed ? "passed" : "failed";

/** Of everything, tries that were made in vain and judges included. */
function costOf(trials: readonly Trial[]): string {
  const spent = trials.map((trial) => trial.cost_microusd ?? null);
  const answers = trials.map((trial) =>
    trial.cached === true ? 0 : (trial.observation?.usage.cost_microusd ?? 0),
  );
  const sum = (costs: readonly (number | null)[]) =>
    costs.reduce<number>((all, one) => all + (one ?? 0), 0);
  const beside = sum(spent) - sum(answers);
  const parts = [
    dollars(sum(spent)),
    ...(beside > 0 ? [`${dollars(beside)} of it for judges and for tries made in vain`] : []),
    ...(spent.includes(null)
      ? [`without that of ${spent.filter((one) => one === null).length}, which nobody knows`]
      : []),
  ];
  return parts.join(", ");
}

export function tellEnd({ output }: Context, report: EvalReport, file: string): void {
  const trials = report.tasks.flatMap((task) => task.trials);
  const count = (test: (trial: Trial) => boolean) => trials.filter(test).length;
  const means = trials.flatMap(({ score }) => (score === null ? [] : [score]));
  const mean =
    means.length === 0 ? "-" : (means.reduce((a, b) => a + b, 0) / means.length).toFixed(3);
  const scores = trials.flatMap((trial) => trial.scores);
  const judged = scores.filter(({ skipped }) => skipped === undefined).length;
  output.line("");
  output.pairs([
    ["suite", report.mock ? `${report.suite} (MOCK: made up)` : report.suite],
    ["run by", report.control_plane],
    [
      "trials",
      `${count(({ passed }) => passed)} passed, ${count((trial) => wordOf(trial) === "failed")} failed, ` +
        `${count(({ status }) => status === "timed_out")} late, ${count(({ status }) => status === "broken")} broken, of ${trials.length}`,
    ],
    ["mean score", mean],
    [
      "assertions",
      `${judged} of ${scores.length} scores were judged` +
        (judged < scores.length ? ", the others did not apply or could not be seen" : ""),
    ],
    ["approvals", `answered by the suite: ${report.approvals}`],
    ["cost", costOf(trials)],
    ...(report.complete
      ? []
      : [["stopped", `${report.stopped_because}; the same command goes on with it`] as const]),
    ["report", file],
  ]);
}
