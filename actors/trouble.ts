import type { TroubleKind } from "../machines/contracts/domain/errors.ts";
import type { Clock, Log } from "../machines/contracts/ports/clock.ts";

/*
 * Trouble with a neighbour is one of three kinds, decided at the adapter (`StoreError.trouble`, `troubleOf`), and this
 * module is the one place that acts on them. Every store write, artifact write, policy look and approval call of a
 * step goes through `patientPorts` (patient-ports.ts):
 *
 *   passing   the same call is made again after a back-off, for as long as it takes. Every store write is idempotent
 *             under its fence, so a write whose answer was lost may be made again. What a finished effect returned
 *             stays in memory until it is kept: the effect itself is never repeated because of it. Neither an attempt
 *             nor a delivery is counted.
 *   ours      the same, and the worker takes no more jobs until a call succeeds again: `TroubleWatch` says so once as
 *             an error that names what to do, and each minute while it lasts.
 *   step      the call's failure is handed on at once: a rejection as it is, an outcome as it is.
 *
 * A model's provider that refuses the worker's key holds nobody up: the steps that ask for it are put away and try
 * again (`untried` in their failure), and `TroubleWatch` only says so.
 *
 * The waiting steps are the probes. When none is left, the worker takes jobs again after a while and finds out.
 *
 * A wait ends without success when
 *   the state is left (cancel, deadline, lost lease; drain before the report)   the signal's reason is thrown
 *   the worker drains and the step is at its report                             `Drained`: the job is released, uncounted
 *   the step's total deadline passes                                            `DeadlinePassed`
 *
 * The terminal report alone is not made patiently: the chart owns its repetition (reported.backing-off).
 */

/** Without them no step gets anywhere. */
type Needed = "store" | "artifacts" | "control plane";
export type Neighbour = Needed | `model provider ${string}`;

/** The worker drains, and this step's wait for a neighbour is over. */
export class Drained extends Error {
  override readonly name = "Drained";
}

/** The step's total deadline passed while it waited for a neighbour. */
export class DeadlinePassed extends Error {
  override readonly name = "DeadlinePassed";
}

const whatToDo: Record<Needed, string> = {
  store: "free its disk or memory, or let this worker write to it",
  artifacts: "make the place of the artifacts writable, or free its disk",
  "control plane": "set the API key that the control plane accepts",
};

/** Passing trouble shorter than this is not worth a line. */
const briefMs = 3_000;
const repeatLineMs = 60_000;
/** How long the worker goes on holding when no step waits any more that could find the end of the trouble. */
const idleHoldMs = 5_000;
/** A journal write this recent shows that the journal can be written. */
const journalGoodMs = 1_000;
const artifactsGoodMs = 30_000;

const isNeeded = (neighbour: Neighbour): neighbour is Needed => Object.hasOwn(whatToDo, neighbour);

interface Ongoing {
  since: number;
  isOurs: boolean;
  message: string;
  /** When it was last said; null while it was too brief. */
  saidAt: number | null;
}

/** What this worker knows of its neighbours' trouble: says when it began and ended, and holds the intake of jobs. */
export class TroubleWatch {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #ongoing = new Map<Neighbour, Ongoing>();
  readonly #waiting = new Map<Neighbour, number>();
  readonly #held = new Set<Neighbour>();
  /** Timers by which a hold ends for which nobody waits. */
  readonly #idle = new Map<Neighbour, () => void>();
  /** When a provider's trouble was last said: a key that is good for some models alone would be heard of all the time. */
  readonly #saidOfProvider = new Map<Neighbour, number>();
  #onHold: (neighbour: Neighbour, isHeld: boolean) => void = () => {};
  #journalGoodAt = Number.NEGATIVE_INFINITY;
  #artifactsGoodAt = Number.NEGATIVE_INFINITY;

  constructor({ clock, log }: { clock: Clock; log: Log }) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Told when the worker must stop taking jobs because of a neighbour, and when it may take them again. */
  onHold(listener: (neighbour: Neighbour, isHeld: boolean) => void): void {
    this.#onHold = listener;
  }

