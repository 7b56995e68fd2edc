import type { StepQueue } from "../../machines/contracts/ports/step-backend.ts";
import { parseJob } from "../../machines/contracts/domain/job.ts";
import type { Crew } from "./crew.ts";
import type { SharedDatabase } from "./database.ts";
import type { StoreTrouble } from "./faults.ts";
import type { FaultPlan, StepPlan } from "./plan.ts";
import type { Stage } from "./worker.ts";

/** Where faults strike. */
export interface Scene {
  stage: Stage;
  crew: Crew;
  database: SharedDatabase;
  queue: StepQueue;
  /** Puts a step's job on the stream once more. */
  publish: (step: StepPlan) => void;
}

/** Moves the tools to another server, or changes their arguments. */
export function changeTools(
  { world, tools, witness, faults }: Pick<Stage, "world" | "tools" | "witness" | "faults">,
  what: "server" | "schema",
): void {
  faults.count("tools-changed");
  world.note("world", `the tools' ${what} changes`);
  if (what === "server") tools.server = `${tools.server}-2`;
  else tools.schema += 1;
  witness.toolChanges.push({ at: world.elapsed, tools: { ...tools } });
}

/** Lets one planned fault strike at its moment; what the store forgets is copied so long before. */
export function schedule(scene: Scene, fault: FaultPlan): void {
  const { world, faults, witness } = scene.stage;
  if (fault.kind !== "writes-lost") {
    world.schedule(fault.at, () => happen(scene, fault));
    return;
  }
  const from = Math.max(0, fault.at - fault.byMs);
  world.schedule(from, () => {
    const copy = scene.database.copy();
    world.schedule(fault.at - from, () => {
      faults.count(fault.kind);
      world.note("world", `the store forgets its last ${fault.byMs} ms`);
      scene.database.restore(copy);
      witness.disturb("all", world.elapsed, fault.kind);
      witness.forgotten.push({ from, to: world.elapsed });
    });
  });
}

function happen(scene: Scene, fault: FaultPlan): void {
  const { stage, crew } = scene;
  const { world, faults, witness, plane, plan } = stage;
  switch (fault.kind) {
    case "crash":
    case "pause":
    case "drain":
      return crew.do(fault);
    case "control-plane-away":
      return during(fault, "the control plane is away", (isOn) => (faults.isPlaneAway = isOn));
    case "key-refused":
      return during(fault, "the key is refused", (isOn) => (faults.isKeyRefused = isOn));
    case "proxy-answers":
      return during(fault, `a proxy answers: ${fault.how}`, (isOn) => {
        faults.proxy = isOn ? fault.how : null;
      });
    case "health-slow":
      return during(fault, `health takes ${fault.byMs} ms longer`, (isOn) => {
        faults.healthLateMs = isOn ? fault.byMs : 0;
      });
    case "artifacts-refusing":
      return during(fault, `artifacts are refused (${fault.trouble})`, (isOn) => {
        faults.artifacts = isOn ? fault.trouble : null;
      });
    case "store-away":
      return storeTrouble("away", fault.worker, fault);
    case "store-full":
      return storeTrouble("full", null, fault);
    case "store-read-only":
      return storeTrouble("read-only", fault.worker, fault);
    case "store-refusing":
      return storeTrouble("refusing", fault.worker, fault);
    case "result-refused":
      return void faults.refused.add(fault.stepId);
    case "record-unusable":
      faults.count(fault.kind);
      world.note("world", `the record of ${fault.stepId} is unusable from now on`);
      return void faults.unusable.add(fault.stepId);
    case "entry-vanished": {
      // What FerrumDeck enqueued and no worker has seen, nobody remembers.
      const isOwned = plan.rules === "ferrumdeck";
      if (isOwned && !witness.openings.has(fault.stepId)) return;
      if (!scene.database.removeEntries(fault.stepId, isOwned)) return;
      faults.count(fault.kind);
      world.note("world", `the entries of ${fault.stepId} vanish from the stream`);
      return witness.disturb("all", world.elapsed, fault.kind);
    }
    case "duplicate": {
      const step = stage.steps.get(fault.stepId);
      if (step === undefined || step.at > world.elapsed) return;
      faults.count(fault.kind);
      return scene.publish(step);
    }
    case "cancel":
      faults.count(fault.kind);
      return plane.cancel(fault.runId);
    case "tools-changed":
      return changeTools(stage, fault.what);
    case "tools-away":
      return during(fault, "the tools are away", (isOn) => (faults.areToolsAway = isOn));
    case "letters-retried":
      return void retryLetters(scene);
    case "clock-jump":
      faults.count(fault.kind);
      world.note("world", `wall clocks jump ${fault.byMs} ms ahead`);
      witness.jumps.push(world.elapsed);
      world.jumped += fault.byMs;
      return;
    case "writes-lost":
      return;
    default:
      return faults.arm(fault);
  }

  function during(
    { kind, forMs }: { kind: string; forMs: number },
    what: string,
    set: (isOn: boolean) => void,
  ): void {
    faults.count(kind);
    world.note("world", `${what}, for ${forMs} ms`);
    set(true);
    world.schedule(forMs, () => set(false));
  }

  function storeTrouble(
    how: StoreTrouble,
    worker: number | null,
    { kind, forMs }: { kind: string; forMs: number },
  ): void {
    faults.count(kind);
    const all = Array.from({ length: plan.workers }, (_, slot) => slot);
    const slots = worker === null ? all : [worker];
    world.note("world", `the store is ${how} for ${slots.join(", ")}, ${forMs} ms`);
    for (const slot of slots) {
      faults.trouble(slot, how);
      // A lease that can't be renewed may be lost; a full store renews it.
      const name = crew.alive.get(slot)?.name;
      if (name !== undefined && how !== "full") witness.disturb(name, world.elapsed, kind);
    }
    world.schedule(forMs, () => {
      for (const slot of slots) faults.endTrouble(slot, how);
    });
  }
}

/** A person puts every dead letter back. */
async function retryLetters({ stage, queue, database }: Scene): Promise<void> {
  const { faults, witness, world } = stage;
  for (const { id, fields } of await queue.deadLetters(1_000)) {
    const parsed = parseJob(fields);
    const { runId, stepId } = parsed.valid ? parsed.job : parsed.invalid;
    faults.count("letters-retried");
    if (stepId !== null) {
      witness.retried.set(stepId, world.elapsed);
      faults.refused.delete(stepId);
    }
    world.note("person", `retries the dead letter of ${stepId ?? "nobody"}`);
    await queue.retryDeadLetter(id);
    if (runId !== null && stepId !== null) {
      stage.plant?.meddle?.(database, "retried", { runId, stepId });
    }
  }
}
