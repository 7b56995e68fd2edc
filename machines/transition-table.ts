/**
 * The table that a pure chart is (see compile.ts), read from a machine's own state nodes.
 *
 * Without parallel states exactly one leaf (a state without child states) is active, and with it its ancestors.
 * For each leaf and event type the table has a list of candidates in the order in which XState tries them:
 *
 *   1. from the leaf up to the root; the first node with an enabled candidate wins;
 *   2. within a node the exact event type, then wildcards (`order.*`, `*`), the longer descriptor first;
 *   3. within a descriptor as written. A candidate without target and actions forbids the event: it is taken,
 *      does nothing, and nothing above it is asked.
 *
 * Each candidate has its guard, the leaf it leads to (initial states followed down), and one flat list of
 * actions: exits from the leaf upwards, the transition's own, entries from the top downwards, each followed by
 * the actions of that node's `initial` where XState would run them. What is left and entered lies below the
 * transition's domain, in XState's sense: the source itself when the target is inside it and nothing is
 * reentered, else the least common ancestor of source and target.
 *
 * Refused, by name: parallel and history states, `invoke`, `after`, `always`, `route`, several targets, guards
 * that nobody provided, and every built-in action but `assign`.
 */
import {
  type ActorScope,
  type AnyEventObject,
  type AnyMachineSnapshot,
  type AnyStateMachine,
  type MachineContext,
  pathToStateValue,
  type StateValue,
} from "xstate";

export type Node = AnyStateMachine["root"];
export type Definition = NonNullable<ReturnType<Node["transitions"]["get"]>>[number];
export type Scope = ActorScope<AnyMachineSnapshot, AnyEventObject>;
type Given = { context: MachineContext; event: AnyEventObject };
type AssignArgs = Given & Pick<Scope, "self" | "system"> & { spawn: () => never };
type Guard = (snapshot: AnyMachineSnapshot, event: AnyEventObject) => unknown;
type Params = (given: Given) => unknown;
type Exec = NonNullable<Parameters<Scope["actionExecutor"]>[0]["exec"]>;

export interface Action {
  /** As inspection names it. */
  type: string;
  /** What the context changes by; null for an action that is executed. */
  assign: ((args: AssignArgs, params: unknown) => object) | null;
  /** Undefined for a name that nobody provided: as in the interpreter, nothing happens. */
  exec: Exec | undefined;
  /** Null for an action written without parameters. */
  params: Params | null;
}

/** One answer of one leaf to one event. */
export interface Candidate {
  guard: Guard | null;
  actions: readonly Action[];
  target: Leaf;
  /** Whether it enters a final state. */
  completes: boolean;
  /** Whether it leaves the machine in the same leaf; then only an assigner makes a new snapshot. */
  stays: boolean;
  /** The definition it was made of, as inspection reports it. */
  taken: readonly Definition[];
}

/** The parts of a snapshot that depend on the leaf alone, shared by all snapshots that stand in it. */
export type Shape = Pick<AnyMachineSnapshot, "value" | "tags" | "_nodes">;

export interface Leaf {
  node: Node;
  /** From the root down to `node`. */
  path: readonly Node[];
  active: Shape;
  /** XState reverses the nodes of a machine that has ended. */
  done: Shape;
  /** By exact event type, XState's own left out. */
  candidates: Map<string, readonly Candidate[]>;
  /** What each node of the path answers, from the leaf up: for event types that only a wildcard matches. */
  levels: readonly Map<string, readonly Candidate[]>[];
  hasWildcards: boolean;
  /** Whether entering it ends the machine. */
  isEnd: boolean;
  /** The exits of the whole path, which run when the machine ends here. */
  lastExits: readonly Action[];
  /** The parent's done event, for a final state that does not end the machine, and what answers it. */
  parentDone: string | null;
  afterDone: readonly Candidate[];
}

const none: readonly never[] = [];

interface Table {
  leaves: Map<Node | undefined, Leaf>;
  first: Leaf;
  /** Leads into the first leaf. */
  initial: Candidate;
}

export function readTable({ root }: AnyStateMachine): Table {
  const nodes = withDescendants(root);
  nodes.forEach(refuseUncovered);
  const leaves = new Map<Node | undefined, Leaf>();
  for (const node of nodes) if (node.type !== "compound") leaves.set(node, readLeaf(node));
  for (const leaf of leaves.values()) readCandidates(leaf, leaves);
  const first = leaves.get(leafUnder(root)) as Leaf;
  const initial: Candidate = {
    guard: null,
    actions: first.path.flatMap((node) => entriesOf(node, true)),
    target: first,
    completes: first.node.type === "final",
    stays: first.node === root,
    taken: none,
  };
  return { leaves, first, initial };
}

