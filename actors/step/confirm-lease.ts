import { LeaseLost, stored } from "../store-failure.ts";
import { isLeaseStale } from "./is-lease-stale.ts";
import type { WorkScope } from "./work.ts";

/**
 * Stands before everything that a worker without the lease must not do. Costs nothing while the lease is fresh
 * by the clock; else the entry's owner and the record's fence are asked of the store, and asked again when the
 * worker was paused while it waited for the answer. Nothing may be awaited between this and the deed.
 *
 * @throws LeaseLost, StoreFailure, or the signal's reason
 */
export async function confirmLease({ ports, options, life, signal }: WorkScope): Promise<void> {
  while (isLeaseStale(life, ports.clock, options)) {
    signal.throwIfAborted();
    const asked = ports.clock.monotonic();
    // Both: renewing looks at the owner and moves the end of the lease, an empty append looks at the fence.
    const lost = await stored(ports.queue.renew([life.lease.entryId]));
    const written = await stored(ports.store.append(life.lease, []));
    if (lost.length > 0 || written === "lost") {
      throw new LeaseLost("the lease ran out while this worker did not look");
    }
    life.leaseSeen = asked;
  }
  signal.throwIfAborted();
}
