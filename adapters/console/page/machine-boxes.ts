import type { Arrow, Box } from "./layout.ts";

/** A state of a machine, as XState's definition has it. */
interface StateNode {
  id: string;
  key: string;
  type: string;
  description?: string;
  initial?: { target?: string[] };
  states: Record<string, StateNode>;
  transitions: { eventType: string; target?: string[]; guard?: unknown }[];
}

export interface Walk {
  /** The states passed, in order: their keys at the top, or dotted. */
  passed: readonly string[];
  /** Where it is; null when it has ended, or is not known. */
  current: string | null;
}

/** A machine's chart, the states that were passed lit in it, and the arrows between those. */
export function machineBoxes(definition: object, { passed, current }: Walk): Box {
  const root = definition as StateNode;
  const paths = [...passed, ...(current === null ? [] : [current])].map(
    (path) => `${root.id}.${path}`,
  );
  const isPassed = (id: string) => paths.some((path) => path === id || path.startsWith(`${id}.`));
  const isHere = (id: string) => {
    const path = `${root.id}.${current ?? ""}`;
    return current !== null && (path === id || path.startsWith(`${id}.`));
  };
  const tops = passed.map((path) => path.split(".")[0]);
  const hops = new Set(tops.map((top, at) => `${tops[at - 1] ?? ""} ${top}`));

  const boxOf = (node: StateNode): Box => {
    const inner = Object.values(node.states).filter((state) => state !== undefined);
    const isLeaf = inner.length === 0;
    const tone = !isPassed(node.id) ? "" : isHere(node.id) ? "live" : "passed";
    return {
      id: node.id,
      title: node === root ? "" : node.key,
      about: node.description,
      tone: tone,
      isCurrent: isLeaf && isHere(node.id),
      isEnd: node.type === "final",
      inner: inner.map(boxOf),
      arrows: arrowsAmong(node, (from, to) =>
        node === root ? hops.has(`${from.key} ${to.key}`) : false,
      ),
    };
  };
  return boxOf(root);
}

/** One arrow from a state to another beside it, for all the events that lead from inside the one to inside the other. */
function arrowsAmong(
  parent: StateNode,
  isLit: (from: StateNode, to: StateNode) => boolean,
): Arrow[] {
  const children = Object.values(parent.states);
  return children.flatMap((from) => {
    const events = new Map<StateNode, Set<string>>();
    for (const { eventType, target = [] } of within(from)) {
      for (const each of target) {
        const id = each.replace(/^#/, "");
        const to = children.find((child) => id === child.id || id.startsWith(`${child.id}.`));
        if (to === undefined || to === from) continue;
        events.set(to, (events.get(to) ?? new Set()).add(eventType));
      }
    }
    return [...events].map(([to, names]): Arrow => {
      const [first = "", ...more] = names;
      return {
        from: from.id,
        to: to.id,
        // Many a state may end many a way: what leads there is said where one points at it.
        label: to.type === "final" ? "" : more.length === 0 ? first : `${first} +${more.length}`,
        about: `${from.key} to ${to.key}: ${[...names].join(", ")}`,
        isLit: isLit(from, to),
      };
    });
  });
}

const within = (node: StateNode): StateNode["transitions"] => [
  ...node.transitions,
  ...Object.values(node.states).flatMap(within),
];

/** What every state answers alike, which no arrow is drawn for. */
export function answeredEverywhere(definition: object): string[] {
  const said = (definition as StateNode).transitions.flatMap(({ eventType, target = [] }) =>
    target.map((to) => `${eventType} leads to ${to.replace(/^#\w+\./, "")}`),
  );
  return [...new Set(said)];
}
