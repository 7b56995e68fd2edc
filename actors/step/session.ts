import { Actor, type ActorOptions } from "xstate";
import { type Context, context, type Span, trace } from "@opentelemetry/api";
import type { Action, Verdict } from "../../machines/contracts/domain/action.ts";
import type { BroughtText } from "../../machines/contracts/domain/airlock/provenance.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import type { Log, Clock } from "../../machines/contracts/ports/clock.ts";
import type {
  Delivery,
  Lease,
  StepStore,
  Write,
} from "../../machines/contracts/ports/step-backend.ts";
import { StoreError } from "../../machines/contracts/domain/errors.ts";
import type { ControlPlane } from "../../machines/contracts/ports/control-plane.ts";
import type { StepKey } from "../../machines/contracts/domain/record.ts";
import { redact } from "../../machines/contracts/domain/redact.ts";
import type { Redactor } from "../../machines/contracts/domain/screening/known-secrets.ts";
import { OwnAction } from "./approvals.ts";
import { Journal } from "./journal.ts";
import { OngoingActivity } from "./ongoing-activity.ts";
import { secretsOfJob } from "./screening.ts";
import type { stepMachine } from "../../machines/step/machine.ts";
import type { StepContext } from "../../machines/step/context.ts";
import type { StepEvent } from "../../machines/step/events.ts";
import type { RuntimeOptions } from "../options.ts";
import type { RuntimePorts } from "../ports.ts";
import type { RunLooks } from "../run-looks.ts";
import type { TroubleWatch } from "../trouble.ts";

/** The lease is lost: another worker has the step, and nothing may be written. */
export class LeaseLost extends Error {
  override name = "LeaseLost";
}

/** Epoch milliseconds by the store's time; see {@link StepSession.storeAheadMs}. */
export const storeNow = ({
  ports,
  session,
}: {
  ports: { clock: Pick<Clock, "now"> };
  session: Pick<StepSession, "storeAheadMs">;
}): number => ports.clock.now() + session.storeAheadMs;

