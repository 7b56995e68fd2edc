import { describe, expect, it } from "vitest";
import { createActor, createMachine } from "xstate";
import { inspectionOf } from "../../actors/inspection.ts";
import { defaultOptions } from "../../actors/options.ts";
import { StepActor, type StepSession } from "../../actors/step/session.ts";
import type { RunningStep } from "../../actors/step/spawn.ts";
import { compile } from "../../machines/compile.ts";
import type { InspectedActor, InspectedMove } from "../../machines/contracts/ports/inspection.ts";
import { stepMachine } from "../../machines/step/machine.ts";

const chart = compile(stepMachine);

/** A worker's steps, and what somebody who looks is told of them. */
function looking() {
  let now = 0;
  const clock = { now: () => now, monotonic: () => now };
  const supervisor = createActor(createMachine({ id: "supervisor" })).start();
  const alive = new Map<string, Pick<RunningStep, "actor" | "session">>();
  const appeared: InspectedActor[] = [];
  const moves: InspectedMove[] = [];
  let timesLeftOut = 0;
  const source = inspectionOf(supervisor, alive, clock);
  const { catchUp, stop } = source.watch(
    { appeared: (actor) => void appeared.push(actor), moved: (move) => void moves.push(move) },
    () => (timesLeftOut += 1),
  );
  const begin = (stepId: string) => {
    const key = { runId: "run", stepId };
    const known = { key, job: null, stateHistory: ["pending"], startedAt: now };
    const session = known as unknown as StepSession;
    const input = { ...key, job: null, problem: null, limits: defaultOptions.limits };
    const actor = new StepActor(session, chart, { id: stepId, parent: supervisor, input });
    alive.set(stepId, { actor, session });
    actor.start();
    return actor;
  };
  return {
    wait: (ms: number) => (now += ms),
    many: (count: number, name: string) =>
      Array.from({ length: count }, (_, n) => begin(`${name}_${n}`)),
    forget: (name: string) => {
      for (const stepId of alive.keys()) if (stepId.startsWith(name)) alive.delete(stepId);
    },
    catchUp,
    stop,
    steps: () => appeared.filter(({ machine }) => machine === "step").map(({ name }) => name),
    moves,
    timesLeftOut: () => timesLeftOut,
  };
}

describe("what is told of a flood of steps", () => {
  it("tells of 200 at once from their beginning, then of 50 a second, and says that others are left out [inspector.flood]", () => {
    const worker = looking();
    worker.many(200, "first");
    expect(worker.steps()).toHaveLength(200);
    expect(worker.timesLeftOut()).toBe(0);
    worker.many(1_000, "more");
    expect(worker.steps()).toHaveLength(200);
    expect(worker.timesLeftOut()).toBe(1);
    worker.forget("more");
    worker.catchUp();
    worker.wait(1_000);
    worker.many(1_000, "later");
    expect(worker.steps()).toHaveLength(250);
    expect(worker.timesLeftOut()).toBe(2);
    worker.stop();
  });

  it("tells of every step that lasts, as it is and from then on, and of a few that are young [inspector.flood]", () => {
    const worker = looking();
    const all = worker.many(2_200, "lasting");
    const last = all.at(-1);
    last?.send({ type: "record.fresh", kept: null } as never);
    worker.catchUp();
    expect(worker.steps()).toHaveLength(220);
    // It asks to be asked again.
    expect(worker.timesLeftOut()).toBe(2);
    worker.wait(1_001);
    worker.catchUp();
    expect(new Set(worker.steps()).size).toBe(2_200);
    expect(worker.steps()).toHaveLength(2_200);
    expect(worker.timesLeftOut()).toBe(2);
    const of = (actor: StepActor | undefined) =>
      worker.moves.filter(({ id }) => id === actor?.sessionId);
    expect(of(last).map(({ value }) => value)).toEqual(["policy-check.checking"]);
    last?.send({ type: "drain.requested" } as never);
    expect(of(last).at(-1)).toMatchObject({ event: "drain.requested", status: "done" });
    worker.stop();
  });
});
