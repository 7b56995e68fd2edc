import { assign, type EventObject, fromCallback, sendTo, setup } from "xstate";
import type { Delivery } from "../contracts/ports/step-backend.ts";

export interface SupervisorInput {
  /** Steps at once. */
  capacity: number;
  /** How long a source may go without a single success before the worker gives up, milliseconds. */
  giveUpMs: number;
}

export type SupervisorEvent =
  | { type: "jobs.received"; deliveries: Delivery[] }
  /** As many as ended in one turn of the loop. */
  | { type: "steps.ended"; count: number }
  | { type: "step.crashed"; stepId: string; message: string }
  /** A neighbour that no step can do without can't be used: take no more jobs until it can. */
  | { type: "neighbour.away"; neighbour: string }
  | { type: "neighbour.back"; neighbour: string }
  /** `at` is on a clock that never steps back, in milliseconds. */
  | { type: "source.failed"; source: string; message: string; at: number }
  /** The first success of a source after a failure. */
  | { type: "source.recovered"; source: string }
  /** This process can't be trusted to go on: steps are released and the worker ends. */
  | { type: "worker.faulty"; message: string }
  | { type: "drain.requested"; graceMs: number }
  | { type: "grace.over" }
  | { type: "stop.requested" };

/** What the spawner is told. */
export type SpawnerCommand =
  | { type: "steps.spawn"; deliveries: Delivery[] }
  /** Every step still alive is told to drain: it hands its job back. */
  | { type: "drain.requested" };

/** What a source of jobs is told. */
export type SourceCommand = { type: "capacity.free"; freeSlots: number };

/**
 * Whether a source that has failed since `since` without a success between is not going to mend in this process. By
 * time, not by count: a dead connection may fail once in five seconds, and a store may be away for minutes.
 */
export function hasFailedTooLong(
  since: number | undefined,
  now: number,
  giveUpMs: number,
): boolean {
  return since !== undefined && now - since >= giveUpMs;
}

/** How many more jobs the worker may take now: none while it holds for anybody. */
export function freeSlots(state: {
  capacity: number;
  running: number;
  holding: readonly string[];
}): number {
  return state.holding.length > 0 ? 0 : Math.max(0, state.capacity - state.running);
}

export interface SupervisorContext extends SupervisorInput {
  running: number;
  /** Jobs taken since the start. */
  taken: number;
  crashed: number;
  /** The neighbours that can't be used, and `drain` while the worker drains. */
  holding: string[];
  graceMs: number;
  /** Since when each source that fails has not succeeded, milliseconds. */
  failingSince: Record<string, number>;
  /** Why the supervisor stopped by itself. */
  fault: string | null;
}

/** Typed placeholder for an actor that actors/runtime provides. */
const unbound = <Command extends EventObject, Input = undefined>() =>
  fromCallback<Command, Input>(() => {
    throw new Error("the supervisor's actors are bound by actors/runtime");
  });

/**
 * Takes jobs while there is room, counts the steps alive, drains and stops. It keeps no step in its snapshot:
 * the spawner owns them, because a table of children is copied at every event.
 */
