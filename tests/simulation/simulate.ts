import { createSqliteBackend } from "../../adapters/sqlite/backend.ts";
import { Crew } from "./crew.ts";
import { fieldsOf } from "./jobs.ts";
import type { FaultPlan, Plan, StepPlan } from "./plan.ts";
import { Plane } from "./plane.ts";
import type { PlantName } from "./plants.ts";
import { type Broken, brokenPromises, isQuiet } from "./promises.ts";
import { Weather } from "./weather.ts";
import { Witness } from "./witness.ts";
import type { Stage } from "./worker.ts";
import { World } from "./world.ts";

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
const restWithinMs = 240_000;
const stopWithinMs = 20_000;
let histories = 0;

/** Plays one history to its end, and says which promises it broke. */
export async function simulate(plan: Plan, plant: PlantName | null = null): Promise<Simulation> {
  const world = new World();
  const weather = new Weather();
  const witness = new Witness();
  histories += 1;
  const path = `file:simulation-${histories}?mode=memory&cache=shared`;
  const backend = await createSqliteBackend({
    path,
    consumer: "control-plane",
    clock: world.clock(),
  });
  const publish = (step: StepPlan) => {
    world.note("plane", `publishes ${step.stepId} (${step.kind})`);
    void backend.queue.publish(fieldsOf(step, world.now()));
  };
  const plane = new Plane(plan, world, publish);
  const steps = new Map(plan.steps.map((step) => [step.stepId, step]));
  const isFaulty = () => world.elapsed < plan.healAt;
  const shared = { plan, path, world, weather, witness, plane, steps, plant, isFaulty };
  const stage: Stage = { ...shared, calls: new Map(), leases: new Map() };
  const crew = new Crew(stage);
  let isHealed = false;

  for (const step of plan.steps) world.schedule(step.at, () => publish(step));
  for (const fault of plan.faults) world.schedule(fault.at, () => befall(fault));
  world.schedule(plan.healAt, () => {
    world.note("world", "faults stop");
    weather.calm();
    void crew.heal(plan.workers).then(() => {
      isHealed = true;
    });
  });
  for (let slot = 0; slot < plan.workers; slot += 1) await crew.start(slot);

  function befall(fault: FaultPlan): void {
    switch (fault.kind) {
      case "crash":
      case "pause":
      case "drain":
        return crew.do(fault);
      case "control-plane-away": {
        weather.count(fault.kind);
        world.note("world", `the control plane is away for ${fault.forMs} ms`);
        weather.isPlaneAway = true;
        return void world.schedule(fault.forMs, () => (weather.isPlaneAway = false));
      }
      case "store-away": {
        weather.count(fault.kind);
        const all = Array.from({ length: plan.workers }, (_, slot) => slot);
        const slots = fault.worker === null ? all : [fault.worker];
        world.note("world", `the store is away for ${slots.join(", ")}, ${fault.forMs} ms`);
        for (const slot of slots) weather.storeAway.add(slot);
        return void world.schedule(fault.forMs, () => {
          for (const slot of slots) weather.storeAway.delete(slot);
        });
      }
      case "duplicate": {
        const step = steps.get(fault.stepId);
        if (step === undefined || step.at > world.elapsed) return;
        weather.count(fault.kind);
        return publish(step);
      }
      case "cancel":
        weather.count(fault.kind);
        return plane.cancel(fault.runId);
      case "clock-jump":
        weather.count(fault.kind);
        world.note("world", `wall clocks jump ${fault.byMs} ms ahead`);
        witness.jumps.push(world.elapsed);
        world.jumped += fault.byMs;
        return;
      default:
        return weather.arm(fault);
    }
  }

  /** Lets the world go on until something is so; false when it is not in time. */
  async function until(isSo: () => Promise<boolean> | boolean, withinMs: number): Promise<boolean> {
    const deadline = world.elapsed + withinMs;
    let lookAt = 0;
    while (world.elapsed < deadline) {
      if (world.elapsed >= lookAt) {
        if (await isSo()) return true;
        lookAt = world.elapsed + 500;
      }
      if (!(await world.step())) return await isSo();
      watchCapacity();
    }
    return false;
  }
  function watchCapacity(): void {
    for (const { name, runtime } of crew.alive.values()) {
      const held = runtime.steps().length;
      if (held > plan.capacity) witness.overfull.push(`${name} holds ${held} steps`);
    }
  }

  const cameToRest = await until(
    async () => isHealed && (await isQuiet(stage, backend, crew)),
    plan.healAt + restWithinMs,
  );
  const left = [...crew.alive.values()];
  const late = left.flatMap(({ name, drainsBy }) => (drainsBy === null ? [] : [name]));
  let stopped = 0;
  for (const { runtime } of left) void runtime.stop().then(() => (stopped += 1));
  const didStop = await until(() => stopped === left.length, stopWithinMs);
  const broken = await brokenPromises(stage, backend, { cameToRest, didStop, late });
  await crew.close();
  await backend.close();
  return {
    broken,
    history: world.history,
    faults: weather.counts,
    steps: plan.steps.length,
    reports: [...plane.steps.values()].reduce((sum, { taken }) => sum + taken, 0),
  };
}
