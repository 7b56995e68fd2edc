import type { Comparison, MeasureComparison } from "./compare.ts";
import { changeOf, idsOf, names, power, share, tasksOf } from "./words.ts";

/** Why a gate fails, or what it lets through and a person should know. */
export interface Reason {
  kind:
    | "mock"
    | "incomplete"
    | "nothing_measured"
    | "broken"
    | "not_measured"
    | "not_run"
    | "pass_rate_threshold"
    | "category_threshold"
    | "fallen"
    | "regression"
    | "cost_limit"
    | "underpowered"
    | "got_cheaper"
    | "new_tasks"
    | "removed_tasks"
    | "lock"
    | "epochs";
  message: string;
  tasks?: readonly string[];
}

/** What a gate lets through, and a person should know. */
export function warnings(comparison: Comparison, allowed: ReadonlySet<string>): Reason[] {
  const reasons: Reason[] = [];
  const { fallen: found, smallest_detectable: least } = comparison;
  if (found.is_chance && found.tasks.length > 0) {
    const message = `${tasksOf(found.tasks.length, "always passed and now never does", "always passed and now never do")}: ${names(found.tasks)}. With so few trials of tasks so unsteady this is chance in ${share(found.chance)} of all comparisons; more trials (--runs) tell; where the agent answers the same each time, say so in the suite (gates: deterministic).`;
    reasons.push({ kind: "fallen", message, tasks: found.tasks });
  }
  if (comparison.measures.length > 0 && (least === null || least > 0.1)) {
    reasons.push({ kind: "underpowered", message: `Underpowered: ${power(least)}` });
  }
  for (const measure of comparison.measures) {
    if (measure.verdict === "perhaps worse") {
      const message = `${changeOf(measure)} It may be chance: more tasks or trials would tell.`;
      reasons.push({ kind: "regression", message });
    } else if (measure.verdict === "slightly worse") {
      const message = `${changeOf(measure)} It is no chance, and too small to fail the gate.`;
      reasons.push({ kind: "regression", message });
    } else if (isCheaper(measure)) {
      const message = `${changeOf(measure)} See whether the agent still does the work; update the baseline to hold on to it.`;
      reasons.push({ kind: "got_cheaper", message });
    }
  }
  for (const { name, title, tasks } of comparison.lost) {
    if (comparison.measures.every((measure) => measure.name !== name)) continue;
    const message = `Nobody knows the ${title} of ${tasksOf(tasks.length, "any more, which was", "any more, which were")} compared without it: ${names(tasks)}.`;
    reasons.push({ kind: "not_measured", message, tasks });
  }
  const added = idsOf(comparison, "new");
  if (added.length > 0) {
    const message = `${tasksOf(added.length, "is", "are")} new, and compared with nothing: ${names(added)}.`;
    reasons.push({ kind: "new_tasks", message, tasks: added });
  }
  const removed = idsOf(comparison, "removed");
  if (removed.length > 0 && allowed.has("dataset")) {
    const message = `${tasksOf(removed.length, "of the baseline is", "of the baseline are")} gone: ${names(removed)}.`;
    reasons.push({ kind: "removed_tasks", message, tasks: removed });
  }
  const [was, is] = [comparison.before.epochs, comparison.after.epochs];
  if (was !== is) {
    const message = `The baseline ran each task ${times(was)}, and this eval ${times(is)}: with fewer trials less of a change can be told from chance (--runs ${was}).`;
    reasons.push({ kind: "epochs", message });
  }
  for (const { name } of comparison.locks) {
    if (name === "agent") continue;
    const message = `The lock "${name}" differs from the baseline's; this was allowed.`;
    reasons.push({ kind: "lock", message });
  }
  return reasons;
}

const times = (epochs: number) => (epochs === 1 ? "once" : `${epochs} times`);

const isCheaper = ({ name, verdict, change_percent: change }: MeasureComparison) =>
  verdict === "better" &&
  (name === "cost_microusd" || name === "steps" || name === "tool_calls") &&
  (change ?? 0) < -30;
