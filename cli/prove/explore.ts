import { getAdjacencyMap } from "@xstate/graph";
import { keyOf, type Life, lifeOf, type Move, type Ran, type World } from "./life.ts";
import { movesAt, stateOf } from "./moves.ts";

/** What can be asked of a tool, each as a property of one call of it. */
export const questions = {
  unapproved: {
    asks: (tool: string) => `Can ${tool} ever run unapproved?`,
    holds: ({ isApproved }: Ran) => !isApproved,
  },
  "at-all": {
    asks: (tool: string) => `Can ${tool} ever run?`,
    holds: () => true,
  },
  "after-rejection": {
    asks: (tool: string) => `Can a call of ${tool} ever run after a person has rejected it?`,
    holds: ({ wasRejected }: Ran) => wasRejected,
  },
} as const;
export type Question = keyof typeof questions;

/** One line of a witness: the state, and what happens there. */
export interface WitnessStep {
  state: string;
  happens: string;
}

export interface Examined {
  /** Moments in which a rule, or the question, sees something else. */
  states: number;
  /** From one moment to the next. */
  moves: number;
  /** Ways through the machines that pass no moment twice; more than `mostPaths` are not counted out. */
  paths: number;
  /** The shortest way to what was asked about. */
  witness: { steps: WitnessStep[]; ran: Ran } | null;
}

/** Paths beyond these are counted as this many: every moment and every move is looked at all the same. */
export const mostPaths = 100_000;

interface Moment {
  life: Life;
  next: { move: Move; to: string }[];
}

/**
 * Every moment that a life can come to, from the machines' own graphs by @xstate/graph, with every move between them.
 * A path that runs the tool as asked ends in a moment of its own, so looking at all moments is looking at all paths.
 */
export function explore(world: World, question: Question): Examined {
  const { moments, first } = momentsOf(world);
  const { holds } = questions[question];
  const reached = new Map<string, { from: string; move: Move } | null>([[first, null]]);
  let found: { key: string; ran: Ran } | null = null;
  let moves = 0;
  for (const key of reached.keys()) {
    const moment = moments.get(key);
    const ran = moment?.life.ran ?? null;
    // The first that is found is the shortest: moments come in the order of their distance.
    if (ran !== null && found === null && holds(ran)) found = { key, ran };
    for (const { move, to } of moment?.next ?? []) {
      moves += 1;
      if (!reached.has(to)) reached.set(to, { from: key, move });
    }
  }
  const steps: WitnessStep[] = [];
  for (let key = found?.key ?? null; key !== null;) {
    const by: { from: string; move: Move } | null = reached.get(key) ?? null;
    const life = by === null ? undefined : moments.get(by.from)?.life;
    if (by !== null && life !== undefined) {
      steps.unshift({ state: shownState(life), happens: by.move.says });
    }
    key = by?.from ?? null;
  }
  return {
    states: reached.size,
    moves,
    paths: countPaths(moments, first),
    witness: found === null ? null : { steps, ran: found.ran },
  };
}

function momentsOf(world: World): { moments: Map<string, Moment>; first: string } {
  const logic = lifeOf(world);
  const adjacency = getAdjacencyMap(
    logic as never,
    {
      events: ((life: Life) => movesAt(world, life)) as never,
      serializeState: keyOf as never,
      serializeEvent: ((move: Move) => JSON.stringify(move)) as never,
      limit: 1_000_000,
    } as never,
  ) as unknown as Record<
    string,
    { state: Life; transitions: Record<string, { event: Move; state: Life }> }
  >;
  const moments = new Map(
    Object.entries(adjacency).map(([key, { state, transitions }]): [string, Moment] => {
      const next = Object.values(transitions).map(({ event, state: to }) => ({
        move: event,
        to: keyOf(to),
      }));
      return [key, { life: state, next }];
    }),
  );
  return { moments, first: keyOf(logic.getInitialSnapshot()) };
}

/** Ways from the beginning that pass no moment twice, each counted where it can go no further. */
function countPaths(moments: ReadonlyMap<string, Moment>, first: string): number {
  const passed = new Set<string>();
  let count = 0;
  const walk = (key: string): void => {
    if (count >= mostPaths) return;
    passed.add(key);
    const open = new Set((moments.get(key)?.next ?? []).map(({ to }) => to)).difference(passed);
    if (open.size === 0) count += 1;
    for (const to of open) walk(to);
    passed.delete(key);
  };
  walk(first);
  return count;
}

function shownState({ step, loop }: Life): string {
  const state = stateOf(step.value);
  return state === "executing.working" && loop !== null
    ? `executing.working (agent-loop ${stateOf(loop.value)})`
    : state;
}
