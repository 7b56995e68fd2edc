import { assign, type EventObject, enqueueActions, fromCallback, sendTo, setup } from "xstate";
import type { Delivery } from "../contracts/ports/step-backend.ts";
import type { StepEnd } from "../step/machine.ts";

export interface SupervisorInput {
  /** Steps at once. */
  capacity: number;
  /** How often, within `windowMs` milliseconds, a failed source is started again. */
  restarts: { maxRestarts: number; windowMs: number };
}

export type SupervisorEvent =
  | { type: "jobs.received"; deliveries: Delivery[] }
  | { type: "step.ended"; how: StepEnd }
  | { type: "step.crashed"; stepId: string; message: string }
  /** The control plane can't be reached: take no more jobs until it is back. */
  | { type: "control-plane.away" }
  | { type: "control-plane.back" }
  | { type: "source.failed"; source: string; message: string; at: number }
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
 * Restart intensity, as Erlang's supervisors have it: a source that fails more than `maxRestarts` times within
 * `windowMs` is not going to mend by being started again.
 *
 * @param failures times of the failures so far, epoch milliseconds
 */
export function mayRestart(
  failures: readonly number[],
  now: number,
  { maxRestarts, windowMs }: { maxRestarts: number; windowMs: number },
): boolean {
  return failures.filter((at) => now - at < windowMs).length < maxRestarts;
}

/** How many more jobs the worker may take now: none while it holds. */
export function freeSlots(state: { capacity: number; running: number; holding: boolean }): number {
  return state.holding ? 0 : Math.max(0, state.capacity - state.running);
}

export interface SupervisorContext extends SupervisorInput {
  running: number;
  crashed: number;
  holding: boolean;
  graceMs: number;
  /** When sources failed, epoch milliseconds; only those that still count. */
  failures: number[];
  /** Why the supervisor stopped by itself. */
  fault: string | null;
}

/** Typed placeholder for an actor that actors/runtime provides. */
const unbound = <Command extends EventObject, Input = undefined>() =>
  fromCallback<Command, Input>(() => {
    throw new Error("the supervisor's actors are bound by actors/runtime");
  });

/**
 * Takes jobs while there is freeSlots, counts the steps alive, drains and stops. It keeps no step in its snapshot:
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
    /** Creates the step actors, observes them, sends back step.ended and step.crashed. */
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
    admit: enqueueActions(({ enqueue, event }) => {
      if (event.type !== "jobs.received") return;
      const { deliveries } = event;
      enqueue.assign({ running: ({ context }) => context.running + deliveries.length });
      enqueue.sendTo("spawner", { type: "steps.spawn", deliveries });
    }),
    release: assign({ running: ({ context }) => context.running - 1 }),
    countCrash: assign({ crashed: ({ context }) => context.crashed + 1 }),
    announceCapacity: sendTo("jobs", ({ context }) => ({
      type: "capacity.free",
      freeSlots: freeSlots(context),
    })),
    hold: assign({ holding: true }),
    goOn: assign({ holding: false }),
    keepGrace: assign({
      graceMs: ({ context, event }) =>
        event.type === "drain.requested" ? event.graceMs : context.graceMs,
    }),
    drainSteps: sendTo("spawner", { type: "drain.requested" }),
    countFailure: assign(({ context, event }) => {
      if (event.type !== "source.failed") return {};
      const { windowMs } = context.restarts;
      const recent = context.failures.filter((at) => event.at - at < windowMs);
      return { failures: [...recent, event.at] };
    }),
    keepFault: assign(({ event }) =>
      event.type === "source.failed"
        ? { fault: `${event.source} failed too often: ${event.message}` }
        : {},
    ),
  },
  guards: {
    fills: ({ context, event }) =>
      event.type === "jobs.received" &&
      context.running + event.deliveries.length >= context.capacity,
    isIdle: ({ context }) => context.running === 0,
    failsTooOften: ({ context, event }) =>
      event.type === "source.failed" && !mayRestart(context.failures, event.at, context.restarts),
  },
}).createMachine({
  id: "supervisor",
  version: "1",
  context: ({ input }) => ({
    ...input,
    running: 0,
    crashed: 0,
    holding: false,
    graceMs: 0,
    failures: [],
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
      { guard: "failsTooOften", target: ".draining", actions: "keepFault" },
      { actions: "countFailure" },
    ],
    "control-plane.away": { actions: ["hold", "announceCapacity"] },
    "control-plane.back": { actions: ["goOn", "announceCapacity"] },
  },
  states: {
    receiving: {
      entry: "announceCapacity",
      on: {
        "jobs.received": [
          { guard: "fills", target: "full", actions: "admit" },
          { actions: ["admit", "announceCapacity"] },
        ],
        "step.ended": { actions: ["release", "announceCapacity"] },
        "step.crashed": { actions: ["release", "countCrash", "announceCapacity"] },
        "drain.requested": { target: "draining", actions: "keepGrace" },
      },
    },
    full: {
      entry: "announceCapacity",
      on: {
        "step.ended": { target: "receiving", actions: "release" },
        "step.crashed": { target: "receiving", actions: ["release", "countCrash"] },
        "drain.requested": { target: "draining", actions: "keepGrace" },
      },
    },
    draining: {
      entry: ["hold", "announceCapacity"],
      invoke: { id: "grace", src: "grace", input: ({ context }) => context },
      always: { guard: "isIdle", target: "stopped" },
      on: {
        // Delivered while the reading was being stopped: taken, and handed back in order.
        "jobs.received": { actions: ["admit", "drainSteps"] },
        "step.ended": { actions: "release" },
        "step.crashed": { actions: ["release", "countCrash"] },
        "grace.over": { actions: "drainSteps" },
        "control-plane.away": {},
        "control-plane.back": {},
        "source.failed": { actions: "countFailure" },
        "drain.requested": { actions: "drainSteps", description: "A second call: now." },
      },
    },
    stopped: { type: "final" },
  },
});
