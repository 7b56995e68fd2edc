import { type EventObject, fromCallback } from "xstate";
import type { Delivery } from "../../machines/contracts/ports/step-backend.ts";
import type { SourceCommand, SupervisorEvent } from "../../machines/supervisor/machine.ts";
import type { RuntimeOptions } from "../options.ts";
import type { RuntimePorts } from "../ports.ts";
import { pause, sourceHealth } from "./periodic.ts";

/** Jobs asked for at once: batches are about twenty times faster than single reads. */
const maxBatch = 64;
const blockMs = 1_000;
/** Far below what a step takes, and enough for several to end. */
const batchWaitMs = 2;
/** Made once: room comes and goes with every batch, and an error with its stack is dear. */
const noRoom = new DOMException("there is no room for jobs", "AbortError");

/**
 * Brings jobs to the supervisor. What it is told: `capacity.free` with how many more jobs may be taken; nothing else.
 * What it tells: `jobs.received`, never with more jobs than there was room for at that moment, and how it fares.
 *
 *   idle      no room: it sleeps until it is told of some
 *   taking    room: stale jobs first (at most every quarter of a lease, more often while there are many), else it reads
 *             new ones; a read blocks for a second at most, and is aborted when the room is withdrawn
 *   surplus   what arrives beyond the room, because it was withdrawn while a read was under way, is released at once,
 *             uncounted; what could not be released is tried again before anything else is taken
 *   failing   a failure is told, and tried again after a growing pause; a success ends it
 *
 * It ends only by being stopped; then nothing more is told, and what a last read brought is released.
 */
export function jobsSource(
  ports: Pick<RuntimePorts, "queue" | "clock" | "log">,
  options: Pick<RuntimeOptions, "leaseMs" | "capacity" | "onJobs">,
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
      if (freeSlots === 0) reading.abort(noRoom);
    });

    let claimAt = 0;
    const take = async (): Promise<Delivery[]> => {
      const count = Math.min(freeSlots, maxBatch);
      if (ports.clock.monotonic() >= claimAt) {
        const stale = await ports.queue.claimStale(options.leaseMs, count);
        // A full batch means there is more; else look again when a lease could have run out.
        if (stale.length < count) claimAt = ports.clock.monotonic() + options.leaseMs / 4;
        if (stale.length > 0) return stale;
      }
      return ports.queue.read(Math.min(freeSlots, maxBatch), blockMs, reading.signal);
    };

    const health = sourceHealth("jobs", ports, tell);
    let surplus: string[] = [];
    const releaseSurplus = async () => {
      if (surplus.length === 0) return;
      await ports.queue.release(surplus);
      surplus = [];
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
          await releaseSurplus();
          const deliveries = await take();
          failures = 0;
          health.succeeded();
          const taken = stopped.signal.aborted ? [] : deliveries.slice(0, freeSlots);
          surplus = deliveries.slice(taken.length).map(({ entryId }) => entryId);
          if (taken.length > 0) {
            options.onJobs?.();
            tell({ type: "jobs.received", deliveries: taken });
          }
          await releaseSurplus();
        } catch (error) {
          if (stopped.signal.aborted) return;
          failures += 1;
          health.failed(error);
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
