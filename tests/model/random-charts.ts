import { and, assign, createMachine, not, stateIn } from "xstate";
import * as fc from "fast-check";

/**
 * Random pure charts for the proof of machines/compile.ts: nested states, guards of every kind, assigners and
 * executed actions that may throw, reentering, forbidden and wildcard transitions, nested final states.
 */
export interface ChartPlan {
  tree: NodePlan;
  /** Whether the context is made from the input or given as it is. */
  readsInput: boolean;
  hasOutput: boolean;
}

interface NodePlan {
  children: NodePlan[];
  /** Which child is the initial one, modulo their number. */
  initial: number;
  initialActions: ActionPlan[];
  entry: ActionPlan[];
  exit: ActionPlan[];
  on: { descriptor: string; candidates: TransitionPlan[] }[];
  onDone: TransitionPlan[];
  isFinal: boolean;
  tags: string[];
  hasOutput: boolean;
}

interface TransitionPlan {
  /** Which of all states, modulo their number; null for none. */
  target: number | null;
  reenter: boolean;
  guard: number;
  actions: ActionPlan[];
}

type ActionPlan = number;

export const chartEvents = ["go", "go.on", "go.on.far", "stop", "stop.now", "odd"] as const;
const descriptors = [...chartEvents, "*", "go.*", "go.on.*", "stop.*", "*.now"];

/** Told of everything that a chart does, in order. */
export type Tell = (what: string) => void;

interface Seen {
  context: ChartContext;
  event: { type: string };
}
interface ChartContext {
  count: number;
  last: string;
}

/** The machine that a plan describes; whatever it does is told to `tell`. */
export function toChart(plan: ChartPlan, tell: Tell) {
  const ids = idsOf(plan.tree, "s");
  const named = {
    note: ({ context, event }: Seen, params: unknown) =>
      tell(`note ${context.count} ${event.type} ${JSON.stringify(params)}`),
    add: assign(({ context }: Seen, params: unknown) => ({
      count: context.count + ((params as { by: number } | undefined)?.by ?? 1),
    })),
    fragile: ({ context }: Seen) => {
      if (context.count % 11 === 7) throw new Error("the action broke");
      tell("fragile");
    },
  };
  const actions: unknown[] = [
    "note",
    { type: "note", params: { fixed: true } },
    { type: "note", params: ({ context }: Seen) => ({ count: context.count }) },
    "add",
    { type: "add", params: { by: 2 } },
    { type: "add", params: ({ event }: Seen) => ({ by: event.type.length }) },
    assign({ last: ({ event }: Seen) => event.type, count: 3 }),
    assign({ last: "fixed" }),
    assign(({ self, event }) => ({ last: `${self.id} ${event.type}` })),
    "fragile",
    "nobody provided this",
    function inline({ context }: Seen) {
      tell(`inline ${context.last}`);
    },
    ({ event }: Seen) => tell(`nameless ${event.type}`),
  ];
  const guards: unknown[] = [
    undefined,
    undefined,
    "isEven",
    { type: "isOver", params: { bound: 4 } },
    { type: "isOver", params: ({ event }: Seen) => ({ bound: event.type.length }) },
    not("isEven"),
    and(["isEven", not({ type: "isOver", params: { bound: 9 } })]),
    stateIn(`#${ids.at(-1)}`),
    ({ context }: Seen) => context.count % 3 !== 0,
    "isFragile",
  ];
  const pick = (numbers: ActionPlan[]) => numbers.map((number) => actions[number % actions.length]);
  const toTransition = ({ target, reenter, guard, actions: own }: TransitionPlan) => ({
    ...(target === null ? {} : { target: `#${ids[target % ids.length]}`, reenter }),
    guard: guards[guard % guards.length],
    actions: pick(own),
  });
  const toNode = (node: NodePlan, id: string): object => {
    const { children } = node;
    const isFinal = node.isFinal && children.length === 0;
    const states = Object.fromEntries(
      children.map((child, at) => [`n${at}`, toNode(child, `${id}${at}`)]),
    );
    const output = ({ context, event }: Seen) => ({ count: context.count, by: event.type });
    return {
      id,
      entry: pick(node.entry),
      exit: pick(node.exit),
      tags: node.tags,
      ...(isFinal ? { type: "final", ...(node.hasOutput ? { output } : {}) } : {}),
      on: Object.fromEntries(
        node.on.map(({ descriptor, candidates }) => [descriptor, candidates.map(toTransition)]),
      ),
      ...(children.length === 0
        ? {}
        : {
            states,
            initial: {
              target: `n${node.initial % children.length}`,
              actions: pick(node.initialActions),
            },
            onDone: node.onDone.map(toTransition),
          }),
    };
  };
  const context: ChartContext = { count: 0, last: "" };
  const config = {
    ...toNode(plan.tree, "s"),
    context: plan.readsInput ? ({ input }: { input: ChartContext }) => ({ ...input }) : context,
    // A done event that leads back to a final state would go on for ever.
    options: { maxIterations: 8 },
    ...(plan.hasOutput ? { output: ({ event }: { event: object }) => ({ ...event }) } : {}),
  };
  const implementations = {
    actions: named,
    guards: {
      isEven: ({ context: { count } }: Seen) => count % 2 === 0,
      isOver: ({ context: { count } }: Seen, { bound }: { bound: number }) => count > bound,
      isFragile: ({ context: { count } }: Seen) => {
        if (count % 13 === 5) throw new Error("the guard broke");
        return count % 2 === 1;
      },
    },
  };
  return createMachine(config as never, implementations as never);
}

function idsOf(node: NodePlan, id: string): string[] {
  return [id, ...node.children.flatMap((child, at) => idsOf(child, `${id}${at}`))];
}

const action = fc.nat(12);
const someActions = fc.array(action, { maxLength: 2 });
const transition: fc.Arbitrary<TransitionPlan> = fc.record({
  target: fc.option(fc.nat(30), { freq: 4 }),
  reenter: fc.boolean(),
  guard: fc.nat(9),
  actions: someActions,
});
const someTransitions = fc.array(transition, { maxLength: 3 });

/** A node with at most `depth` levels below it. */
const nodeOver = (depth: number): fc.Arbitrary<NodePlan> =>
  fc.record({
    children: depth === 0 ? fc.constant([]) : fc.array(nodeOver(depth - 1), { maxLength: 3 }),
    initial: fc.nat(2),
    initialActions: someActions,
    entry: someActions,
    exit: someActions,
    on: fc.array(
      fc.record({ descriptor: fc.constantFrom(...descriptors), candidates: someTransitions }),
      { maxLength: 4 },
    ),
    onDone: someTransitions,
    isFinal: fc.boolean(),
    tags: fc.subarray(["red", "green", "blue"]),
    hasOutput: fc.boolean(),
  });

export const chartPlans: fc.Arbitrary<ChartPlan> = fc.record({
  tree: nodeOver(3),
  readsInput: fc.boolean(),
  hasOutput: fc.boolean(),
});
