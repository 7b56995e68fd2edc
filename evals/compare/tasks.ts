import { measures } from "./measures.ts";
import { passesOf, type Sample, type SampledTask } from "./sample.ts";

export type TaskStatus = "improved" | "regressed" | "unchanged" | "new" | "removed";

export interface TaskComparison {
  id: string;
  category: string;
  status: TaskStatus;
  before: TaskSide | null;
  after: TaskSide | null;
  /** It always passed, and now never does. */
  fell: boolean;
}

export interface TaskSide {
  passed: number;
  trials: number;
  score: number | null;
  uncounted: number;
}

/** @param fell the tasks that always passed, and now never do */
export function compareTasks(
  before: Sample,
  after: Sample,
  fell: ReadonlySet<string>,
): TaskComparison[] {
  const [was, is] = [before, after].map(
    ({ tasks }) => new Map(tasks.map((task) => [task.id, task])),
  );
  const ids = [...new Set([...(was?.keys() ?? []), ...(is?.keys() ?? [])])].sort();
  return ids.map((id) => {
    const [one, other] = [was?.get(id), is?.get(id)];
    return {
      id,
      category: other?.category ?? one?.category ?? "",
      status: statusOf(one, other),
      before: one === undefined ? null : sideOf(one),
      after: other === undefined ? null : sideOf(other),
      fell: fell.has(id),
    };
  });
}

function statusOf(before?: SampledTask, after?: SampledTask): TaskStatus {
  if (before === undefined) return "new";
  if (after === undefined) return "removed";
  if (before.trials.length === 0 || after.trials.length === 0) return "unchanged";
  const pair = { before, after };
  for (const { of, tolerance } of [measures.pass_rate, measures.score]) {
    const change = (of(after, pair) ?? 0) - (of(before, pair) ?? 0);
    if (Math.abs(change) >= tolerance) return change > 0 ? "improved" : "regressed";
  }
  return "unchanged";
}

const sideOf = (task: SampledTask): TaskSide => ({
  passed: passesOf(task),
  trials: task.trials.length,
  score: measures.score.of(task, { before: task, after: task }),
  uncounted: task.uncounted,
});
