import { type Comparison, levels, type MeasureComparison } from "../compare/compare.ts";
import type { GateResult } from "../compare/gate.ts";
import { chanceText, measureText, names, number, points, power, share } from "../compare/words.ts";

/** A row of the table of measures: what, before, after, change with its interval, chance, verdict. */
export function measureRow(measure: MeasureComparison): string[] {
  const { name, title, before, after, interval, verdict } = measure;
  const isWorse = name === "pass_rate" || name === "score" ? after < before : after > before;
  return [
    title,
    measureText(name, before),
    measureText(name, after),
    interval === null
      ? changeText(measure)
      : `${changeText(measure)} [${differenceText(name, interval.low, before)}, ${differenceText(name, interval.high, before)}]`,
    before === after ? "" : chanceText(isWorse ? measure.chance_worse : measure.chance_better),
    verdict,
  ];
}

export const measureHeadings = [
  "MEASURE",
  "BEFORE",
  "AFTER",
  "CHANGE [95 %]",
  "BY CHANCE",
  "VERDICT",
];

const changeText = ({ name, change, before }: MeasureComparison) =>
  differenceText(name, change, before);

const signed = (value: number, text: string) => `${value > 0 ? "+" : ""}${text}`;

/** Shares in points, scores as they are, and the rest as per cent of what it was. */
function differenceText(name: MeasureComparison["name"], change: number, before: number): string {
  if (name === "pass_rate" || name === "early_failures") return signed(change, points(change));
  if (name === "score") return signed(change, change.toFixed(3));
  return before === 0
    ? signed(change, measureText(name, change))
    : signed(change, `${number((change / before) * 100)} %`);
}

/** What was compared, in lines, above the table. */
export function headLines({ before, after, locks }: Comparison): string[] {
  const side = (name: string, { id, agent, mock, ...of }: Comparison["before"]) => {
    const rate =
      of.pass_rate === null || of.interval === null
        ? "nothing measured"
        : `${share(of.pass_rate)} passed (95 %: ${share(of.interval.low)} to ${share(of.interval.high)})`;
    const lost = of.uncounted === 0 ? "" : `, ${of.uncounted} that count for nothing`;
    return `${name} ${id}${mock ? " (MOCK)" : ""}, agent ${agent}: ${rate}; ${of.tasks} tasks, ${of.trials} trials${lost}.`;
  };
  return [
    side("Before:", before),
    side("After: ", after),
    ...locks.map(({ name }) => `The lock "${name}" differs.`),
  ];
}

/** What else the comparison says, in lines, below the table. */
export function footLines(comparison: Comparison): string[] {
  const { tasks, mcnemar, smallest_detectable: least } = comparison;
  const of = (status: string) => tasks.filter((task) => task.status === status).map(({ id }) => id);
  const said = [
    ["Regressed", of("regressed")],
    ["Improved", of("improved")],
    ["New", of("new")],
    ["Removed", of("removed")],
  ] as const;
  const { tasks: fell, is_chance, chance } = comparison.fallen;
  const luck = is_chance ? `; it may be chance (${chanceText(chance)})` : "";
  return [
    ...(fell.length === 0 ? [] : [`Always passed, and now never: ${names(fell)}${luck}.`]),
    ...said.filter(([, ids]) => ids.length > 0).map(([word, ids]) => `${word}: ${names(ids)}.`),
    `By task: ${mcnemar.worse} no longer pass and ${mcnemar.better} newly do (McNemar's exact test: ${chanceText(mcnemar.chance)}).`,
    ...(comparison.measures.length === 0
      ? []
      : [
          `About the size: ${power(least)}`,
          `The pass rate is tested at ${levels.pass_rate * 100} %, all else together at ${levels.others * 100} % by Holm's procedure.`,
        ]),
  ];
}

/** The verdict of a gate, a line a reason. */
export function gateLines({ passed, failures, warnings }: GateResult): string[] {
  return [
    ...failures.map(({ message }) => `FAILED: ${message}`),
    ...warnings.map(({ message }) => `Note: ${message}`),
    passed ? "The gate passed." : "The gate failed.",
  ];
}
