import { defaultOptions } from "../../actors/options.ts";
import { type Runtime, startRuntime } from "../../actors/runtime.ts";
import { createSqliteBackend } from "../../adapters/sqlite/backend.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import { Gate } from "./gate.ts";
import { Link } from "./link.ts";
import { loopHandler } from "./loop-handler.ts";
import {
  noArtifacts,
  simulatedModels,
  simulatedRetriever,
  simulatedSandbox,
  simulatedTools,
  type Surroundings,
} from "./neighbours.ts";
import type { Plan, StepPlan, Strike } from "./plan.ts";
import type { Plane } from "./plane.ts";
import { planePort, pushedRuns } from "./plane-port.ts";
import { type Leases, type PlantName, plants } from "./plants.ts";
import { weatheredStore, witnessedStore } from "./store-ports.ts";
import type { Weather } from "./weather.ts";
import type { Witness } from "./witness.ts";
import type { World } from "./world.ts";

/** What all workers of one history share. */
export interface Stage {
  plan: Plan;
  path: string;
  world: World;
  weather: Weather;
  witness: Witness;
  plane: Plane;
  steps: ReadonlyMap<string, StepPlan>;
  calls: Map<string, number>;
  leases: Leases;
  plant: PlantName | null;
  isFaulty: () => boolean;
}

export interface Worker {
  name: string;
  slot: number;
  gate: Gate;
  runtime: Runtime;
  backend: StepBackend;
  /** Until when it was told to be gone; null while it works. */
  drainsBy: number | null;
}

/** One whole worker, as production composes it, with simulated neighbours and its process at our mercy. */
export async function startWorker(
  stage: Stage,
  slot: number,
  life: number,
  onCall: (worker: Worker, call: string, side: Strike["side"]) => void,
): Promise<Worker> {
  const { plan, world, weather, witness, plane } = stage;
  const name = `w${slot}.${life}`;
  const gate = new Gate(world, plan.timersFirst);
  let worker: Worker | null = null;
  const link = new Link({
    name,
    seed: plan.seed,
    world,
    gate,
    onCall: (call, side) => worker !== null && onCall(worker, call, side),
  });
  const clock = link.clock();
  const backend = await createSqliteBackend({ path: stage.path, consumer: name, clock });
  const plant = stage.plant === null ? null : plants[stage.plant];
  const seen = witnessedStore(backend.store, name, { link, weather, witness });
  const store = plant?.store?.(seen, stage.leases) ?? seen;
  const extensions = new Set(["idempotent-results", "approvals"] as const);
  const port = planePort(
    plane,
    { link, weather, witness },
    plan.events ? extensions.union(new Set(["events"] as const)) : extensions,
  );
  const around: Surroundings = {
    link,
    weather,
    witness,
    steps: stage.steps,
    calls: stage.calls,
    isFaulty: stage.isFaulty,
  };
  const controlPlane = link.reach("plane", port);
  const ports = {
    queue: link.reach("queue", weatheredStore(backend.queue, { link, weather, slot })),
    store: link.reach("store", weatheredStore(store, { link, weather, slot })),
    controlPlane: plant?.controlPlane?.(controlPlane) ?? controlPlane,
    ...(plan.events ? { watchRuns: pushedRuns(plane, { link, weather }) } : {}),
    models: link.reach("models", simulatedModels(around)),
    tools: link.reach("tools", simulatedTools(around)),
    sandbox: link.reach("sandbox", simulatedSandbox(around)),
    retrievers: {
      local: link.reach("retriever", simulatedRetriever(around)),
      http: link.reach("retriever", simulatedRetriever(around)),
    },
    artifacts: noArtifacts,
    clock,
    log: listeningLog(name, witness),
  };
  const runtime = startRuntime(ports, {
    ...defaultOptions,
    capacity: plan.capacity,
    leaseMs: plan.leaseMs,
    maxDeliveries: plan.maxDeliveries,
    inDoubt: plan.inDoubt,
    limits: {
      maxAttempts: 3,
      maxRepairs: 1,
      baseDelayMs: 200,
      maxDelayMs: 2_000,
      parkAfterMs: 3_000,
    },
    deadlines: { queueMs: null, approvalMs: 3_600_000, executingMs: 8_000, totalMs: plan.totalMs },
    allowlist: { allowed: ["pay", "put", "look"], approvalRequired: [], denied: [] },
    handlers: { llm: loopHandler(ports) },
  });
  worker = { name, slot, gate, runtime, backend, drainsBy: null };
  return worker;
}

/** Workers log errors only for what nobody expected. */
function listeningLog(name: string, witness: Witness): Log {
  const silent = () => {};
  return {
    debug: silent,
    info: silent,
    warn: silent,
    error(fields, message) {
      const cause: unknown = Reflect.get(fields, "err");
      const why = cause instanceof Error ? `: ${cause.stack ?? cause.message}` : "";
      witness.unexpected.push(`${name} logged "${message}"${why}`);
    },
  };
}
