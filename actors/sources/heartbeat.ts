import type { Household } from "../raise-step.ts";
import { repeating } from "./repeating.ts";

/** Renews the leases of all steps alive; a step whose lease is lost is told, and says no word more. */
export function heartbeat({ ports, options, alive, track }: Household) {
  return repeating("heartbeat", options.leaseMs / 3, ports, track, async () => {
    const entryIds = [...alive.keys()];
    if (entryIds.length === 0) return;
    // Taken before the call: the lease is known to be ours since then, not since the answer.
    const asked = ports.clock.monotonic();
    const lost = new Set(await ports.queue.renew(entryIds));
    for (const entryId of entryIds) {
      const step = alive.get(entryId);
      if (step === undefined) continue;
      if (!lost.has(entryId)) step.life.leaseSeen = asked;
      // Acknowledged by its own last write, whose answer is on its way: that is an end, not a loss.
      else if (!step.actor.getSnapshot().hasTag("closing")) step.tell({ type: "lease.lost" });
    }
  });
}
