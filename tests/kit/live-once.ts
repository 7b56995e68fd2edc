import { type AnyActorRef, createActor, fromCallback } from "xstate";
import { Bulkheads } from "../../actors/step/execute.ts";
import { handlersFor } from "../../actors/handlers/handlers.ts";
import type { RuntimeOptions } from "../../actors/options.ts";
import type { RuntimePorts } from "../../actors/ports.ts";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import { RunLooks } from "../../actors/run-looks.ts";
import { TroubleWatch } from "../../actors/trouble.ts";
import { type WorkerContext, spawnStep } from "../../actors/step/spawn.ts";
import { BoxedMap } from "../../machines/contracts/domain/boxed-map.ts";
import { bindStep } from "../../actors/step/bind.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import type { Delivery } from "../../machines/contracts/ports/step-backend.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const missing = { kind: "not_found", message: "no such neighbour here", retryable: false } as const;

/** Every neighbour that a step of the kit does not need. */
export const noNeighbours: Omit<RuntimePorts, "queue" | "store" | "controlPlane" | "clock"> = {
  models: { complete: async () => ({ ok: false, failure: missing }) },
  tools: {
    list: async () => ({ ok: true, value: [] }),
    describe: async () => ({ ok: false, failure: missing }),
    call: async () => ({ ok: false, failure: missing }),
    close: async () => {},
  },
  sandbox: { missing: "no sandbox here" },
  retrievers: {
    local: { retrieve: async () => ({ ok: false, failure: missing }) },
    http: null,
  },
  artifacts: {
    isShared: true,
    check: async () => ({ ok: true, value: null }),
    put: async () => ({ ok: false, failure: missing }),
    get: async () => ({ ok: false, failure: missing }),
  },
  schemas: createSchemaChecker(),
  log: silent,
};

/** One step actor with real work behind its names, alive in a worker that has nothing else to do. */
export interface OneLife {
  worker: WorkerContext;
  /** How it ended; pending while it lives. */
  ended: Promise<string>;
  tell: (
    event:
      | { type: "cancel.requested"; reason: string }
      | { type: "drain.requested" }
      | { type: "lease.lost" },
  ) => void;
}

/** Raises one delivered step as the spawner does, over the ports given. */
export function liveOnce(
  ports: RuntimePorts,
  options: RuntimeOptions,
  one: { job: Job; delivery: Delivery },
): OneLife {
  const trouble = new TroubleWatch(ports);
  const runs = new RunLooks(ports.clock);
  const track = () => {};
  const worker: WorkerContext = {
    ports,
    options,
    machine: bindStep({
      ports,
      options,
      handlers: handlersFor(ports, options),
      bulkheads: new Bulkheads(options.bulkheads),
      trouble,
      runs,
      track,
    }),
    alive: new BoxedMap(),
    trouble,
    runs,
    track,
    log: () => ports.log,
  };
  const parent: AnyActorRef = createActor(fromCallback(() => {})).start();
  const { promise: ended, resolve } = Promise.withResolvers<string>();
  const { job, delivery } = one;
  spawnStep(worker, {
    parent,
    tell: ({ type }) => resolve(type),
    tellEnded: resolve,
    delivery,
    key: job,
    job,
    problem: null,
  });
  const tell: OneLife["tell"] = (event) => {
    const step = worker.alive.get(delivery.entryId);
    step?.tell(event);
    if (event.type === "drain.requested") step?.session.drain();
  };
  return { worker, ended, tell };
}
