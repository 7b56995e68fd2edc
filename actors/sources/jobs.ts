import { type EventObject, fromCallback } from "xstate";
import type { Delivery } from "../../machines/contracts/ports/step-backend.ts";
import type { SourceCommand, SupervisorEvent } from "../../machines/supervisor/machine.ts";
import type { RuntimeOptions } from "../options.ts";
import type { RuntimePorts } from "../ports.ts";
import { pause } from "./periodic.ts";

/** Jobs asked for at once: batches are about twenty times faster than single reads. */
const maxBatch = 64;
const blockMs = 1_000;
/** Far below what a step takes, and enough for several to end. */
const batchWaitMs = 2;

/**
 * Takes over stale jobs and reads new ones, never more than there is room for. What arrives after the room
 * was withdrawn is handed back at once.
 */
export function jobsSource(
  ports: Pick<RuntimePorts, "queue" | "clock" | "log">,
  options: Pick<RuntimeOptions, "leaseMs" | "capacity">,
  track: (work: Promise<unknown>) => void,
) {
  return fromCallback<SourceCommand, undefined>(({ receive, sendBack }) => {
    const tell = (event: SupervisorEvent) => sendBack(event as EventObject);
    const stopped = new AbortController();
    /** With less room than this the read waits a moment for more, so that it is worth its round trip. */
    const fairShare = Math.min(Math.ceil(options.capacity / 4), maxBatch);
    let freeSlots = 0;
    let reading = new AbortController();
    let hasCapacity = Promise.withResolvers<void>();
    receive((command) => {
      freeSlots = command.freeSlots;
      if (freeSlots > 0) hasCapacity.resolve();
      if (freeSlots === 0) reading.abort();
    });

    let claimAt = 0;
    const take = async (): Promise<Delivery[]> => {
      const count = Math.min(freeSlots, maxBatch);
      if (ports.clock.monotonic() >= claimAt) {
        const stale = await ports.queue.claimStale(options.leaseMs, count);
        // A full hand means there is more; else look again when a lease could have run out.
        if (stale.length < count) claimAt = ports.clock.monotonic() + options.leaseMs / 4;
        if (stale.length > 0) return stale;
      }
      return ports.queue.read(Math.min(freeSlots, maxBatch), blockMs, reading.signal);
    };

    const loop = async () => {
      let failures = 0;
      while (!stopped.signal.aborted) {
        if (freeSlots === 0) {
          hasCapacity = Promise.withResolvers<void>();
          await hasCapacity.promise;
          continue;
        }
        if (freeSlots < fairShare) await pause(ports.clock, batchWaitMs, stopped.signal);
        if (freeSlots === 0) continue;
        reading = new AbortController();
        try {
          const deliveries = await take();
          failures = 0;
          const taken = stopped.signal.aborted ? [] : deliveries.slice(0, freeSlots);
          const surplus = deliveries.slice(taken.length).map(({ entryId }) => entryId);
          if (taken.length > 0) tell({ type: "jobs.received", deliveries: taken });
          if (surplus.length > 0) await ports.queue.release(surplus);
        } catch (error) {
          if (stopped.signal.aborted) return;
          failures += 1;
          const message = error instanceof Error ? error.message : String(error);
          ports.log.warn({ err: error }, "jobs can't be read; trying again");
          tell({ type: "source.failed", source: "jobs", message, at: ports.clock.now() });
          await pause(ports.clock, Math.min(100 * 2 ** failures, 5_000), stopped.signal);
        }
      }
    };
    track(loop());
    return () => {
      stopped.abort();
      reading.abort();
      hasCapacity.resolve();
    };
  });
}
