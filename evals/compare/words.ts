import { clustersNeeded } from "../statistics/tests.ts";
import { type Comparison, levels, type MeasureComparison } from "./compare.ts";

/* What is said of a comparison, in the same words in every format. */

/** A number with as many digits as help: three of them, and no more than two after the point. */
export function number(value: number): string {
  const digits = Math.max(0, Math.min(2, 2 - Math.floor(Math.log10(Math.abs(value) || 1))));
  return String(Number(value.toFixed(digits)));
}

/** A share of one as per cent. */
export const share = (value: number): string => `${number(value * 100)} %`;

/** A change of a share, in points of a hundred. */
export const points = (value: number): string =>
  `${number(value * 100)} ${Math.abs(value * 100 - 1) < 1e-9 ? "point" : "points"}`;

/** A relative change, with its sign. */
const percent = (value: number): string => `${value > 0 ? "+" : ""}${number(value)} %`;

const mostNamed = 20;

/** Names in a sentence; of many the first ones, and how many more there are. */
export function names(all: readonly string[]): string {
  const more = all.length - mostNamed;
  if (more <= 0) return all.join(", ");
  return `${all.slice(0, mostNamed).join(", ")} and ${more} more`;
}

/** What the size of a sample lets one see. */
export function power(least: number | null): string {
  const needed = clustersNeeded(levels.pass_rate);
  return least === null
    ? `this sample can show no difference at all; at least ${needed} independent tasks are needed.`
    : `this sample can only show differences of ${points(least)} or more.`;
}

/** One sentence: what it was, what it is, and how far chance explains it. */
export function changeOf(measure: MeasureComparison): string {
  const { title, name, before, after, change, change_percent: relative } = measure;
  const isWorse = name === "pass_rate" || name === "score" ? change < 0 : change > 0;
  const chance = isWorse ? measure.chance_worse : measure.chance_better;
  const verb = change < 0 ? "fell" : "rose";
  const [was, is] = [measureText(name, before), measureText(name, after)];
  const much =
    name === "pass_rate" || name === "early_failures"
      ? ` (${points(Math.abs(change))})`
      : relative === null
        ? ""
        : ` (${percent(relative)})`;
  const subject =
    name === "steps" || name === "tool_calls" || name === "early_failures"
      ? "The mean of "
      : "The ";
  return `${subject}${title} ${verb} from ${was} to ${is}${much}; the chance of this without a change of the agent is ${chanceText(chance)}.`;
}

export const chanceText = (chance: number): string =>
  chance < 0.001 ? "under 0.1 %" : `${number(chance * 100)} %`;

/** A value of a measure with its unit. */
export function measureText(name: MeasureComparison["name"], value: number): string {
  if (name === "pass_rate" || name === "early_failures") return share(value);
  if (name === "cost_microusd") return `$${(value / 1e6).toFixed(value < 1e4 ? 6 : 4)}`;
  if (name === "duration_ms") return `${number(value / 1000)} s`;
  return name === "score" ? value.toFixed(3) : number(value);
}

export const idsOf = ({ tasks }: Comparison, status: "new" | "removed"): string[] =>
  tasks.filter((task) => task.status === status).map(({ id }) => id);

export const tasksOf = (count: number, one: string, many: string) =>
  count === 1 ? `1 task ${one}` : `${count} tasks ${many}`;
