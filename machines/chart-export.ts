import type { AnyStateMachine, AnyStateNode } from "xstate";

/**
 * A machine in the formats of other tools, read from its own definition:
 *
 *   json      XState's own, as `createMachine` and Stately's tools take it: guards, actions and actors stand there by
 *             name; what is a function and has no name (context, inputs, outputs) is left out
 *   mermaid   a state diagram, as Markdown viewers draw it
 *   dot       a graph of Graphviz
 *   markdown  a chapter with the diagram and what each state is for; docs/machines.md is made of these
 */
export const chartFormats = ["json", "mermaid", "dot", "markdown"] as const;
export type ChartFormat = (typeof chartFormats)[number];

export function exportChart(machine: AnyStateMachine, format: ChartFormat): string {
  const formats = { json: toJson, mermaid: toMermaid, dot: toDot, markdown: toMarkdown };
  return formats[format](machine);
}

const toJson = ({ config }: AnyStateMachine): string => JSON.stringify(config, null, 2);

/** What leads from one state to another: the events, each with its guard and what is done on the way. */
interface Arrow {
  from: AnyStateNode;
  to: AnyStateNode;
  /** `event [guard] / action, action`, in the chart's order. */
  labels: string[];
}

function arrowsOf(machine: AnyStateMachine): Arrow[] {
  const arrows = new Map<string, Arrow>();
  for (const from of nodesOf(machine.root)) {
    for (const [event, transitions] of from.transitions) {
      for (const { guard, actions, target } of transitions) {
        // Without a target it happens within the state.
        for (const to of target ?? [from]) {
          const key = `${from.id} ${to.id}`;
          const arrow = arrows.get(key) ?? { from, to, labels: [] };
          arrow.labels.push(labelOf(event, guard, actions));
          arrows.set(key, arrow);
        }
      }
    }
    for (const { guard, actions, target } of from.always ?? []) {
      for (const to of target ?? []) {
        arrows.set(`${from.id} always ${to.id}`, {
          from,
          to,
          labels: [labelOf("always", guard, actions)],
        });
      }
    }
  }
  return [...arrows.values()];
}

function labelOf(event: string, guard: unknown, actions: readonly unknown[]): string {
  const when = guard === undefined ? "" : ` [${nameOf(guard)}]`;
  const then = actions.length === 0 ? "" : ` / ${actions.map(nameOf).join(", ")}`;
  return `${event}${when}${then}`;
}

/** Guards and actions are names here, or objects that carry theirs. */
const nameOf = (named: unknown): string =>
  typeof named === "object" && named !== null && "type" in named
    ? String(named.type)
    : typeof named === "function"
      ? named.name
      : String(named);

const childrenOf = (node: AnyStateNode): AnyStateNode[] => Object.values(node.states);
const nodesOf = (node: AnyStateNode): AnyStateNode[] => [
  node,
  ...childrenOf(node).flatMap(nodesOf),
];

/** As Mermaid and Graphviz take identifiers. */
const idOf = ({ id }: AnyStateNode): string => id.replaceAll(/[^\w]/gu, "_");

function toMermaid(machine: AnyStateMachine): string {
  const lines = ["stateDiagram-v2"];
  const write = (node: AnyStateNode, depth: number) => {
    const indent = "  ".repeat(depth);
    for (const child of childrenOf(node)) {
      if (childrenOf(child).length === 0) {
        lines.push(`${indent}state "${child.key}" as ${idOf(child)}`);
      } else {
        lines.push(`${indent}state "${child.key}" as ${idOf(child)} {`);
        write(child, depth + 1);
        lines.push(`${indent}}`);
      }
      if (child.type === "final") lines.push(`${indent}${idOf(child)} --> [*]`);
    }
    const [first] = node.initial.target ?? [];
    if (first !== undefined) lines.push(`${indent}[*] --> ${idOf(first)}`);
  };
  write(machine.root, 1);
  for (const { from, to, labels } of arrowsOf(machine)) {
    // What every state answers is no arrow from a state: it is said in a note beside the chart.
    if (from === machine.root) continue;
    const label = labels.map((text) => text.replaceAll(/[:;#]/gu, " ")).join("<br>");
    lines.push(`  ${idOf(from)} --> ${idOf(to)}: ${label}`);
  }
  return lines.join("\n");
}

function toDot(machine: AnyStateMachine): string {
  const quoted = (text: string) => JSON.stringify(text);
  const lines = [
    `digraph ${quoted(machine.id)} {`,
    "  compound=true; rankdir=LR;",
    '  node [shape=box, style=rounded, fontname="sans-serif"]; edge [fontname="sans-serif", fontsize=10];',
  ];
  const write = (node: AnyStateNode, depth: number) => {
    const indent = "  ".repeat(depth);
    for (const child of childrenOf(node)) {
      const isInitial = node.initial.target?.includes(child) === true;
      const style = child.type === "final" ? ", peripheries=2" : isInitial ? ", penwidth=2" : "";
      if (childrenOf(child).length === 0) {
        lines.push(`${indent}${idOf(child)} [label=${quoted(child.key)}${style}];`);
        continue;
      }
      lines.push(
        `${indent}subgraph cluster_${idOf(child)} {`,
        `${indent}  label=${quoted(child.key)};`,
      );
      write(child, depth + 1);
      lines.push(`${indent}}`);
    }
  };
  write(machine.root, 1);
  for (const { from, to, labels } of arrowsOf(machine)) {
    if (from === machine.root) continue;
    const [tail, head] = [leafOf(from), leafOf(to)];
    const ends = [
      ...(tail === from ? [] : [`ltail=cluster_${idOf(from)}`]),
      ...(head === to ? [] : [`lhead=cluster_${idOf(to)}`]),
    ];
    const attributes = [`label=${quoted(labels.join("\n"))}`, ...ends].join(", ");
    lines.push(`  ${idOf(tail)} -> ${idOf(head)} [${attributes}];`);
  }
  lines.push("}");
  return lines.join("\n");
}

/** Graphviz draws arrows between leaves alone, cut off at the borders of their clusters. */
function leafOf(node: AnyStateNode): AnyStateNode {
  const [first] = childrenOf(node).length === 0 ? [] : (node.initial.target ?? []);
  return first === undefined ? node : leafOf(first);
}

function toMarkdown(machine: AnyStateMachine): string {
  const states = nodesOf(machine.root).filter((node) => node !== machine.root);
  const rows = states.map((node) => {
    const events = [...node.transitions.keys()].map((event) => `\`${event}\``).join(", ");
    const path = node.path.join(".");
    const what = node.description ?? (node.type === "final" ? "An end." : "");
    return `| \`${path}\` | ${what} | ${events} |`;
  });
  const everywhere = [...machine.root.transitions.keys()].map((event) => `\`${event}\``);
  return [
    `## ${machine.id}`,
    "",
    "```mermaid",
    toMermaid(machine),
    "```",
    "",
    ...(everywhere.length === 0 ? [] : [`Every state answers ${everywhere.join(", ")}.`, ""]),
    "| state | what it is for | events |",
    "|---|---|---|",
    ...rows,
  ].join("\n");
}
