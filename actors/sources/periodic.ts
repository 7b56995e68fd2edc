import { type EventObject, fromCallback } from "xstate";
import type { Clock } from "../../machines/contracts/ports/clock.ts";
import type { SupervisorEvent } from "../../machines/supervisor/machine.ts";
import type { RuntimePorts } from "../ports.ts";
import type { WorkerContext } from "../step/spawn.ts";

/** Resolves after `ms`, or as soon as the signal is aborted; a timer left behind would hold the process. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  const cancelTimer = clock.timer(ms, resolve);
  const onAbort = () => {
    cancelTimer();
    resolve();
  };
  signal.addEventListener("abort", onAbort, { once: true });
  return promise.finally(() => signal.removeEventListener("abort", onAbort));
}

/**
 * A source that does one thing every `everyMs`, until it is stopped. No failure ends it: each is told to the
 * supervisor, which gives up when there was no success for too long, and the next turn tries again.
 */
export function repeating(
  source: string,
  everyMs: number,
  ports: Pick<RuntimePorts, "clock" | "log">,
  track: (work: Promise<unknown>) => void,
  work: (signal: AbortSignal) => Promise<void>,
) {
  return fromCallback<EventObject, undefined>(({ sendBack }) => {
    const stopped = new AbortController();
    const { signal } = stopped;
    const health = sourceHealth(source, ports, (event) => sendBack(event));
    const loop = async () => {
      for (;;) {
        await pause(ports.clock, everyMs, signal);
        if (signal.aborted) return;
        try {
          await work(signal);
          health.succeeded();
        } catch (error) {
          if (signal.aborted) return;
          health.failed(error);
        }
      }
    };
    track(loop());
    return () => stopped.abort();
  });
}

const repeatLineMs = 60_000;

/** Tells the supervisor when a source begins to fail and when it works again, and the log at most once a minute. */
export function sourceHealth(
  source: string,
  { clock, log }: Pick<RuntimePorts, "clock" | "log">,
  tell: (event: SupervisorEvent) => void,
): { failed: (error: unknown) => void; succeeded: () => void } {
  let saidAt: number | null = null;
  let isFailing = false;
  return {
    failed(error) {
      isFailing = true;
      const at = clock.monotonic();
      const message = error instanceof Error ? error.message : String(error);
      if (saidAt === null || at - saidAt >= repeatLineMs) {
        saidAt = at;
        log.warn({ err: error, source }, "a part of this worker fails; it goes on trying");
      }
      tell({ type: "source.failed", source, message, at });
    },
    succeeded() {
      if (!isFailing) return;
      isFailing = false;
      saidAt = null;
      log.info({ source }, "a part of this worker works again");
      tell({ type: "source.recovered", source });
    },
  };
}

/** Renews the leases of all steps alive; a step whose lease is lost is told, and sends nothing more. */
export function heartbeat({ ports, options, alive, track }: WorkerContext) {
  return repeating("heartbeat", options.leaseMs / 3, ports, track, async () => {
    const entryIds = [...alive.keys()];
    if (entryIds.length === 0) return;
    // Taken before the call: the lease is known to be ours since then, not since the answer.
    const asked = ports.clock.monotonic();
    const lost = new Set(await ports.queue.renew(entryIds));
    for (const entryId of entryIds) {
      const step = alive.get(entryId);
      if (step === undefined) continue;
      if (!lost.has(entryId)) step.session.leaseSeen = asked;
      // Acknowledged by its own last write, whose answer is on its way: that is an end, not a loss.
      else if (!step.actor.getSnapshot().hasTag("closing")) {
        step.session.endedBy = "its lease ran out, and the job is another worker's or gone";
        step.tell({ type: "lease.lost" });
      }
    }
  });
}

const everyMs = 1_000;
const batch = 100;

/**
 * Wakes parked steps whose time has come. Every worker sweeps; the store lets each timer fire once.
 *
 * It is the call that is always made, and so the one that notices when the store is away.
 */
export function timers({ ports, track }: WorkerContext) {
  return repeating("timers", everyMs, ports, track, (signal) =>
    sayingSilence(ports, "steps are waiting for it", async () => {
      for (;;) {
        const woken = await ports.store.wakeDue(batch);
        if (woken < batch || signal.aborted) break;
      }
    }),
  );
}

/** A store that answers nothing for so long is away; a connection that is taken up again needs less. */
const silentMs = 5_000;

/**
 * Makes a call of the store, and says when it is not answered for long, and when it is then. While a server is away its
 * client keeps the calls and sends them later, so nothing fails and nobody would hear of it.
 *
 * @param meanwhile what becomes of the work, for the end of the sentence
 */
export async function sayingSilence(
  { clock, log, storeName }: Pick<RuntimePorts, "clock" | "log" | "storeName">,
  meanwhile: string,
  call: () => Promise<unknown>,
): Promise<void> {
  const asked = clock.monotonic();
  const store = storeName === undefined ? "the store" : `the store (${storeName})`;
  let isSilent = false;
  const cancelTimer = clock.timer(silentMs, () => {
    isSilent = true;
    log.warn({}, `${store} has not answered for ${silentMs / 1_000} s; ${meanwhile}`);
  });
  try {
    await call();
  } finally {
    cancelTimer();
  }
  if (!isSilent) return;
  const forMs = Math.round(clock.monotonic() - asked);
  log.info({ forMs }, `${store} answers again`);
}

/** Says when the time to finish is up. */
export function grace(clock: Clock) {
  return fromCallback<EventObject, { graceMs: number }>(({ input, sendBack }) =>
    clock.timer(input.graceMs, () => sendBack({ type: "grace.over" })),
  );
}
