import { type AnyActorRef, createActor } from "xstate";
import { compile } from "../../machines/compile.ts";
import type { StepEvent } from "../../machines/step/events.ts";
import { stepMachine } from "../../machines/step/machine.ts";
import { sampleInput } from "../kit/step-events.ts";
import { mediansOf, table } from "./figures.ts";

/** Microseconds for a whole plain step: its first state and the seven events that follow. */
type Micros = Record<"interpreted" | "compiled", number>;

export interface ChartFigures {
  /** The chart alone: `transition` on a scope that executes nothing. */
  chart: Micros & { ratio: number };
  /** A child actor made, started, sent the events, and ended. */
  actor: Micros & { ratio: number };
}

/** What happens to a step that nothing goes wrong with. */
const plainStep: readonly StepEvent[] = [
  { type: "record.fresh" },
  { type: "policy.allowed", verdict: { kind: "allow", reason: "on the allowlist" } },
  { type: "execution.completed", output: { documents: [] }, usage: null, costly: false },
  { type: "output.valid", output: { documents: [] } },
  { type: "result.recorded", result: null },
  { type: "delivery.accepted" },
  { type: "step.settled" },
];

type Logic = typeof stepMachine;

/** The step chart as the interpreter runs it and compiled, in turns, in this process. */
export function benchChart(rounds: number): ChartFigures {
  const compiled = compile(stepMachine);
  const parent = createActor(stepMachine, { input: sampleInput });
  const nothing = () => {};
  const scope = {
    self: parent,
    system: parent.system,
    actionExecutor: nothing,
    defer: nothing,
  } as unknown as Parameters<Logic["transition"]>[2];
  const walk = (logic: Logic) => () => {
    let snapshot = logic.getInitialSnapshot(scope, sampleInput);
    for (const event of plainStep) snapshot = logic.transition(snapshot, event, scope);
    if (snapshot.status !== "done") throw new Error("a plain step did not end");
  };
  const live = (logic: Logic) => () => {
    const actor = createActor(logic, { input: sampleInput, parent: parent as AnyActorRef });
    actor.start();
    for (const event of plainStep) actor.send(event);
    if (actor.getSnapshot().status !== "done") throw new Error("a plain step did not end");
  };
  const times = { chart: 20_000, actor: 20_000 };
  const compare = (work: (logic: Logic) => () => void, repeats: number) => {
    // Both are warm before either is measured.
    for (const logic of [stepMachine, compiled]) microsOf(work(logic), repeats / 4);
    return Array.from({ length: rounds }, () => {
      const interpreted = microsOf(work(stepMachine), repeats / 4);
      const quick = microsOf(work(compiled), repeats);
      return { interpreted, compiled: quick, ratio: interpreted / quick };
    });
  };
  return {
    chart: mediansOf(compare(walk, times.chart)),
    actor: mediansOf(compare(live, times.actor)),
  };
}

function microsOf(work: () => void, repeats: number): number {
  const begun = performance.now();
  for (let done = 0; done < repeats; done += 1) work();
  return ((performance.now() - begun) / repeats) * 1_000;
}

export function chartTable({ chart, actor }: ChartFigures): string {
  const row = (name: string, { interpreted, compiled, ratio }: ChartFigures["chart"]) => [
    name,
    interpreted.toFixed(1),
    compiled.toFixed(1),
    ratio.toFixed(1),
  ];
  return [
    "a plain step's seven events, µs",
    table(
      ["", "interpreted", "compiled", "times faster"],
      [row("the chart alone", chart), row("in an actor", actor)],
    ),
    "held to be equal by tests/model/compile.test.ts",
  ].join("\n");
}
