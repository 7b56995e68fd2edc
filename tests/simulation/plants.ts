import type { ControlPlane } from "../../machines/contracts/ports/control-plane.ts";
import type { Lease, StepStore } from "../../machines/contracts/ports/step-backend.ts";

/** The newest lease of every step and the store that holds it, over all workers of one history. */
export type Leases = Map<string, { lease: Lease; store: StepStore }>;

interface Plant {
  /** The bug, as its author would have to admit it. */
  bug: string;
  store?: (store: StepStore, leases: Leases) => StepStore;
  controlPlane?: (controlPlane: ControlPlane) => ControlPlane;
}

/**
 * Bugs that the simulation must find, put between the product and its neighbours: production code has no place
 * for them. Each breaks one mechanism that DESIGN section 4 rests on.
 */
const known = {
  "no-fence": {
    bug: "a worker that lost its lease can still write",
    store: (store: StepStore, leases: Leases): StepStore => ({
      ...store,
      async open(entryId, key, leaseMs, fields) {
        const opening = await store.open(entryId, key, leaseMs, fields);
        if (opening.kind === "opened") leases.set(key.stepId, { lease: opening.lease, store });
        return opening;
      },
      append: (lease, entries) =>
        anyway(leases, store, lease, (to, newest) => to.append(newest, entries)),
      record: (lease, result, path) =>
        anyway(leases, store, lease, (to, newest) => to.record(newest, result, path)),
      park: (lease, parking) =>
        anyway(leases, store, lease, (to, newest) => to.park(newest, parking)),
      settle: (lease, ending) =>
        anyway(leases, store, lease, (to, newest) => to.settle(newest, ending)),
    }),
  },
  "no-journal": {
    bug: "the journal forgets what it is told",
    store: (store: StepStore): StepStore => ({ ...store, append: async () => "written" }),
  },
  "grant-reuse": {
    bug: "the journal does not keep which grant an effect spent",
    store: (store: StepStore): StepStore => ({
      ...store,
      append: (lease, entries) =>
        store.append(
          lease,
          entries.map((entry) => {
            if (entry.event !== "begun") return entry;
            return { event: entry.event, effect: entry.effect, at: entry.at };
          }),
        ),
    }),
  },
  "double-report": {
    bug: "a report sent again carries a new idempotency key",
    controlPlane(controlPlane: ControlPlane): ControlPlane {
      let sent = 0;
      return {
        ...controlPlane,
        report(report, signal) {
          sent += 1;
          const idempotencyKey = `${report.idempotencyKey}/${report.fence}/${sent}`;
          return controlPlane.report({ ...report, idempotencyKey }, signal);
        },
      };
    },
  },
  "no-timer": {
    bug: "a parked step is not woken when its time has come",
    store: (store: StepStore): StepStore => ({
      ...store,
      park: (lease, parking) => store.park(lease, { ...parking, wakeAt: null }),
    }),
  },
} satisfies Record<string, Plant>;

export type PlantName = keyof typeof known;
export const plants: Readonly<Record<PlantName, Plant>> = known;

export const isPlantName = (name: string): name is PlantName => Object.hasOwn(plants, name);

/** Writes under whoever's lease is the newest, as a store without fences would. */
async function anyway(
  leases: Leases,
  own: StepStore,
  lease: Lease,
  write: (store: StepStore, lease: Lease) => ReturnType<StepStore["append"]>,
) {
  const written = await write(own, lease);
  const newest = leases.get(lease.stepId);
  if (written === "written" || newest === undefined) return written;
  await write(newest.store, newest.lease).catch(() => {});
  return "written" as const;
}
