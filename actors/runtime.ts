import { type ActorSystem, type ActorSystemInfo, createActor, type SnapshotFrom } from "xstate";
import type { StepKey } from "../machines/contracts/domain/record.ts";
import type { Log, Clock } from "../machines/contracts/ports/clock.ts";
import { type SupervisorEvent, supervisorMachine } from "../machines/supervisor/machine.ts";
import { Bulkheads } from "./step/execute.ts";
import { handlersFor } from "./handlers/handlers.ts";
import { spawner, type RunningStep, type WorkerContext } from "./step/spawn.ts";
import type { RuntimeOptions } from "./options.ts";
import { inspectionOf } from "./inspection.ts";
import type { InspectionSource } from "../machines/contracts/ports/inspection.ts";
import { guardPorts } from "./guard-ports.ts";
import type { RuntimePorts } from "./ports.ts";
import { traceRuntime } from "./traced-ports.ts";
import { isTracingOn } from "./tracing.ts";
import { cancellations } from "./sources/cancellations.ts";
import { grace, heartbeat, timers } from "./sources/periodic.ts";
import { jobsSource } from "./sources/jobs.ts";
import { bindStep } from "./step/bind.ts";
import { BoxedMap } from "../machines/contracts/domain/boxed-map.ts";
import { RunLooks } from "./run-looks.ts";
import { TroubleWatch } from "./trouble.ts";
import { watchKeys } from "./watch-keys.ts";
import { watchAvailability } from "./watch-availability.ts";

/** A worker at work. `await using` stops it. */
export interface Runtime extends AsyncDisposable {
  /** Stops reading, lets steps finish for up to `graceMs`, hands the rest back. A second call hands back now. */
  drain(graceMs: number): Promise<void>;
  /** Aborts everything and leaves: unfinished jobs are taken over when their leases run out. */
  stop(): Promise<void>;
  /** Ends the worker, which can do nothing without a store: `ended` says why. */
  giveUp(fault: string): void;
  /** Resolves when the runtime has stopped, with why if it stopped by itself. */
  readonly ended: Promise<{ fault: string | null }>;
  snapshot(): SnapshotFrom<typeof supervisorMachine>;
  /** Its actors at work: supervisor, sources and steps. */
  readonly inspection: InspectionSource;
  /** Steps alive now. */
  steps(): readonly RunningStep[];
}

/** A source that had no success for this long will have none in this process, milliseconds. */
const giveUpMs = 10 * 60_000;

/** How long the store may take to answer what a worker that ends has asked of it, milliseconds. */
const lastAnswersMs = 2_000;

/**
 * Composes the machines, the actors and the neighbours, and begins to take jobs.
 *
 * @param ports every neighbour; the caller made them and closes them after the runtime has ended
 * @example
 * import { defaultOptions, startRuntime, systemClock } from "stateplane";
 * import { createArtifactFolder } from "stateplane/artifacts";
 * import { createControlPlane, createControlPlaneApi, startEmbeddedControlPlane } from "stateplane/control-plane";
 * import { createModels } from "stateplane/llm";
 * import type { RuntimePorts } from "stateplane/ports";
 * import { createLocalRetriever } from "stateplane/retrieval";
 * import { createSchemaChecker } from "stateplane/schemas";
 * import { createSqliteBackend } from "stateplane/sqlite";
 * import { createFunctionHost } from "stateplane/tools";
 *
 * const log = { debug() {}, info() {}, warn: console.warn, error: console.error };
 * const steps = await createSqliteBackend({ path: "steps.sqlite", consumer: "one", clock: systemClock });
 * const plane = await startEmbeddedControlPlane({
 *   path: "plane.sqlite",
 *   host: "127.0.0.1",
 *   port: 0,
 *   apiKey: "my-own-key",
 *   agents: [],
 *   publish: (fields) => steps.queue.publish(fields),
 *   log,
 * });
 * const api = createControlPlaneApi({ url: plane.url, apiKey: "my-own-key", timeoutMs: 5_000 });
 * const schemas = createSchemaChecker();
 * const ports: RuntimePorts = {
 *   queue: steps.queue,
 *   store: steps.store,
 *   controlPlane: createControlPlane(api),
 *   models: createModels({ providers: [] }),
 *   tools: createFunctionHost({ tools: [], schemas, log }),
 *   sandbox: { missing: "no sandbox here" },
 *   retrievers: { local: createLocalRetriever(), http: null },
 *   artifacts: createArtifactFolder({ path: "artifacts", isShared: true }),
 *   schemas,
 *   clock: systemClock,
 *   log,
 * };
 * const runtime = startRuntime(ports, { ...defaultOptions, capacity: 8 });
 * console.log(runtime.snapshot().value); // receiving
 * await runtime.drain(25_000);
 * await Promise.all([api.close(), plane.close(), steps.close()]);
 */
