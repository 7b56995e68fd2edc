import type { StepLimits } from "../machines/step/context.ts";
import { retryDelay } from "../machines/step/rules.ts";
import { StoreError } from "../machines/contracts/domain/errors.ts";
import {
  type Failure,
  type Outcome,
  retryable,
  troubleOf,
} from "../machines/contracts/domain/failure.ts";
import type { ArtifactStore } from "../machines/contracts/ports/artifact-store.ts";
import type { Clock } from "../machines/contracts/ports/clock.ts";
import type { ControlPlane } from "../machines/contracts/ports/control-plane.ts";
import type { StepQueue, StepStore } from "../machines/contracts/ports/step-backend.ts";
import type { RuntimePorts } from "./ports.ts";
import { pause } from "./sources/periodic.ts";
import { DeadlinePassed, Drained, type Neighbour, type TroubleWatch } from "./trouble.ts";

/** Whose wait it is, and what ends it. */
export interface Waiting {
  /** Aborted when the state is left. */
  signal: AbortSignal;
  /** Aborted when the worker drains. */
  drained: AbortSignal;
  /** Epoch milliseconds of the step's total deadline; null where it has none, or where it counts no more. */
  until: () => number | null;
  /** Told when a wait begins and ends: it is no time of the step's own work. */
  onWait?: (isWaiting: boolean) => void;
  limits: Pick<StepLimits, "baseDelayMs" | "maxDelayMs">;
}

/**
 * The ports of one activity, with every call that a step can't do without made until it meets no passing trouble.
 * Each is made when it is first used: most activities use one.
 */
export function patientPorts(
  ports: RuntimePorts,
  watch: TroubleWatch,
  waiting: Waiting,
): RuntimePorts {
  return new PatientPorts(ports, new Patience(ports.clock, watch, waiting));
}

class PatientPorts implements RuntimePorts {
  readonly models;
  readonly prices;
  readonly tools;
  readonly schemas;
  readonly sandbox;
  readonly retrievers;
  readonly clock;
  readonly log;
  readonly #ports: RuntimePorts;
  readonly #patience: Patience;
  #queue: StepQueue | null = null;
  #store: StepStore | null = null;
  #artifacts: ArtifactStore | null = null;
  #controlPlane: ControlPlane | null = null;

  constructor(ports: RuntimePorts, patience: Patience) {
    this.#ports = ports;
    this.#patience = patience;
    this.models = ports.models;
    this.prices = ports.prices;
    this.tools = ports.tools;
    this.schemas = ports.schemas;
    this.sandbox = ports.sandbox;
    this.retrievers = ports.retrievers;
    this.clock = ports.clock;
    this.log = ports.log;
  }

  get queue(): StepQueue {
    return (this.#queue ??= patientQueue(this.#ports.queue, this.#patience));
  }

  get store(): StepStore {
    return (this.#store ??= new PatientStore(this.#ports.store, this.#patience));
  }

  get artifacts(): ArtifactStore {
    return (this.#artifacts ??= patientArtifacts(this.#ports.artifacts, this.#patience));
  }

  get controlPlane(): ControlPlane {
    return (this.#controlPlane ??= new PatientControlPlane(
      this.#ports.controlPlane,
      this.#patience,
    ));
  }
}

type Wait = (neighbour: Neighbour, failure: Failure, tries: number) => Promise<void>;

/** Makes a call again until it meets no passing trouble. */
class Patience {
  readonly #clock: Clock;
  readonly watch: TroubleWatch;
  readonly #waiting: Waiting;

  constructor(clock: Clock, watch: TroubleWatch, waiting: Waiting) {
    this.#clock = clock;
    this.watch = watch;
    this.#waiting = waiting;
  }

  /** A call of the store, which rejects with its trouble. The first try is nearly always the last, and is kept short. */
  kept<T>(call: () => Promise<T>): Promise<T> {
    const again = (error: unknown) => this.#whole((wait) => this.#keptAfter(error, call, wait));
    const well = (answer: T) => {
      this.watch.well("store");
      return answer;
    };
    try {
      return call().then(well, again);
    } catch (error) {
      return again(error);
    }
  }

  async #keptAfter<T>(first: unknown, call: () => Promise<T>, wait: Wait): Promise<T> {
    let error = first;
    for (let tries = 1; ; tries += 1) {
      if (!(error instanceof StoreError) || error.trouble === "step") throw error;
      this.watch.met("store", error.trouble, error.message);
      await wait("store", retryable("unavailable", error.message), tries);
      try {
        const answer = await call();
        this.watch.well("store");
        return answer;
      } catch (again) {
        error = again;
      }
    }
  }

  /** A call whose failure is a value. */
  answered<T>(neighbour: Neighbour, call: () => Promise<Outcome<T>>): Promise<Outcome<T>> {
    return this.#whole((wait) => this.#answered(neighbour, call, wait));
  }

  async #answered<T>(
    neighbour: Neighbour,
    call: () => Promise<Outcome<T>>,
    wait: Wait,
  ): Promise<Outcome<T>> {
    for (let tries = 1; ; tries += 1) {
      const outcome = await call();
      const trouble = outcome.ok ? "step" : troubleOf(outcome.failure);
      if (outcome.ok || trouble === "step") {
        if (!this.#waiting.signal.aborted) this.watch.well(neighbour);
        return outcome;
      }
      this.watch.met(neighbour, trouble, outcome.failure.message);
      await wait(neighbour, outcome.failure, tries);
    }
  }

  /** From the first failure until the answer all is waiting, the calls that fail too: none of it is the step's own time. */
  async #whole<T>(work: (wait: Wait) => Promise<T>): Promise<T> {
    let isWaiting = false;
    const wait: Wait = (...given) => {
      if (!isWaiting) this.#waiting.onWait?.(true);
      isWaiting = true;
      return this.#wait(...given);
    };
    try {
      return await work(wait);
    } finally {
      if (isWaiting) this.#waiting.onWait?.(false);
    }
  }

