import { agents, failing, type Size, worse } from "../support/eval-samples.ts";
import { table } from "./figures.ts";

/** How often a gate fails, in per cent of simulated comparisons. */
interface GateRates {
  sample: string;
  agent: string;
  /** Nothing changed: each is a false alarm. */
  unchanged: number;
  /** Every task passes so many points less often. */
  fifteenPoints: number;
  thirtyPoints: number;
  /** A fifth of all trials are given up early. */
  givesUp: number;
  /** Everything takes 30 % more. */
  dearer: number;
}

const sizes: readonly Size[] = [
  { tasks: 20, epochs: 1 },
  { tasks: 20, epochs: 3 },
  { tasks: 60, epochs: 1 },
  { tasks: 60, epochs: 3 },
  { tasks: 60, epochs: 3, share: 3 },
  { tasks: 200, epochs: 3 },
];

/** @param times how many comparisons of each kind are simulated */
export function benchGate(times: number, note: (line: string) => void): GateRates[] {
  return sizes.flatMap((size) => {
    const { tasks, epochs, share } = size;
    const sample = `${tasks} tasks x ${epochs}${share === undefined ? "" : `, ${share} a fixture`}`;
    note(sample);
    return Object.entries(agents).map(([agent, before]): GateRates => {
      const rate = (after: typeof before) => 100 * failing(size, before, after, times);
      return {
        sample,
        agent,
        unchanged: rate(before),
        fifteenPoints: rate(worse(before, 0.15)),
        thirtyPoints: rate(worse(before, 0.3)),
        givesUp: rate({ ...before, givesUp: 0.2 }),
        dearer: rate({ ...before, effort: 1.3 }),
      };
    });
  });
}

export function gateTable(rates: readonly GateRates[]): string {
  const head = [
    "sample",
    "agent",
    "unchanged",
    "-15 points",
    "-30 points",
    "gives up",
    "+30 % cost",
  ];
  const rows = rates.map((each) => [
    each.sample,
    each.agent,
    ...[each.unchanged, each.fifteenPoints, each.thirtyPoints, each.givesUp, each.dearer].map(
      (rate) => `${rate.toFixed(1)} %`,
    ),
  ]);
  return `per cent of simulated comparisons that the gate fails\n${table(head, rows)}`;
}
