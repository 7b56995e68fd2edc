import type { Span } from "@opentelemetry/api";
import type { Verdict } from "../../machines/contracts/domain/action.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import type { Log, Clock } from "../../machines/contracts/ports/clock.ts";
import type { Delivery, Lease } from "../../machines/contracts/ports/step-backend.ts";
import type { StepKey } from "../../machines/contracts/domain/record.ts";
import { Journal } from "./effects.ts";
import type { StepContext } from "../../machines/step/context.ts";
import type { StepEvent } from "../../machines/step/events.ts";
import type { RuntimeOptions } from "../options.ts";
import type { RuntimePorts } from "../ports.ts";

/** The store could not be reached: the step is let go, and whoever takes it over finds it as it was. */
export class StoreFailure extends Error {
  override name = "StoreFailure";
}

/** The lease is lost: another worker has the step, and nothing may be written. */
export class LeaseLost extends Error {
  override name = "LeaseLost";
}

/** Tells a store's rejection from every other unexpected error. */
export async function stored<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw new StoreFailure(error instanceof Error ? error.message : String(error), {
      cause: error,
    });
  }
}

/** Epoch milliseconds by the store's time; see {@link StepSession.storeAheadMs}. */
export const storeNow = ({
  ports,
  session,
}: {
  ports: { clock: Pick<Clock, "now"> };
  session: Pick<StepSession, "storeAheadMs">;
}): number => ports.clock.now() + session.storeAheadMs;

/** Made once: an error for every state left would be a seventh of a step's cost. */
const leftState = new DOMException("the step left the state that asked for this", "AbortError");

/**
 * What a step has in this worker beside its chart: the lease, the journal, the signal of the present state.
 * None of it is in the snapshot; a take-over makes it anew.
 */
export class StepSession {
  readonly key: StepKey;
  /** As delivered, until the record turns out to keep a fuller one. */
  job: Job | null;
  readonly delivery: Delivery;
  readonly log: Log;
  readonly span: Span;
  journal = new Journal([]);
  /** The top-level states passed, over all sessions. */
  stateHistory: string[] = [];
  /** Monotonic milliseconds of the last moment the lease was known to be ours with all its time before it. */
  leaseSeen: number;
  /** What policy said of the step's own action in this session, and when, in monotonic milliseconds. */
  judged: { digest: string; verdict: Verdict; at: number } | null = null;
  /**
   * How far the store's time was ahead of this worker's clock when the record was opened, milliseconds. What is kept
   * with a step, for whichever worker reads it, is in the store's time.
   */
  storeAheadMs = 0;
  /** Whether the record was found with a session before this one. */
  isResumed: boolean;
  #lease: Lease | null = null;
  #controller = new AbortController();
  #pendingWork: Promise<unknown> = Promise.resolve();

  constructor(made: {
    key: StepKey;
    job: Job | null;
    delivery: Delivery;
    log: Log;
    span: Span;
    leaseSeen: number;
  }) {
    this.key = made.key;
    this.job = made.job;
    this.delivery = made.delivery;
    this.log = made.log;
    this.span = made.span;
    this.leaseSeen = made.leaseSeen;
    this.isResumed = made.delivery.deliveries > 1;
  }

  /** The right to write; throws when the step was never opened, which is a fault of ours. */
  get lease(): Lease {
    if (this.#lease === null) throw new LeaseLost("the step's record was not opened");
    return this.#lease;
  }

  opened(lease: Lease): void {
    this.#lease = lease;
  }

  /** One signal a state: the one before is aborted, whatever still listens to it. */
  freshSignal(): AbortSignal {
    this.abort();
    this.#controller = new AbortController();
    return this.#controller.signal;
  }

  abort(): void {
    this.#controller.abort(leftState);
  }

  /** HandlerResult to be awaited before the step counts as gone, such as an aborted call still unwinding. */
  track(work: Promise<unknown>): void {
    this.#pendingWork = Promise.allSettled([this.#pendingWork, work]);
  }

  get pendingWork(): Promise<unknown> {
    return this.#pendingWork;
  }
}

/** What an effect of the chart works with. */
export interface ActivityScope {
  ports: RuntimePorts;
  options: RuntimeOptions;
  session: StepSession;
  context: StepContext;
  /** Aborted when the state is left. */
  signal: AbortSignal;
  /** The actor's snapshot as XState persists it; asked for only when a step is parked or buried. */
  persist: () => unknown;
}

/** The work behind one effect's name: it answers with the event that tells what came of it. */
export type StepActivity = (scope: ActivityScope) => Promise<StepEvent>;

/** When something happened, and the number drawn for it. */
export function retryStamp({ clock }: Pick<RuntimePorts, "clock">): { at: number; jitter: number } {
  return { at: clock.now(), jitter: clock.random() };
}

/**
 * Stands before everything that a worker without the lease must not do. Costs nothing while the lease is fresh
 * by the clock; else the entry's owner and the record's fence are asked of the store, and asked again when the
 * worker was paused while it waited for the answer. Nothing may be awaited between this and the deed.
 *
 * @throws LeaseLost, StoreFailure, or the signal's reason
 */
export async function confirmLease({
  ports,
  options,
  session,
  signal,
}: ActivityScope): Promise<void> {
  while (isLeaseStale(session, ports.clock, options)) {
    signal.throwIfAborted();
    const asked = ports.clock.monotonic();
    // Both: renewing looks at the owner and moves the end of the lease, an empty append looks at the fence.
    const lost = await stored(ports.queue.renew([session.lease.entryId]));
    const written = await stored(ports.store.append(session.lease, []));
    if (lost.length > 0 || written === "lease-lost") {
      throw new LeaseLost("the lease ran out while this worker did not look");
    }
    session.leaseSeen = asked;
  }
  signal.throwIfAborted();
}

/** Whether the lease may have run out since it was last known to be ours: then only the store can tell. */
export function isLeaseStale(
  session: { leaseSeen: number },
  clock: Pick<Clock, "monotonic">,
  { leaseMs }: { leaseMs: number },
): boolean {
  // Half: the heartbeat renews every third, so anything older has missed one.
  return clock.monotonic() - session.leaseSeen > leaseMs / 2;
}

/** Waits until aborted work has settlePendingWork, but no longer than `ms`: work that ignores its signal is left behind. */
export async function settlePendingWork(
  session: StepSession,
  clock: Clock,
  ms = 1_000,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const cancelTimer = clock.timer(ms, resolve);
  await Promise.race([session.pendingWork, promise]);
  cancelTimer();
}

/** The name of the top-level state in a snapshot's value. */
export function topLevel(value: string | object): string | undefined {
  return typeof value === "string" ? value : Object.keys(value)[0];
}