  /** A call failed with passing trouble or ours. */
  met(neighbour: Neighbour, trouble: Exclude<TroubleKind, "step">, message: string): void {
    const now = this.#clock.monotonic();
    if (neighbour === "store") this.#journalGoodAt = Number.NEGATIVE_INFINITY;
    if (neighbour === "artifacts") this.#artifactsGoodAt = Number.NEGATIVE_INFINITY;
    const known = this.#ongoing.get(neighbour);
    const isOurs = trouble === "ours";
    const ongoing = known ?? { since: now, isOurs, message, saidAt: null };
    this.#ongoing.set(neighbour, ongoing);
    // It came to be ours only now: that is worth a line of its own.
    if (isOurs && !ongoing.isOurs) ongoing.saidAt = null;
    ongoing.isOurs = isOurs;
    ongoing.message = message;
    if (isOurs && isNeeded(neighbour)) this.#hold(neighbour, true);
    const saidAt = ongoing.saidAt ?? this.#saidOfProvider.get(neighbour) ?? null;
    const isDue =
      saidAt === null ? isOurs || now - ongoing.since >= briefMs : now - saidAt >= repeatLineMs;
    if (!isDue) return;
    ongoing.saidAt = now;
    const fields = { neighbour, reason: message, forMs: Math.round(now - ongoing.since) };
    if (isOurs && !isNeeded(neighbour)) {
      this.#saidOfProvider.set(neighbour, now);
      const text = `the ${neighbour} refuses this worker's key: ${message}; steps that ask for it wait, for an hour at most, and others go on: set a key that it accepts and start the worker again, or mend the key at the provider`;
      this.#log.error(fields, text);
    } else if (isOurs) {
      const text = `the ${neighbour} refuses this worker: ${message}; no more jobs are taken and steps wait until it is fixed: ${whatToDo[neighbour as Needed]}`;
      this.#log.error(fields, text);
    } else this.#log.warn(fields, `the ${neighbour} is unavailable; steps are waiting for it`);
  }

  /** A call succeeded, or failed for the step's own reasons. */
  well(neighbour: Neighbour): void {
    const ongoing = this.#ongoing.get(neighbour);
    if (ongoing === undefined) return;
    this.#ongoing.delete(neighbour);
    if (ongoing.saidAt !== null) {
      const forMs = Math.round(this.#clock.monotonic() - ongoing.since);
      this.#log.info({ neighbour, forMs }, `the ${neighbour} is available again`);
    }
    this.#hold(neighbour, false);
  }

  /** Counts a step that waits; call the function returned when it does not wait any more. */
  waits(neighbour: Neighbour): () => void {
    this.#waiting.set(neighbour, (this.#waiting.get(neighbour) ?? 0) + 1);
    return () => {
      const left = (this.#waiting.get(neighbour) ?? 1) - 1;
      this.#waiting.set(neighbour, left);
      if (left > 0 || !this.#held.has(neighbour)) return;
      this.#idle.get(neighbour)?.();
      const cancelTimer = this.#clock.timer(idleHoldMs, () => {
        this.#idle.delete(neighbour);
        if ((this.#waiting.get(neighbour) ?? 0) === 0) this.#hold(neighbour, false);
      });
      this.#idle.set(neighbour, cancelTimer);
    };
  }

  /** Leaves no timer behind that would keep the process alive. */
  stop(): void {
    for (const cancelTimer of this.#idle.values()) cancelTimer();
    this.#idle.clear();
  }

  /** The journal was just written. */
  journalWritten(): void {
    this.#journalGoodAt = this.#clock.monotonic();
  }

  /** Whether the journal was written so recently that it need not be tried before money is spent. */
  get isJournalGood(): boolean {
    return this.#clock.monotonic() - this.#journalGoodAt <= journalGoodMs;
  }

  artifactsChecked(): void {
    this.#artifactsGoodAt = this.#clock.monotonic();
  }

  get areArtifactsGood(): boolean {
    return this.#clock.monotonic() - this.#artifactsGoodAt <= artifactsGoodMs;
  }

  #hold(neighbour: Neighbour, isHeld: boolean): void {
    if (this.#held.has(neighbour) === isHeld) return;
    if (isHeld) this.#held.add(neighbour);
    else this.#held.delete(neighbour);
    this.#onHold(neighbour, isHeld);
  }
}
