import * as fc from "fast-check";
import {
  type AnyEventObject,
  type AnyMachineSnapshot,
  type AnyStateMachine,
  type AnyTransitionDefinition,
  assign,
  cancel,
  createActor,
  createMachine,
  emit,
  enqueueActions,
  type InspectionEvent,
  log,
  raise,
  sendParent,
  sendTo,
  type Snapshot,
  spawnChild,
  stopChild,
  transition,
} from "xstate";
import { describe, expect, it } from "vitest";
import { compile } from "../../machines/compile.ts";
import type { StepInput } from "../../machines/step/context.ts";
import type { StepEvent } from "../../machines/step/events.ts";
import { stepMachine } from "../../machines/step/machine.ts";
import { chartEvents, chartPlans, toChart } from "./random-charts.ts";
import { sampleInput, stepEvents } from "../kit/step-events.ts";
import { stepPaths } from "../kit/step-paths.ts";

/** Everything that can be seen of a snapshot, as text. */
function seen(snapshot: AnyMachineSnapshot): string {
  const { value, context, status, output, error, tags, _nodes: nodes } = snapshot;
  const ids = nodes.map(({ id }: { id: string }) => id);
  const message = error instanceof Error ? error.message : error;
  return JSON.stringify({ value, context, status, output, message, tags: [...tags], ids });
}

const nameOf = ({ source, eventType, target }: AnyTransitionDefinition): string =>
  `${source.id} ${eventType} ${target?.map(({ id }) => id).join()}`;

/** An actor whose every deed, inspected microstep and snapshot is written to `told`. */
function watched(logic: AnyStateMachine, told: string[], options: object) {
  const inspect = (event: InspectionEvent) => {
    if (event.type === "@xstate.action")
      told.push(`${event.action.type} ${JSON.stringify(event.action.params)}`);
    if (event.type === "@xstate.microstep")
      told.push(`${event.event.type} takes ${event._transitions.map(nameOf).join()}`);
  };
  const actor = createActor(logic, { id: "one", inspect, ...options });
  actor.subscribe({
    next: (snapshot) => told.push(`next ${seen(snapshot)}`),
    error: (error) => told.push(`error ${(error as Error).message}`),
    complete: () => told.push("complete"),
  });
  actor.start();
  return actor;
}
type Watched = ReturnType<typeof watched>;

/** What a history leaves: all that was told, and after each event the persisted snapshot as text. */
interface Trace {
  told: string[];
  persisted: string[];
  actor: Watched;
}

/** @param restoreAt before this event the actor is stopped, written down, and restored */
function trace(
  machine: (tell: (what: string) => void) => AnyStateMachine,
  input: unknown,
  events: readonly AnyEventObject[],
  restoreAt: number | null = null,
): Trace {
  const told: string[] = [];
  const persisted: string[] = [];
  const logic = machine((what) => told.push(what));
  let actor = watched(logic, told, { input });
  const persist = () => JSON.stringify(actor.getPersistedSnapshot());
  persisted.push(persist());
  for (const [place, event] of events.entries()) {
    if (place === restoreAt) {
      actor.stop();
      const snapshot = JSON.parse(persisted.at(-1) ?? "") as Snapshot<unknown>;
      if (snapshot.status !== "active") break;
      actor = watched(logic, told, { input, snapshot });
    }
    const before = actor.getSnapshot();
    if (before.status !== "active") break;
    actor.send(event);
    told.push(actor.getSnapshot() === before ? "the same snapshot" : "another snapshot");
    persisted.push(persist());
  }
  return { told, persisted, actor };
}

/** Where two traces part, in words; null when they are equal. */
function difference(one: Trace, other: Trace): string | null {
  for (const key of ["told", "persisted"] as const) {
    const at = one[key].findIndex((text, place) => text !== other[key][place]);
    if (at !== -1) return `${key} ${at}:\n${one[key][at]}\n${other[key][at]}`;
    if (one[key].length !== other[key].length)
      return `${key}: ${one[key].length} against ${other[key].length}`;
  }
  return null;
}

const answers = (actor: Watched, events: readonly AnyEventObject[]): string =>
  events.map((event) => actor.getSnapshot().can(event)).join();

const activities = [
  "load",
  "checkPolicy",
  "requestApproval",
  "readDecision",
  "execute",
  "validate",
  "record",
  "deliver",
  "settle",
  "park",
  "backOff",
  "release",
  "abort",
] as const;

/** Whom the step chart's activities tell what they were asked: the history under way. */
let hears: (what: string) => void = () => {};

const stepChart = stepMachine.provide({
  actions: Object.fromEntries(
    activities.map((name) => [
      name,
      ({ context, event }: { context: unknown; event: StepEvent }) =>
        hears(`${name} on ${event.type} ${JSON.stringify(context)}`),
    ]),
  ) as never,
});
const compiledStep = compile(stepChart);
const heard = (logic: typeof stepMachine) => (tell: (what: string) => void) => {
  hears = tell;
  return logic;
};
const paths = stepPaths();