  async #wait(neighbour: Neighbour, failure: Failure, tries: number): Promise<void> {
    const { signal, drained, limits } = this.#waiting;
    signal.throwIfAborted();
    if (drained.aborted) throw new Drained(failure.message);
    const delay = retryDelay(failure, tries, this.#clock.random(), limits);
    const until = this.#waiting.until();
    const left = until === null ? Number.POSITIVE_INFINITY : until - this.#clock.now();
    if (left <= 0) throw new DeadlinePassed(failure.message);
    const over = this.watch.waits(neighbour);
    const either = new AbortController();
    const end = () => either.abort();
    signal.addEventListener("abort", end, { once: true });
    drained.addEventListener("abort", end, { once: true });
    // At least a moment: a wait of nothing at all would be a busy loop.
    await pause(this.#clock, Math.min(Math.max(delay, 10), left), either.signal);
    signal.removeEventListener("abort", end);
    drained.removeEventListener("abort", end);
    over();
    signal.throwIfAborted();
  }
}

function patientQueue(queue: StepQueue, patience: Patience): StepQueue {
  return {
    ...queue,
    renew: (...given) => patience.kept(() => queue.renew(...given)),
    deadLetter: (...given) => patience.kept(() => queue.deadLetter(...given)),
  };
}

class PatientStore implements StepStore {
  readonly #store: StepStore;
  readonly #patience: Patience;

  constructor(store: StepStore, patience: Patience) {
    this.#store = store;
    this.#patience = patience;
  }

  open(...given: Parameters<StepStore["open"]>) {
    return this.#patience.kept(() => this.#store.open(...given));
  }

  async append(...given: Parameters<StepStore["append"]>) {
    const written = await this.#patience.kept(() => this.#store.append(...given));
    if (given[1].length > 0) this.#patience.watch.journalWritten();
    return written;
  }

  record(...given: Parameters<StepStore["record"]>) {
    return this.#patience.kept(() => this.#store.record(...given));
  }

  park(...given: Parameters<StepStore["park"]>) {
    return this.#patience.kept(() => this.#store.park(...given));
  }

  settle(...given: Parameters<StepStore["settle"]>) {
    return this.#patience.kept(() => this.#store.settle(...given));
  }

  find(...given: Parameters<StepStore["find"]>) {
    return this.#patience.kept(() => this.#store.find(...given));
  }

  wakeDue(...given: Parameters<StepStore["wakeDue"]>) {
    return this.#store.wakeDue(...given);
  }
}

function patientArtifacts(artifacts: ArtifactStore, patience: Patience): ArtifactStore {
  return {
    ...artifacts,
    check: () => patience.answered("artifacts", () => artifacts.check()),
    put: (...given) => patience.answered("artifacts", () => artifacts.put(...given)),
    get: (...given) => patience.answered("artifacts", () => artifacts.get(...given)),
  };
}

class PatientControlPlane implements ControlPlane {
  readonly #plane: ControlPlane;
  readonly #patience: Patience;

  constructor(plane: ControlPlane, patience: Patience) {
    this.#plane = plane;
    this.#patience = patience;
  }

  ping(...given: Parameters<ControlPlane["ping"]>) {
    return this.#plane.ping(...given);
  }

  extensions(...given: Parameters<ControlPlane["extensions"]>) {
    return this.#until(() => this.#plane.extensions(...given));
  }

  checkTool(...given: Parameters<ControlPlane["checkTool"]>) {
    return this.#until(() => this.#plane.checkTool(...given));
  }

  report(...given: Parameters<ControlPlane["report"]>) {
    return this.#until(() => this.#plane.report(...given));
  }

  get budgets(): ControlPlane["budgets"] {
    const { budgets } = this.#plane;
    if (budgets === undefined) return undefined;
    return {
      reserve: (...given) => this.#until(() => budgets.reserve(...given)),
      settle: (...given) => this.#until(() => budgets.settle(...given)),
    };
  }

  requestApproval(...given: Parameters<ControlPlane["requestApproval"]>) {
    return this.#until(() => this.#plane.requestApproval(...given));
  }

  findApproval(...given: Parameters<ControlPlane["findApproval"]>) {
    return this.#until(() => this.#plane.findApproval(...given));
  }

  run(...given: Parameters<ControlPlane["run"]>) {
    return this.#until(() => this.#plane.run(...given));
  }

  steps(...given: Parameters<ControlPlane["steps"]>) {
    return this.#until(() => this.#plane.steps(...given));
  }

  #until<T>(call: () => Promise<Outcome<T>>): Promise<Outcome<T>> {
    return this.#patience.answered("control plane", call);
  }
}