function readLeaf(node: Node): Leaf {
  const path = [...ancestorsOf(node).toReversed(), node];
  const value = freeze(pathToStateValue(node.path));
  const isEnd =
    node.type === "final" && (node.parent === undefined || node.parent === node.machine.root);
  return {
    node,
    path,
    active: shapeOf(path, value),
    done: shapeOf(path.toReversed(), value),
    candidates: new Map(),
    levels: [],
    hasWildcards: false,
    isEnd,
    lastExits: path.toReversed().flatMap(exitsOf),
    parentDone: node.type === "final" && !isEnd ? `xstate.done.state.${node.parent?.id}` : null,
    afterDone: none,
  };
}

export const shapeOf = (path: readonly Node[], value: StateValue): Shape => ({
  value,
  tags: new Set(path.flatMap(({ tags }) => tags)),
  _nodes: [...path],
});

function readCandidates(leaf: Leaf, leaves: Table["leaves"]): void {
  const read = (definition: Definition) => readCandidate(leaf, definition, leaves);
  leaf.levels = leaf.path
    .toReversed()
    .map(
      ({ transitions }) => new Map([...transitions].map(([type, all]) => [type, all.map(read)])),
    );
  const types = new Set(leaf.levels.flatMap((level) => [...level.keys()]));
  leaf.hasWildcards = [...types].some((type) => type.endsWith("*"));
  for (const type of types) if (!isReserved(type)) leaf.candidates.set(type, answersOf(leaf, type));
  if (leaf.parentDone !== null) leaf.afterDone = answersOf(leaf, leaf.parentDone);
}

/** What only XState sends, and what XState says may not be sent. */
export const isReserved = (type: string): boolean => type === "*" || type.startsWith("xstate.");

/** All candidates of a leaf for one event type, in the order of selection. */
export function answersOf({ levels }: Leaf, type: string): Candidate[] {
  return levels.flatMap((level) => {
    const wildcards = [...level.keys()]
      .filter((descriptor) => descriptor !== type && matchesWildcard(type, descriptor))
      .sort((one, other) => other.length - one.length);
    return [type, ...wildcards].flatMap((descriptor) => level.get(descriptor) ?? none);
  });
}

/** `*` matches every type; `order.*` matches `order` and whatever has it before a dot. */
function matchesWildcard(type: string, descriptor: string): boolean {
  if (descriptor === "*") return true;
  if (!descriptor.endsWith(".*")) return false;
  const tokens = type.split(".");
  const wanted = descriptor.split(".");
  for (const [place, token] of wanted.entries()) {
    // A star in the middle matches nothing at all.
    if (token === "*") return place === wanted.length - 1;
    if (token !== tokens[place]) return false;
  }
  return true;
}

function readCandidate(leaf: Leaf, definition: Definition, leaves: Table["leaves"]): Candidate {
  const { source, guard, reenter } = definition;
  const own = definition.actions.map((action) => readAction(source, action));
  const read = guard === undefined ? null : readGuard(source, guard as Reference);
  const same = { guard: read, taken: [definition] };
  const wanted = definition.target?.[0];
  if (wanted === undefined)
    return { ...same, actions: own, target: leaf, completes: false, stays: true };

  const target = leaves.get(leafUnder(wanted)) as Leaf;
  const domain = domainOf(source, wanted, reenter);
  const exits = leaf.path.filter((node) => isBelow(node, domain)).toReversed();
  const entries = target.path.filter(
    (node) => isBelow(node, domain) || (node === wanted && wanted !== source),
  );
  // Only the target and what its initial states lead to are entered by default; its ancestors are passed.
  const isDefault = (node: Node) => node === wanted || isBelow(node, wanted);
  return {
    ...same,
    actions: [
      ...exits.flatMap(exitsOf),
      ...own,
      ...entries.flatMap((node) => entriesOf(node, isDefault(node))),
    ],
    target,
    completes: target.node.type === "final" && entries.includes(target.node),
    stays: target === leaf,
  };
}

/** The node below which everything is left and entered; undefined when the root itself is. */
function domainOf(source: Node, target: Node, reenter: boolean): Node | undefined {
  if (!reenter && (target === source || isBelow(target, source))) return source;
  const common = ancestorsOf(target).find((ancestor) => isBelow(source, ancestor));
  return common ?? (reenter ? undefined : source.machine.root);
}

function ancestorsOf(node: Node): Node[] {
  return node.parent === undefined ? [] : [node.parent, ...ancestorsOf(node.parent)];
}