export const supervisorMachine = setup({
  types: {
    context: {} as SupervisorContext,
    events: {} as SupervisorEvent,
    input: {} as SupervisorInput,
    output: {} as { crashed: number; fault: string | null },
  },
  actors: {
    /** Creates the step actors, observes them, sends back steps.ended and step.crashed. */
    spawner: unbound<SpawnerCommand>(),
    /** Reads and claims jobs, as many as there is room for. */
    jobs: unbound<SourceCommand>(),
    /** Renews the leases of all steps alive. */
    heartbeat: unbound<EventObject>(),
    /** Wakes parked steps whose time has come. */
    timers: unbound<EventObject>(),
    /** Tells steps that their run was cancelled. */
    cancellations: unbound<EventObject>(),
    /** Sends grace.over when the time to finish is up. */
    grace: unbound<EventObject, { graceMs: number }>(),
  },
  actions: {
    // Two actions, and none that enqueues them: XState makes its enqueuer's verbs in V8's old generation, and with them all
    // that the event leads to, the jobs, waits there for a full collection.
    take: assign(({ context, event }) => {
      if (event.type !== "jobs.received") return {};
      const { length } = event.deliveries;
      return { running: context.running + length, taken: context.taken + length };
    }),
    spawnSteps: sendTo("spawner", ({ event }) => ({
      type: "steps.spawn",
      deliveries: event.type === "jobs.received" ? event.deliveries : [],
    })),
    release: assign({
      running: ({ context, event }) =>
        context.running - (event.type === "steps.ended" ? event.count : 1),
    }),
    countCrash: assign({ crashed: ({ context }) => context.crashed + 1 }),
    announceCapacity: sendTo("jobs", ({ context }) => ({
      type: "capacity.free",
      freeSlots: freeSlots(context),
    })),
    hold: assign(({ context, event }) => {
      const by = event.type === "neighbour.away" ? event.neighbour : "drain";
      return { holding: [...context.holding.filter((other) => other !== by), by] };
    }),
    goOn: assign(({ context, event }) =>
      event.type === "neighbour.back"
        ? { holding: context.holding.filter((other) => other !== event.neighbour) }
        : {},
    ),
    keepGrace: assign({
      graceMs: ({ context, event }) =>
        event.type === "drain.requested" ? event.graceMs : context.graceMs,
    }),
    drainSteps: sendTo("spawner", { type: "drain.requested" }),
    noteFailure: assign(({ context, event }) => {
      if (event.type !== "source.failed" || event.source in context.failingSince) return {};
      return { failingSince: { ...context.failingSince, [event.source]: event.at } };
    }),
    noteRecovery: assign(({ context, event }) => {
      if (event.type !== "source.recovered") return {};
      const { [event.source]: _, ...others } = context.failingSince;
      return { failingSince: others };
    }),
    keepFault: assign(({ context, event }) => {
      if (context.fault !== null) return {};
      if (event.type === "worker.faulty") return { fault: event.message };
      return event.type === "source.failed"
        ? { fault: `${event.source} failed for too long: ${event.message}` }
        : {};
    }),
  },
  guards: {
    fills: ({ context, event }) =>
      event.type === "jobs.received" &&
      context.running + event.deliveries.length >= context.capacity,
    isIdle: ({ context }) => context.running === 0,
    failsTooLong: ({ context, event }) =>
      event.type === "source.failed" &&
      hasFailedTooLong(context.failingSince[event.source], event.at, context.giveUpMs),
  },
}).createMachine({
  id: "supervisor",
  version: "1",
  context: ({ input }) => ({
    ...input,
    running: 0,
    taken: 0,
    crashed: 0,
    holding: [],
    graceMs: 0,
    failingSince: {},
    fault: null,
  }),
  output: ({ context }) => ({ crashed: context.crashed, fault: context.fault }),
  invoke: [
    { id: "spawner", src: "spawner" },
    { id: "jobs", src: "jobs" },
    { id: "heartbeat", src: "heartbeat" },
    { id: "timers", src: "timers" },
    { id: "cancellations", src: "cancellations" },
  ],
  initial: "receiving",
  on: {
    "stop.requested": ".stopped",
    "source.failed": [
      { guard: "failsTooLong", target: ".draining", actions: "keepFault" },
      { actions: "noteFailure" },
    ],
    "source.recovered": { actions: "noteRecovery" },
    "worker.faulty": { target: ".draining", actions: "keepFault" },
    "neighbour.away": { actions: ["hold", "announceCapacity"] },
    "neighbour.back": { actions: ["goOn", "announceCapacity"] },
  },
  states: {
    receiving: {
      entry: "announceCapacity",
      on: {
        "jobs.received": [
          { guard: "fills", target: "full", actions: ["take", "spawnSteps"] },
          { actions: ["take", "spawnSteps", "announceCapacity"] },
        ],
        "steps.ended": { actions: ["release", "announceCapacity"] },
        "step.crashed": { actions: ["release", "countCrash", "announceCapacity"] },
        "drain.requested": { target: "draining", actions: "keepGrace" },
      },
    },
    full: {
      entry: "announceCapacity",
      on: {
        "steps.ended": { target: "receiving", actions: "release" },
        "step.crashed": { target: "receiving", actions: ["release", "countCrash"] },
        "drain.requested": { target: "draining", actions: "keepGrace" },
      },
    },
    draining: {
      entry: ["hold", "announceCapacity"],
      invoke: { id: "grace", src: "grace", input: ({ context }) => context },
      always: { guard: "isIdle", target: "stopped" },
      on: {
        // Delivered while the reading was being stopped: taken, and released in order.
        "jobs.received": { actions: ["take", "spawnSteps", "drainSteps"] },
        "steps.ended": { actions: "release" },
        "step.crashed": { actions: ["release", "countCrash"] },
        "grace.over": { actions: "drainSteps" },
        "neighbour.away": {},
        "neighbour.back": {},
        "source.failed": { actions: "noteFailure" },
        "worker.faulty": { actions: ["keepFault", "drainSteps"] },
        "drain.requested": { actions: "drainSteps", description: "A second call: now." },
      },
    },
    stopped: { type: "final" },
  },
});
