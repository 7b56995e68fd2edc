import { defaultOptions, type RuntimeOptions } from "../../actors/options.ts";
import type { RuntimePorts } from "../../actors/ports.ts";
import { type Runtime, startRuntime } from "../../actors/runtime.ts";
import { controlPlaneApi } from "../../adapters/control-plane/api.ts";
import { createControlPlane } from "../../adapters/control-plane/client.ts";
import { createSqliteBackend } from "../../adapters/sqlite/backend.ts";
import { type Verdict, verdict } from "../../machines/contracts/domain/action.ts";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import type { ControlPlane } from "../../machines/contracts/ports/control-plane.ts";
import type { StepBackend, StepStore } from "../../machines/contracts/ports/step-backend.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import { type Artifacts, simulatedArtifacts } from "./artifacts.ts";
import type { SharedDatabase } from "./database.ts";
import type { ActiveFaults } from "./faults.ts";
import { Gate } from "./gate.ts";
import { Link, plantedError } from "./link.ts";
import {
  simulatedModels,
  simulatedRetriever,
  simulatedSandbox,
  simulatedTools,
  type Surroundings,
  type Toolbox,
} from "./neighbours.ts";
import { pushedRuns, simulatedHttp } from "./network.ts";
import type { Plan, StepPlan, Strike } from "./plan.ts";
import type { Plane } from "./plane.ts";
import { type Leases, type Plant } from "./plants.ts";
import { faultyStore, witnessedStore } from "./store-ports.ts";
import type { Witness } from "./witness.ts";
import type { World } from "./world.ts";

/** What all workers of one history share. */
export interface Stage {
  plan: Plan;
  path: string;
  world: World;
  faults: ActiveFaults;
  witness: Witness;
  plane: Plane;
  steps: ReadonlyMap<string, StepPlan>;
  calls: Map<string, number>;
  leases: Leases;
  artifacts: Artifacts;
  tools: Toolbox;
  plant: Plant | null;
  database: SharedDatabase;
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
  const { plan, world, faults, witness, plane } = stage;
  const name = `w${slot}.${life}`;
  const gate = new Gate(world, plan.timersFirst);
  let worker: Worker | null = null;
  const link = new Link({
    name,
    seed: plan.seed,
    world,
    gate,
    clockAhead: plan.clocks[slot] ?? 0,
    onCall: (call, side) => worker !== null && onCall(worker, call, side),
    throws: (call) => {
      const isStruck = faults.throws(call);
      if (isStruck) witness.disturb(name, world.elapsed, "neighbour-throws");
      return isStruck;
    },
  });
  const clock = link.clock();
  const backend = await createSqliteBackend({
    path: stage.path,
    consumer: name,
    clock: link.storeClock(),
  });
  const plant: Partial<Plant> = stage.plant ?? {};
  const seen = witnessedStore(backend.store, name, { link, witness });
  const planted = plant.store?.(seen, stage.leases) ?? seen;
  const store: StepStore = {
    ...planted,
    async open(...args) {
      const opening = await planted.open(...args);
      plant.meddle?.(stage.database, "opened", args[1]);
      return opening;
    },
  };
  const around: Surroundings = { ...stage, link, slot };
  const http = simulatedHttp(plane, { link, faults, witness });
  const plain = link.reach(
    "plane",
    createControlPlane(controlPlaneApi(plant.http?.(http) ?? http), () => world.elapsed),
  );
  const noted = (stepId: string) => ({ stepId, by: name, at: world.elapsed });
  const looked: ControlPlane["checkTool"] = async (check, signal) => {
    const answer = await plain.checkTool(check, signal);
    const { ref, call = null } = check.toolInput as { ref: string; call?: string };
    if (answer.ok) witness.looks.push({ ...noted(ref), call });
    return answer;
  };
  const watched = { ...plain, checkTool: looked };
  const reached = link.reach("store", faultyStore(store, { link, faults, slot }));
  const ports: RuntimePorts = {
    queue: link.reach("queue", faultyStore(backend.queue, { link, faults, slot })),
    store: {
      ...reached,
      append: (lease, ...rest) =>
        reached.append(lease, ...rest).catch((error: unknown) => {
          witness.waits.push(noted(lease.stepId));
          throw error;
        }),
    },
    controlPlane: plant.controlPlane?.(watched) ?? watched,
    ...(plan.events ? { watchRuns: pushedRuns(plane, { link, faults }) } : {}),
    models: link.reach("models", simulatedModels(around)),
    tools: link.reach("tools", simulatedTools(around)),
    sandbox: link.reach("sandbox", simulatedSandbox(around)),
    schemas: createSchemaChecker(),
    retrievers: {
      local: link.reach("retriever", simulatedRetriever(around)),
      http: link.reach("retriever", simulatedRetriever(around)),
    },
    artifacts: link.reach("artifacts", simulatedArtifacts(stage.artifacts, faults)),
    clock,
    log: listeningLog(name, stage),
  };
  const denied = deniedNow(stage);
  witness.denied.set(name, denied === null ? null : (plan.denied?.tool ?? null));
  const options: RuntimeOptions = {
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
    deadlines: {
      queueMs: null,
      // FerrumDeck says nothing of a question that nobody answered: the worker's own deadline ends it.
      approvalMs: plan.rules === "embedded" ? 3_600_000 : 30_000,
      executingMs: 8_000,
      totalMs: plan.totalMs,
    },
    allowlist: {
      allowed: ["pay", "put", "look"],
      approvalRequired: [],
      denied: denied === null ? [] : [denied],
    },
    maxReportBytes: 512 * 1024,
    defaultModel: "simulated",
    ...(plan.ownPolicy === null ? {} : { policy: ownPolicy(plan.ownPolicy) }),
    onStepEvent: (notice) => {
      if (notice.kind !== "ended") return;
      const { stepId, how, stateHistory } = notice;
      const states = stateHistory.length;
      witness.ends.push({ by: name, at: world.elapsed, stepId, how, states });
    },
  };
  const wired = plant.worker?.(ports, options) ?? { ports, options };
  const runtime = startRuntime(wired.ports, wired.options);
  worker = { name, slot, gate, runtime, backend, drainsBy: null };
  return worker;
}