const isBelow = (node: Node, above: Node | undefined): boolean =>
  above === undefined || ancestorsOf(node).includes(above);

const childrenOf = (node: Node): Node[] => Object.values(node.states);

const withDescendants = (node: Node): Node[] => [
  node,
  ...childrenOf(node).flatMap(withDescendants),
];

const leafUnder = (node: Node): Node =>
  node.type === "compound" ? leafUnder(node.initial.target[0] as Node) : node;

const exitsOf = (node: Node): Action[] => node.exit.map((action) => readAction(node, action));

function entriesOf(node: Node, isDefault: boolean): Action[] {
  const initial = isDefault && node.type === "compound" ? node.initial.actions : none;
  return [...node.entry, ...initial].map((action) => readAction(node, action));
}

/** An action or a guard as a chart writes it: inline, by name, or by name with parameters. */
type Reference = Function | string | { type: string; params?: unknown };

export const nameOf = (reference: unknown): string | undefined =>
  typeof reference === "string" ? reference : (reference as { type?: string } | undefined)?.type;

function readParams(reference: Reference): Params | null {
  if (typeof reference !== "object" || !("params" in reference)) return null;
  const { params } = reference;
  return typeof params === "function" ? (params as Params) : () => params;
}

function readAction(node: Node, written: unknown): Action {
  const reference = written as Reference;
  const isInline = typeof reference === "function";
  const name = isInline ? reference.name : nameOf(reference);
  const { actions } = node.machine.implementations;
  const found = (isInline ? reference : actions[name ?? ""]) as
    | (Exec & { resolve?: unknown; type?: string; assignment?: unknown })
    | undefined;
  const params = readParams(reference);
  const isBuiltIn = found !== undefined && "resolve" in found;
  if (!isBuiltIn) return { type: name || "(anonymous)", assign: null, exec: found, params };
  if (found.type !== "xstate.assign")
    refuse(node, `the action ${found.type?.replace("xstate.", "") ?? "of a kind we do not know"}`);
  return { type: "xstate.assign", assign: readAssigner(found.assignment), exec: undefined, params };
}

function readAssigner(assignment: unknown): NonNullable<Action["assign"]> {
  type Part = (args: AssignArgs, params: unknown) => unknown;
  if (typeof assignment === "function") return assignment as NonNullable<Action["assign"]>;
  const parts = Object.entries(assignment as Record<string, Part | unknown>);
  if (parts.every(([, part]) => typeof part !== "function")) return () => assignment as object;
  return (args, params) => {
    const change: Record<string, unknown> = {};
    for (const [key, part] of parts)
      change[key] = typeof part === "function" ? (part as Part)(args, params) : part;
    return change;
  };
}

function readGuard(node: Node, written: Reference): Guard {
  let reference = written;
  let params: Params | null = null;
  while (typeof reference !== "function") {
    const name = nameOf(reference) ?? "";
    params = readParams(reference);
    const found: unknown = node.machine.implementations.guards[name];
    if (found === undefined) refuse(node, `the guard "${name}", which nobody provided,`);
    reference = found as Reference;
  }
  const guard = reference as Function & { check?: (...args: unknown[]) => unknown };
  const { check } = guard;
  // `and`, `or`, `not` and `stateIn` look their parts up by themselves.
  if (check !== undefined)
    return (snapshot, event) => check(snapshot, { context: snapshot.context, event }, guard);
  if (params === null) return ({ context }, event) => guard({ context, event }, undefined);
  const read = params;
  return ({ context }, event) => guard({ context, event }, read({ context, event }));
}

function refuseUncovered(node: Node): void {
  const { config } = node;
  if (node.type === "parallel" || node.type === "history") refuse(node, `a ${node.type} state`);
  if (node.type === "final" && childrenOf(node).length > 0)
    refuse(node, "a final state with child states");
  for (const feature of ["invoke", "after", "always", "route"] as const)
    if ((config as Record<string, unknown>)[feature] !== undefined) refuse(node, feature);
  for (const { target } of [...node.transitions.values()].flat())
    if ((target?.length ?? 0) > 1) refuse(node, "a transition with several targets");
}

export const titleOf = ({ id }: AnyStateMachine): string => `the machine "${id}"`;

function refuse(node: Node, feature: string): never {
  const place = node.parent === undefined ? "its root" : `the state "${node.path.join(".")}"`;
  throw new Error(
    `${titleOf(node.machine)} cannot be compiled: ${feature} in ${place} is not covered; run the machine itself, interpreted`,
  );
}

function freeze<T>(value: T): T {
  if (typeof value === "object" && value !== null)
    Object.values(Object.freeze(value)).forEach(freeze);
  return value;
}
