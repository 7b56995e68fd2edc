import { getSimplePaths, type StatePath } from "@xstate/graph";
import { fromCallback, type SnapshotFrom } from "xstate";
import {
  type SupervisorEvent,
  type SupervisorInput,
  supervisorMachine,
} from "../../machines/supervisor/machine.ts";

export type SupervisorSnapshot = SnapshotFrom<typeof supervisorMachine>;
export type SupervisorPath = StatePath<SupervisorSnapshot, SupervisorEvent>;

const idle = fromCallback(() => {}) as never;

/** The production chart with actors that do nothing: what happens to it is what the path says. */
export const idleSupervisor = supervisorMachine.provide({
  actors: {
    spawner: idle,
    jobs: idle,
    heartbeat: idle,
    timers: idle,
    cancellations: idle,
    grace: idle,
  },
});

export const supervisorInput: SupervisorInput = {
  capacity: 2,
  giveUpMs: 1_000,
};

const delivery = { entryId: "1-0", fields: {}, deliveries: 1 };

/** Only what a source can send: never more jobs than the room it was told of. */
function eventsAt({ context, value, status }: SupervisorSnapshot): SupervisorEvent[] {
  if (status !== "active") return [];
  const free = context.holding.length > 0 ? 0 : context.capacity - context.running;
  const jobs = Array.from({ length: free }, (_, more): SupervisorEvent => {
    return { type: "jobs.received", deliveries: Array.from({ length: more + 1 }, () => delivery) };
  });
  const ends: SupervisorEvent[] = context.running > 0 ? [{ type: "steps.ended", count: 1 }] : [];
  return [
    ...(value === "draining" ? [] : jobs),
    ...ends,
    { type: "neighbour.away", neighbour: "control plane" },
    { type: "neighbour.back", neighbour: "control plane" },
    { type: "drain.requested", graceMs: 100 },
    { type: "grace.over" },
    { type: "stop.requested" },
  ];
}

function serializeState(snapshot: SupervisorSnapshot): string {
  const { running, holding } = snapshot.context;
  return JSON.stringify([snapshot.value, running, holding]);
}

/**
 * Every simple path of the supervisor chart, generated from its own graph by @xstate/graph. Failures of sources
 * only count, and are tried on their own: with them the same paths would be walked a million times over.
 */
export function supervisorPaths(): SupervisorPath[] {
  const options = { events: eventsAt, serializeState, input: supervisorInput };
  return getSimplePaths(idleSupervisor, options as never) as unknown as SupervisorPath[];
}
