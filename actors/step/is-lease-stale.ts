import type { Clock } from "../../machines/contracts/ports/clock.ts";

/** Whether the lease may have run out since it was last known to be ours: then only the store can tell. */
export function isLeaseStale(
  life: { leaseSeen: number },
  clock: Pick<Clock, "monotonic">,
  { leaseMs }: { leaseMs: number },
): boolean {
  // Half: the heartbeat renews every third, so anything older has missed one.
  return clock.monotonic() - life.leaseSeen > leaseMs / 2;
}