/** What a worker that starts now denies, as its list spells it. */
function deniedNow({ plan, world, tools }: Stage): string | null {
  const { denied } = plan;
  if (denied === null || world.elapsed < denied.from) return null;
  return denied.spelling === "full" ? `${tools.server}/${denied.tool}` : denied.tool;
}

/** A user's policy function that has a fault: for one tool it does not answer as it should. */
function ownPolicy(how: NonNullable<Plan["ownPolicy"]>): NonNullable<RuntimeOptions["policy"]> {
  return ({ name }) => {
    if (name !== "put" && !name.endsWith(".put")) return verdict.allow("the user's policy");
    if (how === "throws") throw new Error(plantedError);
    return { kind: "denied", reason: "the user's policy" } as unknown as Verdict;
  };
}

/** Keeps what a person would see, and the errors that nobody planted. */
function listeningLog(by: string, { witness, world, faults }: Stage): Log {
  const keep = (fields: object, message: string) => {
    const { stepId } = fields as { stepId?: unknown };
    const named = typeof stepId === "string" ? stepId : null;
    witness.lines.push({ by, at: world.elapsed, stepId: named, message });
  };
  return {
    debug: () => {},
    info: keep,
    warn: keep,
    error(fields, message) {
      keep(fields, message);
      const cause: unknown = Reflect.get(fields, "err");
      const isExpected =
        cause instanceof Error
          ? cause.name === "StoreError" || cause.message === plantedError
          : ours.some((kind) => (faults.counts[kind] ?? 0) > 0);
      const why = cause instanceof Error ? `: ${cause.stack ?? cause.message}` : "";
      if (!isExpected) witness.unexpected.push(`${by} logged "${message}"${why}`);
    },
  };
}

/** Trouble that only a person can mend, which a worker says at the top of its voice. */
const ours = ["key-refused", "store-refusing", "artifacts-refusing"];
