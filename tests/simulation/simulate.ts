import { createSqliteBackend } from "../../adapters/sqlite/backend.ts";
import { Crew } from "./crew.ts";
import { SharedDatabase } from "./database.ts";
import { ActiveFaults } from "./faults.ts";
import { type Scene, schedule } from "./happen.ts";
import { fieldsOf } from "./jobs.ts";
import { firstToolbox } from "./neighbours.ts";
import type { Plan, StepPlan } from "./plan.ts";
import { Plane } from "./plane.ts";
import { type PlantName, plants } from "./plants.ts";
import { type Broken, brokenPromises } from "./promises.ts";
import { isQuiet } from "./rest.ts";
import { Witness } from "./witness.ts";
import type { Stage } from "./worker.ts";
import { settled, World } from "./world.ts";

export interface Simulation {
  broken: Broken[];
  /** One line a thing that happened. */
  history: string[];
  /** Faults that struck, by kind. */
  faults: Record<string, number>;
  steps: number;
  /** Reports the control plane accepted as the end of a step. */
  reports: number;
}

/** How long after the faults a history may take to come to rest. */
const restWithinMs = 300_000;
const stopWithinMs = 20_000;
let histories = 0;

/** Plays one history to its end, and says which promises it broke. */
export async function simulate(plan: Plan, plant: PlantName | null = null): Promise<Simulation> {
  const world = new World();
  const faults = new ActiveFaults();
  histories += 1;
  const path = `file:simulation-${histories}?mode=memory&cache=shared`;
  const backend = await createSqliteBackend({
    path,
    consumer: "control-plane",
    clock: world.clock(),
  });
  const database = new SharedDatabase(path);
  const enqueue = (step: StepPlan, isHuman: boolean) => {
    world.note("plane", `publishes ${step.stepId} (${step.kind})`);
    void backend.queue.publish(fieldsOf(step, world.now(), isHuman));
  };
  /** The run of a step that waits for a person is cancelled, where a fault says so. */
  const cancelSoon = (after: "asked" | "approved") => (step: StepPlan) => {
    const byMs = faults.cancelsParked(step.stepId, after);
    if (byMs !== null) world.schedule(byMs, () => plane.cancel(step.runId));
  };
  const plane = new Plane(plan, world, {
    enqueue,
    asked: cancelSoon("asked"),
    approved: cancelSoon("approved"),
    isResultRefused(stepId) {
      const isRefused = faults.refused.has(stepId);
      if (isRefused) faults.count("result-refused");
      return isRefused;
    },
  });
  const steps = new Map(plan.steps.map((step) => [step.stepId, step]));
  const stage: Stage = {
    plan,
    path,
    world,
    faults,
    witness: new Witness(),
    plane,
    steps,
    plant: plant === null ? null : plants[plant],
    database,
    isFaulty: () => world.elapsed < plan.healAt,
    calls: new Map(),
    leases: new Map(),
    artifacts: new Map(),
    tools: { ...firstToolbox },
  };
  const crew = new Crew(stage);
  const publish = (step: StepPlan) => enqueue(step, false);
  const scene: Scene = { stage, crew, database, queue: backend.queue, publish };
  let isHealed = false;

  for (const step of plan.steps) world.schedule(step.at, () => plane.publish(step));
  for (const fault of plan.faults) schedule(scene, fault);
  world.schedule(plan.healAt, () => {
    world.note("world", "faults stop");
    faults.calm();
    void crew.heal(plan.workers).then(() => {
      isHealed = true;
    });
  });
  for (let slot = 0; slot < plan.workers; slot += 1) await crew.start(slot);

  /** Lets the world go on until something is so; false when it is not in time. */
  async function until(isSo: () => Promise<boolean> | boolean, withinMs: number): Promise<boolean> {
    const deadline = world.elapsed + withinMs;
    // What was just asked for comes to where it waits, before time goes on.
    await settled();
    let lookAt = 0;
    while (world.elapsed < deadline) {
      if (world.elapsed >= lookAt) {
        if (await isSo()) return true;
        lookAt = world.elapsed + 500;
      }
      if (!(await world.step())) return await isSo();
      watchCapacity();
    }
    // A late timer of a worker that died may have taken the history past the deadline in one step.
    return isSo();
  }
  function watchCapacity(): void {
    for (const { name, runtime } of crew.alive.values()) {
      const held = runtime.steps().length;
      if (held > plan.capacity) stage.witness.overfull.push(`${name} holds ${held} steps`);
    }
  }

  const lastAt = Math.max(plan.healAt, ...plan.faults.map(({ at }) => at));
  const cameToRest = await until(
    async () => isHealed && world.elapsed > lastAt && (await isQuiet(stage, backend, crew)),
    lastAt + restWithinMs,
  );
  const left = [...crew.alive.values()];
  const late = left.flatMap(({ name, drainsBy }) => (drainsBy === null ? [] : [name]));
  let stopped = 0;
  for (const { runtime } of left) void runtime.stop().then(() => (stopped += 1));
  const didStop = await until(() => stopped === left.length, stopWithinMs);
  const broken = await brokenPromises(stage, backend, { cameToRest, didStop, late });
  await crew.close();
  database.close();
  await backend.close();
  return {
    broken,
    history: world.history,
    faults: faults.counts,
    steps: plan.steps.length,
    reports: [...plane.steps.values()].reduce((sum, { taken }) => sum + taken, 0),
  };
}
