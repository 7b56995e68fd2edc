import type { StepQueue, StepStore } from "../../machines/contracts/ports/step-backend.ts";
import type { Link } from "./link.ts";
import type { Weather } from "./weather.ts";
import type { Witness } from "./witness.ts";

/** Writes down what the store was made to keep. */
export function witnessedStore(
  store: StepStore,
  by: string,
  { link, weather, witness }: { link: Link; weather: Weather; witness: Witness },
): StepStore {
  return {
    ...store,
    async open(entryId, key, leaseMs, fields) {
      const opening = await store.open(entryId, key, leaseMs, fields);
      if (opening.kind === "opened" || opening.kind === "reported") {
        const opened = { by, fence: opening.lease.fence, at: link.world.elapsed };
        witness.opened(key.stepId, opened, weather.isRough);
      }
      return opening;
    },
    async park(lease, parking) {
      const written = await store.park(lease, parking);
      if (written === "written") witness.holders.delete(lease.stepId);
      return written;
    },
    async settle(lease, ending) {
      const written = await store.settle(lease, ending);
      if (written === "written") witness.holders.delete(lease.stepId);
      return written;
    },
    async append(lease, entries, durable) {
      const written = await store.append(lease, entries, durable);
      if (written === "lease-lost") return written;
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

/** A store or queue that takes a moment to answer, and that can be away. */
export function weatheredStore<Port extends StepStore | StepQueue>(
  port: Port,
  { link, weather, slot }: { link: Link; weather: Weather; slot: number },
): Port {
  const { world } = link;
  const moment = () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    world.schedule(0.5 + link.draw() * 3, resolve);
    return promise;
  };
  const check = () => {
    if (weather.storeAway.has(slot)) throw new Error("the store is away");
  };
  return new Proxy(port, {
    get(target, method) {
      const value: unknown = Reflect.get(target, method);
      if (typeof value !== "function" || method === "close") return value;
      return async (...args: unknown[]) => {
        if (weather.storeAway.has(slot)) await moment();
        check();
        const answer: unknown = await value.apply(target, args);
        await moment();
        check();
        if (moves.has(String(method)) && weather.isStoreAnswerLost(slot)) {
          throw new Error("the store's answer was lost");
        }
        return answer;
      };
    },
  });
}
