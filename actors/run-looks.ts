import { type PastCall, withCall } from "../machines/contracts/domain/airlock/pace.ts";
import type { AirlockRules } from "../machines/contracts/domain/airlock/settings.ts";
import { ok, type Outcome } from "../machines/contracts/domain/failure.ts";
import { isRunOver, type RunStatus } from "../machines/contracts/domain/status.ts";
import type { Clock } from "../machines/contracts/ports/clock.ts";
import type { ControlPlane } from "../machines/contracts/ports/control-plane.ts";

/** Runs remembered at most: ended ones for as long as there is room, others for as long as a look is good. */
const maxKept = 1_000;

/** How old a look may be before the plain execution of a step, milliseconds. */
export const lookGoodMs = 2_000;

/**
 * What this worker last saw of each run. One look serves all steps of a run for a while, and steps that ask at the
 * same time share one call. An ended run stays ended, so such a look is good for ever; what must not miss an end
 * that came a moment ago (a step taken up again, a late report) asks for a fresh look with `maxAgeMs` 0.
 */
export class RunLooks {
  readonly #seen = new Map<string, { status: RunStatus; at: number }>();
  readonly #asking = new Map<string, Promise<Outcome<RunStatus>>>();
  readonly #calls = new Map<string, PastCall[]>();
  readonly #clock: Pick<Clock, "monotonic">;

  constructor(clock: Pick<Clock, "monotonic">) {
    this.#clock = clock;
  }

  /**
   * The run's status as of at most `maxAgeMs` ago.
   *
   * @param controlPlane whom to ask; a failure is handed on and not kept
   */
  async look(
    controlPlane: Pick<ControlPlane, "run">,
    runId: string,
    signal: AbortSignal,
    maxAgeMs: number = lookGoodMs,
  ): Promise<Outcome<RunStatus>> {
    const seen = this.seen(runId, maxAgeMs);
    if (seen !== null) return ok(seen);
    const asking = maxAgeMs > 0 ? this.#asking.get(runId) : undefined;
    if (asking === undefined) return this.#ask(controlPlane, runId, signal);
    // Whoever asked first may give up, and with it the call that this one shares: that is no answer to anybody else.
    const shared = await asking.catch(() => null);
    const isAnswer = shared !== null && (shared.ok || shared.failure.kind !== "cancelled");
    return isAnswer || signal.aborted
      ? (shared ?? this.#ask(controlPlane, runId, signal))
      : this.look(controlPlane, runId, signal, maxAgeMs);
  }

  /** The run's status where it is known well enough without asking; else null. */
  seen(runId: string, maxAgeMs: number): RunStatus | null {
    const seen = this.#seen.get(runId);
    if (seen === undefined) return null;
    const isGood = maxAgeMs > 0 && this.#clock.monotonic() - seen.at <= maxAgeMs;
    return isGood || isRunOver(seen.status) ? seen.status : null;
  }

  /** What was learnt by other means, such as the control plane's event stream. */
  note(runId: string, status: RunStatus): void {
    const known = this.#seen.get(runId);
    if (known !== undefined && isRunOver(known.status)) return;
    this.#seen.delete(runId);
    this.#seen.set(runId, { status, at: this.#clock.monotonic() });
    if (this.#seen.size <= maxKept) return;
    const [oldest] = this.#seen.keys();
    if (oldest !== undefined) this.#seen.delete(oldest);
  }

  /** Notes a tool call of a run; returns the last of those that it made in this worker. */
  noteCall(runId: string, call: PastCall, rules: AirlockRules): readonly PastCall[] {
    const calls = withCall(this.#calls.get(runId) ?? [], call, rules);
    this.#calls.delete(runId);
    this.#calls.set(runId, calls);
    const [oldest] = this.#calls.keys();
    if (this.#calls.size > maxKept && oldest !== undefined) this.#calls.delete(oldest);
    return calls;
  }

  #ask(
    controlPlane: Pick<ControlPlane, "run">,
    runId: string,
    signal: AbortSignal,
  ): Promise<Outcome<RunStatus>> {
    const asked = controlPlane
      .run(runId, signal)
      .then((run): Outcome<RunStatus> => {
        if (!run.ok) return run;
        this.note(runId, run.value.status);
        return ok(run.value.status);
      })
      .finally(() => {
        if (this.#asking.get(runId) === asked) this.#asking.delete(runId);
      });
    this.#asking.set(runId, asked);
    return asked;
  }
}