/** When an action was last judged, monotonic milliseconds, and in which stretch of its session's work. */
interface Permitted {
  stretch: number;
  at: number;
}

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
  /** When each was entered, epoch milliseconds; null for those of earlier sessions. */
  enteredAt: (number | null)[] = [];
  /** The state it is in, and since when, in monotonic milliseconds; kept where somebody is told. */
  stay: { state: string; since: number } | null = null;
  /** Monotonic milliseconds of the last moment the lease was known to be ours with all its time before it. */
  leaseSeen: number;
  /** What policy said of the step's own action in this stretch, and when, in monotonic milliseconds. */
  judged: { digest: () => string; verdict: Verdict; at: number } | null = null;
  /** The step's own action as it was last judged, a tool's name resolved. */
  judgedAction: Action | null = null;
  /**
   * Stretches of work without a wait, counted: after every wait (a back-off, a repair, an effect, a neighbour's
   * trouble, a turn) a new one begins. What was judged or looked at in one is judged and looked at again in the next.
   */
  stretch = 0;
  /** Monotonic milliseconds of the last wait's end; nothing seen before it is good. */
  waitedUntil = Number.NEGATIVE_INFINITY;
  /**
   * How far the store's time was ahead of this worker's clock when the record was opened, milliseconds. What is kept
   * with a step, for whichever worker reads it, is in the store's time.
   */
  storeAheadMs = 0;
  /** Whether the record was found with a session before this one. */
  isResumed: boolean;
  /** Whether the step's handler was run to its own end in this session: its result is news to everybody. */
  hasWorked = false;
  /** Whether the control plane was asked about a tool in this session: its answer may have blocked the run. */
  hasChecked = false;
  /** Whether an effect that costs was begun in this session, however the step ends: its end is kept before it is told. */
  hasSpent = false;
  /** Whether another entry of the step is being worked on, and this one was dropped. */
  isDuplicate = false;
  /** What an agent's tools have brought before the calls that are judged now. */
  brought: () => readonly BroughtText[] = () => [];
  /** Reservations at a budget that this session has asked for: each has a number of its own. */
  reservations = 0;
  /** The reservation that this session settled last. */
  settled: string | null = null;
  /** What ended this session before its step, as a sentence for the log. */
  endedBy: string | null = null;
  /** Monotonic milliseconds at which a delayed report was last spoken of. */
  delaySaidAt: number | null = null;
  /** Monotonic milliseconds. */
  readonly startedAt: number;
  #traceContext: Context | null = null;
  #lease: Lease | null = null;
  #own: OwnAction | null = null;
  #secrets: { job: Job; redactor: Redactor | null } | null = null;
  #activity: OngoingActivity | null = null;
  #permitted: Permitted | null = null;
  /** Made when a handler does what is not the step's own action: the collector of garbage visits each weak map. */
  #permittedActions: WeakMap<Action, Permitted> | null = null;
  /** What the Airlock found and was logged. */
  #toldFindings: Set<string> | null = null;
  #draining: AbortController | null = null;
  #isDraining = false;
  #workUnderWay = 0;
  #waitingSince: number | null = null;
  #waitedMs = 0;
  #whenIdle: (() => void)[] = [];

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
    this.log = hidingLog(made.log, () => this.ownSecrets());
    this.span = made.span;
    this.leaseSeen = made.leaseSeen;
    this.startedAt = made.leaseSeen;
    this.isResumed = made.delivery.deliveries > 1;
  }

  /** Below which spans of this step's work belong to its trace. */
  get traceContext(): Context {
    return (this.#traceContext ??= trace.setSpan(context.active(), this.span));
  }

  /** What the step itself asks for. Kept here, since a weak map of jobs would keep each until the next full collection. */
  ownAction(job: Job): OwnAction {
    if (this.#own?.job !== job) this.#own = new OwnAction(job);
    return this.#own;
  }

  /** Knows the secrets that the job itself has; null where it has none. */
  ownSecrets(): Redactor | null {
    const { job } = this;
    if (job === null) return null;
    if (this.#secrets?.job !== job) this.#secrets = { job, redactor: secretsOfJob(job) };
    return this.#secrets.redactor;
  }

  /** The right to write; throws when the step was never opened, which is a fault of ours. */
  get lease(): Lease {
    if (this.#lease === null) throw new LeaseLost("the step's record was not opened");
    return this.#lease;
  }

  /** False where the record itself could not be opened: then only the dead letters can take the job. */
  get isOpened(): boolean {
    return this.#lease !== null;
  }

  opened(lease: Lease): void {
    this.#lease = lease;
  }

  /** Aborted when the worker drains: what waits for a neighbour gives up, what does not goes on. */
  get drained(): AbortSignal {
    this.#draining ??= new AbortController();
    if (this.#isDraining) this.#draining.abort();
    return this.#draining.signal;
  }

  drain(): void {
    this.#isDraining = true;
    this.#draining?.abort();
  }

  /** One activity a state: the one before is aborted, whatever still listens to it. */
  begin(): OngoingActivity {
    this.abort();
    this.#activity = new OngoingActivity();
    return this.#activity;
  }

  abort(): void {
    this.#activity?.abort();
  }

  /** Work to be awaited before the step counts as gone, such as an aborted call still unwinding. */
  track(work: Promise<unknown>): void {
    this.#workUnderWay += 1;
    work.then(this.#workEnded, this.#workEnded);
  }

  #workEnded = (): void => {
    this.#workUnderWay -= 1;
    if (this.#workUnderWay > 0 || this.#whenIdle.length === 0) return;
    for (const tell of this.#whenIdle.splice(0)) tell();
  };

  /**
   * The stretch in which an action was last judged, and when: a yes to one of several calls that are under way is none to
   * another. By the very object that was judged; null is the step's own action.
   */
  permitted(action: Action | null): Permitted | undefined {
    return action === null ? (this.#permitted ?? undefined) : this.#permittedActions?.get(action);
  }

  notePermitted(action: Action | null, noted: Permitted): void {
    if (action === null) this.#permitted = noted;
    else (this.#permittedActions ??= new WeakMap()).set(action, noted);
  }

  /** Whether a finding of the Airlock is told here for the first time. */
  isNewFinding(finding: string): boolean {
    this.#toldFindings ??= new Set();
    if (this.#toldFindings.has(finding)) return false;
    this.#toldFindings.add(finding);
    return true;
  }

  /** A wait is over: whatever was judged before it is forgotten. `now` in monotonic milliseconds. */
  beginStretch(now: number): void {
    this.stretch += 1;
    this.waitedUntil = now;
    this.judged = null;
  }

  /** A wait for a neighbour's trouble to pass begins or ends. */
  waits(isWaiting: boolean, now: number): void {
    this.beginStretch(now);
    if (isWaiting) this.#waitingSince ??= now;
    else {
      this.#waitedMs = this.waitedMs(now);
      this.#waitingSince = null;
    }
  }

  /** Milliseconds that this session has spent waiting for trouble to pass. */
  waitedMs(now: number): number {
    return this.#waitedMs + (this.#waitingSince === null ? 0 : now - this.#waitingSince);
  }

  get isIdle(): boolean {
    return this.#workUnderWay === 0;
  }

  /** Resolves when no tracked work is under way. */
  idle(): Promise<void> {
    if (this.isIdle) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }
}

/** A log in whose lines no secret of the job's stands. */
function hidingLog(log: Log, secrets: () => Redactor | null): Log {
  const line =
    (level: keyof Log): Log["info"] =>
    (fields, message) => {
      const own = secrets();
      if (own === null) log[level](fields, message);
      else log[level](redact(fields, own.hide) as object, own.hide(message));
    };
  return { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") };
}

/** What an effect of the chart works with. */
export interface ActivityScope {
  /** Patient: a call that meets passing trouble, or the worker's own, is made again until it does not. */
  ports: RuntimePorts;
  /** The control plane as it answers once, for work whose repetition the chart owns. */
  controlPlane: ControlPlane;
  runs: RunLooks;
  trouble: TroubleWatch;
  options: RuntimeOptions;
  session: StepSession;
  context: StepContext;
  /** Aborted when the state is left. */
  readonly signal: AbortSignal;
  /** The actor's snapshot as XState persists it; asked for only when a step is parked or becomes a dead letter. */
  persist: () => unknown;
}

/** The work behind one effect's name: it answers with the event that tells what came of it. */
export type StepActivity = (scope: ActivityScope) => Promise<StepEvent>;

/** When something happened, and the number drawn for it. */
export function retryStamp({ clock }: Pick<RuntimePorts, "clock">): { at: number; jitter: number } {
  return { at: clock.now(), jitter: clock.random() };
}

/**
 * The lease as this worker may trust it. `leaseSeen` is the monotonic time just before the last call that renewed
 * the lease and succeeded (open, heartbeat, or the check below): since then it is known to be ours.
 *
 *   younger than half the lease   ours by the clock alone: nobody can have taken it over
 *   older                         a heartbeat was missed; only the store can tell, and it is asked: the entry's owner
 *                                 by renewing it, the record's fence by an empty append
 *
 * This check stands before everything that a worker without the lease must not do: an effect, a report, a question.
 * It is made again when the worker was paused while it waited for the answer. Nothing may be awaited between it
 * and the deed. What is written to the store needs no check: each write is fenced in the same atomic move.
 *
 * @throws LeaseLost, or the signal's reason
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
    const lost = await ports.queue.renew([session.delivery.entryId]);
    const written = await fenceHolds(ports.store, session);
    if (lost.length > 0 || written === "lease-lost") {
      throw new LeaseLost("the lease ran out while this worker did not look");
    }
    session.leaseSeen = asked;
  }
  signal.throwIfAborted();
}

async function fenceHolds(store: StepStore, session: StepSession): Promise<Write> {
  // A record that could not be opened has no fence to look at.
  if (!session.isOpened) return "written";
  try {
    return await store.append(session.lease, []);
  } catch (error) {
    // Nor has one that can't be read any more: the entry's owner alone has to do.
    if (error instanceof StoreError && error.trouble === "step") return "written";
    throw error;
  }
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

/** Waits until aborted work has settled, but no longer than `ms`: work that ignores its signal is left behind. */
export async function settlePendingWork(
  session: StepSession,
  clock: Clock,
  ms = 1_000,
): Promise<void> {
  // What ended the step is usually over within a moment of its own, and needs no timer.
  for (let turn = 0; turn < 4 && !session.isIdle; turn += 1) await Promise.resolve();
  if (session.isIdle) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const cancelTimer = clock.timer(ms, resolve);
  await Promise.race([session.idle(), promise]);
  cancelTimer();
}

/** An actor of the step's chart, which knows its session. */
export class StepActor extends Actor<typeof stepMachine> {
  readonly session: StepSession;

  constructor(
    session: StepSession,
    machine: typeof stepMachine,
    options: ActorOptions<typeof stepMachine>,
  ) {
    super(machine, options);
    this.session = session;
  }
}

/** The name of the top-level state in a snapshot's value. */
export function topLevel(value: string | object): string | undefined {
  return typeof value === "string" ? value : Object.keys(value)[0];
}
