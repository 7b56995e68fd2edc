import { counts, meanOf } from "../compare/sample.ts";
import { measureText } from "../compare/words.ts";
import type { EvalReport, ReportedTask, Trial } from "../contracts.ts";

/** A task as one row of a table. */
export interface TaskRow {
  id: string;
  category: string;
  /** `unsteady` passed sometimes; of `lost` no trial counts. */
  kind: "passed" | "unsteady" | "failed" | "lost";
  /** Such as `2/3`, with those that count for nothing. */
  passed: string;
  score: string;
  cost: string;
  time: string;
  /** What failed first, in a sentence; empty where all passed. */
  why: string;
}

/** The tasks, those that fail first. */
export function taskRows({ tasks }: EvalReport): TaskRow[] {
  const share = ({ trials }: ReportedTask) => {
    const counted = trials.filter(counts);
    return counted.length === 0
      ? -1
      : counted.filter(({ passed }) => passed).length / counted.length;
  };
  return [...tasks].sort((one, other) => share(one) - share(other)).map(rowOf);
}

export function kindOf({ trials }: ReportedTask): TaskRow["kind"] {
  const counted = trials.filter(counts);
  const passed = counted.filter((trial) => trial.passed).length;
  if (counted.length === 0) return "lost";
  return passed === counted.length ? "passed" : passed === 0 ? "failed" : "unsteady";
}

function rowOf(task: ReportedTask): TaskRow {
  const { id, category, trials } = task;
  const counted = trials.filter(counts);
  const passed = counted.filter((trial) => trial.passed).length;
  const lost = trials.length - counted.length;
  const score = meanOf(counted.map((trial) => trial.score));
  const cost = meanOf(counted.map((trial) => trial.observation?.usage.cost_microusd ?? null));
  const time = meanOf(counted.map((trial) => trial.observation?.duration_ms ?? null));
  const failed = trials.find((trial) => !counts(trial) || !trial.passed);
  return {
    id,
    category,
    kind: kindOf(task),
    passed: `${passed}/${counted.length}${lost > 0 ? `, ${lost} don't count` : ""}`,
    score: score === null ? "" : measureText("score", score),
    cost: cost === null ? "" : measureText("cost_microusd", cost),
    time: time === null ? "" : measureText("duration_ms", time),
    why: failed === undefined ? "" : whyFailed(failed),
  };
}

/** Why a trial did not pass, or counts for nothing. */
export function whyFailed(trial: Trial): string {
  const { status, error, scores } = trial;
  if (status === "timed_out") return error ?? "its time was up, and it was cancelled";
  if (status === "broken") return `broken: ${error ?? "the infrastructure failed"}`;
  if (!counts(trial)) return "no scorer could judge it";
  const failed = scores.filter((score) => !score.passed && score.skipped === undefined);
  const worst = failed.find(({ required }) => required) ?? failed[0];
  if (worst !== undefined) return `${worst.scorer}: ${worst.message}`;
  const unseen = scores.find((score) => !score.passed && score.required);
  if (unseen !== undefined) return `${unseen.scorer}: ${unseen.skipped ?? unseen.message}`;
  return error ?? "its score is too low";
}
