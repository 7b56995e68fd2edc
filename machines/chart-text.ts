import type { AnyStateMachine, AnyStateNode } from "xstate";

/** A chart as lines of text, drawn from the machine itself. */
export function chartText(machine: AnyStateMachine): string {
  const { rows, ends } = chartRows(machine);
  return [...rows.map((row) => row.join("  ")), ends].join("\n");
}

/**
 * Each top-level state with where it leads, in columns, and the events that lead there; last, what every state answers
 * alike, and where it ends.
 */
export function chartRows(machine: AnyStateMachine): {
  rows: (readonly [arrow: string, events: string])[];
  ends: string;
} {
  const states = Object.values(machine.root.states) as AnyStateNode[];
  const rows = states
    .filter(({ type }) => type !== "final")
    .map((state) => [state.key, arrows(within(state), state)] as const);
  const all = [...rows, ["any state", arrows([machine.root], machine.root)] as const];
  const width = Math.max(...all.map(([name]) => name.length));
  const targets = all.flatMap(([, leads]) => leads.map(([target]) => target.length));
  const farthest = Math.max(...targets);
  const ends = states.filter(({ type }) => type === "final").map(({ key }) => key);
  const drawn = all.flatMap(([name, leads]) =>
    leads.map(([target, events], index) => {
      const from = index === 0 ? name.padEnd(width) : " ".repeat(width);
      const arrow = `${from} ${index === 0 ? "─" : " "}▶ ${target.padEnd(farthest)}`;
      return [arrow, events.join(", ")] as const;
    }),
  );
  return { rows: drawn, ends: `ends: ${ends.join(", ")}` };
}

const within = (state: AnyStateNode): AnyStateNode[] => [
  state,
  ...(Object.values(state.states) as AnyStateNode[]).flatMap(within),
];

/** Where these states lead, beyond their own top-level state, and by which events; in the chart's order. */
function arrows(nodes: AnyStateNode[], own: AnyStateNode): [string, string[]][] {
  const leads = new Map<string, Set<string>>();
  for (const node of nodes) {
    for (const [event, transitions] of node.transitions) {
      for (const target of transitions.flatMap((transition) => transition.target ?? [])) {
        const top = topLevel(target);
        if (top === own.key) continue;
        leads.set(top, (leads.get(top) ?? new Set()).add(event));
      }
    }
  }
  return [...leads].map(([target, events]) => [target, [...events]]);
}

/** The name of the state right below the root. */
function topLevel(node: AnyStateNode): string {
  return node.path[0] ?? node.key;
}