export function startRuntime(given: RuntimePorts, asked: RuntimeOptions): Runtime {
  const guarded = { ports: guardPorts(given), options: asked };
  const { ports, options } = isTracingOn() ? traceRuntime(guarded.ports, asked) : guarded;
  const pending = new Set<Promise<unknown>>();
  const track = (work: Promise<unknown>) => {
    const settled: Promise<unknown> = work.catch(() => {}).finally(() => pending.delete(settled));
    pending.add(settled);
  };
  const availability = watchAvailability(ports, track);
  const trouble = new TroubleWatch(ports);
  const runs = new RunLooks(ports.clock);
  const models = watchKeys(ports.models, trouble);
  const watched = { ...ports, models, controlPlane: availability.controlPlane };
  const worker: WorkerContext = {
    ports: watched,
    options,
    machine: bindStep({
      ports: watched,
      options,
      handlers: handlersFor(watched, options),
      bulkheads: new Bulkheads(options.bulkheads),
      trouble,
      runs,
      track,
    }),
    alive: new BoxedMap(),
    trouble,
    runs,
    track,
    log: (key, traceId) => stepLog(ports.log, key, traceId),
  };
  const supervisor = createActor(
    supervisorMachine.provide({
      actors: {
        spawner: spawner(worker),
        jobs: jobsSource(watched, options, track),
        heartbeat: heartbeat(worker),
        timers: timers(worker),
        cancellations: cancellations(worker),
        grace: grace(ports.clock),
      },
    }),
    {
      id: "supervisor",
      input: { capacity: options.capacity, giveUpMs },
      ...(options.inspect === undefined ? {} : { inspect: options.inspect }),
    },
  );
  leaveActorsUnlisted(supervisor.system);
  const stopped = Promise.withResolvers<string | null>();
  supervisor.subscribe({
    complete: () => stopped.resolve(supervisor.getSnapshot().context.fault),
    error: (error) => {
      ports.log.error({ err: error }, "the supervisor crashed");
      stopped.resolve(error instanceof Error ? error.message : String(error));
    },
  });
  const tell = (event: SupervisorEvent) => {
    if (supervisor.getSnapshot().status === "active") supervisor.send(event);
  };
  const holdFor = (neighbour: string, isAway: boolean) =>
    tell({ type: isAway ? "neighbour.away" : "neighbour.back", neighbour });
  availability.onChange((isAway) => holdFor("control plane's answers", isAway));
  availability.onFault((message) => tell({ type: "worker.faulty", message }));
  trouble.onHold(holdFor);
  const abandonIn = (ms: number) =>
    ports.abandonStore === undefined ? () => {} : ports.clock.timer(ms, ports.abandonStore);
  const ended = stopped.promise.then(async (fault) => {
    availability.stop();
    const answered = abandonIn(lastAnswersMs);
    while (pending.size > 0) await Promise.all(pending);
    answered();
    trouble.stop();
    return { fault };
  });
  supervisor.start();

  const stop = async () => {
    tell({ type: "stop.requested" });
    await ended;
  };
  return {
    async drain(graceMs) {
      tell({ type: "drain.requested", graceMs });
      const over = abandonIn(graceMs + lastAnswersMs);
      await ended;
      over();
    },
    stop,
    giveUp(fault) {
      ports.abandonStore?.();
      tell({ type: "worker.faulty", message: fault });
    },
    ended,
    snapshot: () => supervisor.getSnapshot(),
    inspection: inspectionOf(supervisor, worker.alive, ports.clock),
    steps: () => [...worker.alive.values()],
    [Symbol.asyncDispose]: stop,
  };
}

/**
 * XState notes all actors of a system in a Map that it never reads, and why a Map of what comes and goes is dear is told at
 * {@link BoxedMap}: 8 KB of every ended step waited for a full collection because of this one, a quarter of a worker's
 * time. An XState that has it no more is left alone.
 */
function leaveActorsUnlisted(system: ActorSystem<ActorSystemInfo>): void {
  const internal = system as { _register?: (sessionId: string) => string };
  if (typeof internal._register === "function") internal._register = (sessionId) => sessionId;
}

/** Every line about a step names it, and its trace where it has one. */
function stepLog(log: Log, { runId, stepId }: StepKey, traceId: string | null): Log {
  const named = traceId === null ? { runId, stepId } : { runId, stepId, traceId };
  return {
    debug: (fields, message) => log.debug({ ...named, ...fields }, message),
    info: (fields, message) => log.info({ ...named, ...fields }, message),
    warn: (fields, message) => log.warn({ ...named, ...fields }, message),
    error: (fields, message) => log.error({ ...named, ...fields }, message),
  };
}

/** What `performance.now()` counts from, on the machine's own clock. */
const started = Number(process.hrtime.bigint()) / 1e6 - performance.now();

/**
 * The machine's own time. `monotonic` is CLOCK_MONOTONIC: it goes on while the process is stopped, no setting of the
 * time moves it, and all processes of a machine count it from the same moment, its start.
 */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => started + performance.now(),
  random: () => Math.random(),
  timer(ms, callback) {
    // Node fires a longer timer at once; nothing here waits that long (24.8 days) in memory.
    const timer = setTimeout(callback, Math.min(Math.max(ms, 0), 2 ** 31 - 1));
    return () => clearTimeout(timer);
  },
};
