import type { Span } from "@opentelemetry/api";
import type { Job } from "../../machines/contracts/job.ts";
import type { Log } from "../../machines/contracts/ports/log.ts";
import type { Delivery } from "../../machines/contracts/ports/step-queue.ts";
import type { Lease } from "../../machines/contracts/ports/step-store.ts";
import type { StepKey } from "../../machines/contracts/record.ts";
import { LeaseLost } from "../store-failure.ts";
import { Journal } from "./journal.ts";

/** Made once: an error for every state left would be a seventh of a step's cost. */
const leftState = new DOMException("the step left the state that asked for this", "AbortError");

/**
 * What a step has in this worker beside its chart: the lease, the journal, the signal of the present state.
 * None of it is in the snapshot; a take-over makes it anew.
 */
export class StepLife {
  readonly key: StepKey;
  /** As delivered, until the record turns out to keep a fuller one. */
  job: Job | null;
  readonly delivery: Delivery;
  readonly log: Log;
  readonly span: Span;
  journal = new Journal([]);
  /** The top-level states passed, over all lives. */
  path: string[] = [];
  /** Monotonic milliseconds of the last moment the lease was known to be ours with all its time before it. */
  leaseSeen: number;
  /** Whether the record was found with a life before this one. */
  isTakenUp: boolean;
  #lease: Lease | null = null;
  #controller = new AbortController();
  #tail: Promise<unknown> = Promise.resolve();

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
    this.isTakenUp = made.delivery.deliveries > 1;
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

  /** Work to be awaited before the step counts as gone, such as an aborted call still unwinding. */
  trail(work: Promise<unknown>): void {
    this.#tail = Promise.allSettled([this.#tail, work]);
  }

  get tail(): Promise<unknown> {
    return this.#tail;
  }
}
