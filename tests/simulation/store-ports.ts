import { StoreError } from "../../machines/contracts/domain/errors.ts";
import type { Lease, StepQueue, StepStore } from "../../machines/contracts/ports/step-backend.ts";
import type { ActiveFaults } from "./faults.ts";
import type { Link } from "./link.ts";
import type { Witness } from "./witness.ts";

/** Writes down what the store was made to keep. */
export function witnessedStore(
  store: StepStore,
  by: string,
  { link, witness }: { link: Link; witness: Witness },
): StepStore {
  const wrote = ({ stepId }: { stepId: string }) => witness.wrote(stepId, link.world.elapsed);
  /** The step is held by nobody any more. */
  const ended = (lease: Lease) => (wrote(lease), witness.holders.delete(lease.stepId));
  return {
    ...store,
    async open(...args) {
      const [, key] = args;
      const opening = await store.open(...args);
      if (opening.kind === "opened" || opening.kind === "reported") {
        wrote(key);
        const { fence } = opening.lease;
        witness.opened(key.stepId, { by, fence, at: link.world.elapsed });
      }
      return opening;
    },
    async record(...args) {
      const written = await store.record(...args);
      if (written === "written") wrote(args[0]);
      return written;
    },
    async park(lease, parking) {
      const written = await store.park(lease, parking);
      if (written === "written") ended(lease);
      return written;
    },
    async settle(lease, ending) {
      const written = await store.settle(lease, ending);
      if (written === "written") ended(lease);
      return written;
    },
    async append(...args) {
      const [lease, entries] = args;
      const written = await store.append(...args);
      if (written === "lease-lost") return written;
      if (entries.length > 0) wrote(lease);
      for (const entry of entries) {
        if (entry.event === "abandoned") continue;
        const effect = `${lease.stepId} ${entry.effect}`;
        if (entry.event === "completed") {
          // A passing failure is known not to have happened: it may be tried again.
          const kept = entry.result as { failure?: { retryable: boolean } };
          if (kept.failure?.retryable !== true) witness.completed.set(effect, link.world.elapsed);
        } else if (entry.grant !== undefined) {
          const grant = `${lease.stepId} ${entry.grant}`;
          witness.spent.set(grant, (witness.spent.get(grant) ?? new Set()).add(effect));
        }
      }
      return written;
    },
  };
}

/** Answers worth losing: those of moves that change something. */
const moves = new Set(["open", "append", "record", "park", "settle", "release", "claimStale"]);

/** The step that a call of the store names, if it names one. */
function stepOf(args: unknown[]): string | null {
  for (const arg of args.slice(0, 2)) {
    const stepId = (arg as { stepId?: unknown } | null)?.stepId;
    if (typeof stepId === "string") return stepId;
  }
  return null;
}

/** A store or queue that takes a moment to answer, and that fails as the faults under way say. */
export function faultyStore<Port extends StepStore | StepQueue>(
  port: Port,
  { link, faults, slot }: { link: Link; faults: ActiveFaults; slot: number },
): Port {
  const { world } = link;
  const moment = () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    world.schedule(0.5 + link.draw() * 3, resolve);
    return promise;
  };
  return new Proxy(port, {
    get(target, method) {
      const value: unknown = Reflect.get(target, method);
      if (typeof value !== "function" || typeof method !== "string" || method === "close") {
        return value;
      }
      return async (...args: unknown[]) => {
        const stepId = method === "deadLetter" ? null : stepOf(args);
        if (faults.isStoreAway(slot)) await moment();
        faults.checkStore(slot, method, stepId);
        const answer: unknown = await value.apply(target, args);
        await moment();
        if (faults.isStoreAway(slot)) faults.checkStore(slot, method, stepId);
        if (moves.has(method) && faults.isStoreAnswerLost(slot)) {
          throw new StoreError("passing", "the answer was lost");
        }
        return answer;
      };
    },
  });
}