describe("the compiled step chart does as the interpreter does", () => {
  it("on every generated path: value, context, status, actions, persisted snapshot [compile.paths]", () => {
    expect(paths.length).toBeGreaterThan(1_000);
    const parted: string[] = [];
    for (const path of paths) {
      const events = path.steps.slice(1).map(({ event }) => event);
      const interpreted = trace(heard(stepChart), sampleInput, events);
      const compiled = trace(heard(compiledStep), sampleInput, events);
      const how = difference(interpreted, compiled);
      if (how !== null) parted.push(how);
    }
    expect(parted.slice(0, 3)).toEqual([]);
  });

  it("on random histories, events out of place and restores among them, and in what it can do [compile.histories]", () => {
    const event = fc.constantFrom<AnyEventObject>(
      ...stepEvents,
      { type: "resume" },
      { type: "nobody.knows.this" },
    );
    const problem = { kind: "invalid", message: "no job", retryable: false };
    const input = fc.constantFrom<StepInput>(sampleInput, {
      ...sampleInput,
      problem: problem as never,
    });
    fc.assert(
      fc.property(
        input,
        fc.array(event, { maxLength: 40 }),
        fc.option(fc.nat(20)),
        (given, events, restoreAt) => {
          const interpreted = trace(heard(stepChart), given, events, restoreAt);
          const compiled = trace(heard(compiledStep), given, events, restoreAt);
          expect(difference(interpreted, compiled)).toBe(null);
          expect(answers(compiled.actor, stepEvents)).toBe(answers(interpreted.actor, stepEvents));
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it("where events are drawn from what its state answers, so that histories go deep", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(), { minLength: 5, maxLength: 25 }), (draws) => {
        const events: StepEvent[] = [];
        const { actor } = trace(heard(stepChart), sampleInput, []);
        for (const draw of draws) {
          if (actor.getSnapshot().status !== "active") break;
          const possible = stepEvents.filter((event) => actor.getSnapshot().can(event));
          const chosen = possible[draw % possible.length];
          if (chosen === undefined) break;
          events.push(chosen);
          actor.send(chosen);
        }
        const interpreted = trace(heard(stepChart), sampleInput, events);
        const compiled = trace(heard(compiledStep), sampleInput, events);
        expect(difference(interpreted, compiled)).toBe(null);
        expect(answers(compiled.actor, stepEvents)).toBe(answers(interpreted.actor, stepEvents));
      }),
      { numRuns: 1_000 },
    );
  });

  it("in what it says of every state and every event, asked without an actor", () => {
    const compiled = compile(stepMachine);
    const parted: string[] = [];
    const visited = new Set<string>();
    for (const { state } of paths.flatMap(({ steps }) => steps)) {
      if (visited.has(JSON.stringify(state.value))) continue;
      visited.add(JSON.stringify(state.value));
      for (const event of stepEvents) {
        const [one, actions] = transition(stepMachine, state as never, event);
        const [other, others] = transition(compiled, state as never, event);
        const names = [actions, others].map((list) => list.map(({ type }) => type).join());
        if (seen(one) !== seen(other) || names[0] !== names[1])
          parted.push(`${JSON.stringify(state.value)} on ${event.type}`);
      }
    }
    expect(visited.size).toBeGreaterThan(10);
    expect(parted).toEqual([]);
  });
});

describe("any pure chart", () => {
  it("compiled does as interpreted: nesting, guards, wildcards, reentering, final states, errors [compile.charts]", () => {
    const event = fc.record({ type: fc.constantFrom(...chartEvents, "unheard.of", "*", "go.*") });
    fc.assert(
      fc.property(
        chartPlans,
        fc.array(event, { maxLength: 12 }),
        fc.option(fc.nat(8)),
        (plan, events, restoreAt) => {
          const input = { count: 1, last: "input" };
          const chart = (tell: (what: string) => void) => toChart(plan, tell) as AnyStateMachine;
          const interpreted = trace(chart, input, events, restoreAt);
          const compiled = trace((tell) => compile(chart(tell)), input, events, restoreAt);
          expect(difference(interpreted, compiled)).toBe(null);
          if (interpreted.actor.getSnapshot().status === "error") return;
          const all = chartEvents.map((type) => ({ type }));
          const ask = ({ actor }: Trace) => {
            try {
              return answers(actor, all);
            } catch (error) {
              return (error as Error).message;
            }
          };
          expect(ask(compiled)).toBe(ask(interpreted));
        },
      ),
      { numRuns: 3_000 },
    );
  });

  it("may be provided with work first, and is a machine to whoever asks", () => {
    const done: string[] = [];
    const machine = stepMachine.provide({ actions: { load: () => void done.push("load") } });
    const logic = compile(machine);
    const actor = createActor(logic, { input: sampleInput }).start();
    expect(done).toEqual(["load"]);
    expect(logic.id).toBe("step");
    expect(JSON.stringify(logic.definition)).toBe(JSON.stringify(machine.definition));
    expect(actor.getSnapshot().machine).toBe(machine);
    expect(actor.getSnapshot().matches("pending")).toBe(true);
    expect(actor.getSnapshot().hasTag("closing")).toBe(false);
  });

  it("starts no work before its actor is started, and none when it is restored", () => {
    const done: string[] = [];
    const logic = heard(compiledStep)((what) => done.push(what));
    const actor = createActor(logic, { input: sampleInput });
    expect(done).toEqual([]);
    actor.start();
    expect(done).toHaveLength(1);
    createActor(logic, { input: sampleInput, snapshot: actor.getPersistedSnapshot() }).start();
    expect(done).toHaveLength(1);
  });

  it("shares no part of a snapshot that a reader could change", () => {
    const one = createActor(compile(stepMachine), { input: sampleInput }).start();
    one.send({ type: "record.fresh" });
    const { value } = one.getSnapshot();
    expect(() => Object.assign(value, { "policy-check": "elsewhere" })).toThrow(TypeError);
  });

  it("stops as XState stops it", () => {
    const actor = createActor(compile(stepMachine), { input: sampleInput }).start();
    actor.stop();
    expect(actor.getSnapshot().status).toBe("stopped");
  });
});

describe("what a table cannot say is refused when compiling, by machine, state and feature", () => {
  const other = createMachine({});
  const inState = (state: object) =>
    createMachine({ id: "m", initial: "a", states: { a: state, b: {} } } as never);
  const withEntry = (action: unknown) => inState({ entry: action });
  const cases: Record<string, [AnyStateMachine, string]> = {
    invoke: [inState({ invoke: { src: other } }), "invoke"],
    after: [inState({ after: { 10: "b" } }), "after"],
    always: [inState({ always: { target: "b" } }), "always"],
    route: [inState({ id: "here", route: {} }), "route"],
    parallel: [inState({ type: "parallel", states: { c: {}, d: {} } }), "a parallel state"],
    targets: [inState({ on: { go: { target: ["a", "b"] } } }), "a transition with several targets"],
    final: [
      inState({ type: "final", states: { c: {} }, initial: "c" }),
      "a final state with child states",
    ],
    guard: [inState({ on: { go: { guard: "isNowhere", target: "b" } } }), 'the guard "isNowhere"'],
    raise: [withEntry(raise({ type: "go" })), "the action raise"],
    sendTo: [withEntry(sendTo("x", { type: "go" })), "the action sendTo"],
    sendParent: [withEntry(sendParent({ type: "go" })), "the action sendTo"],
    spawnChild: [withEntry(spawnChild(other)), "the action spawnChild"],
    stopChild: [withEntry(stopChild("x")), "the action stopChild"],
    enqueueActions: [withEntry(enqueueActions(() => {})), "the action enqueueActions"],
    emit: [withEntry(emit({ type: "go" })), "the action emit"],
    log: [withEntry(log("x")), "the action log"],
    cancel: [withEntry(cancel("x")), "the action cancel"],
  };

  it.each(Object.entries(cases))("%s", (_name, [machine, feature]) => {
    let message = "nothing was refused";
    try {
      compile(machine);
    } catch (error) {
      ({ message } = error as Error);
    }
    expect(message).toContain('the machine "m" cannot be compiled: ');
    expect(message).toContain(feature);
    expect(message).toContain('in the state "a"');
  });

  it("history, in the state that is one", () => {
    const machine = inState({ initial: "c", states: { c: {}, h: { type: "history" } } });
    expect(() => compile(machine)).toThrow('a history state in the state "a.h" is not covered');
  });

  it("a root that is parallel, and a built-in action under a name", () => {
    const parallel = createMachine({ id: "m", type: "parallel", states: { a: {}, b: {} } });
    expect(() => compile(parallel)).toThrow("a parallel state in its root is not covered");
    const named = inState({ exit: "shout" }).provide({ actions: { shout: raise({ type: "go" }) } });
    expect(() => compile(named)).toThrow('the action raise in the state "a" is not covered');
  });

  it("an assigner that spawns, when it does", () => {
    const spawning = assign({
      child: ({ spawn }: { spawn: (logic: unknown) => unknown }) => spawn(other),
    });
    const actor = createActor(compile(withEntry(spawning)));
    expect(actor.getSnapshot()).toMatchObject({ status: "error" });
    expect(String((actor.getSnapshot() as { error?: unknown }).error)).toContain(
      'the machine "m" is compiled, and a compiled chart does not spawn actors',
    );
  });
});
