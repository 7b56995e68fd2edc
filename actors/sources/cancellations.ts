import { type EventObject, fromCallback } from "xstate";
import { readRunStatus, type RunStatus } from "../../machines/contracts/domain/status.ts";
import type { WorkerContext } from "../step/spawn.ts";
import { pause } from "./periodic.ts";

/** Runs that a person or a budget ended: what is left of their steps is cancelled. */
const cancelReason: ReadonlySet<RunStatus> = new Set([
  "cancelled",
  "budget_killed",
  "timeout",
  "airlock_blocked",
]);

/** A look at one run in this time while steps run: ten a minute, of the twenty that FerrumDeck ships with. */
const pollMs = 6_000;
/** The poll never grows slower than this by itself, however often it is turned away. */
const maxPollMs = 60_000;
/** Where changes are pushed, polling only mends what was missed while the stream was down. */
const mendMs = 20_000;
/** Shorter steps are over before a look could help them. */
const minAgeMs = 4_000;
/** Runs followed at once by a channel of their own: each is an open connection. */
const maxChannels = 20;
/** A hint is worth a look unless one was made this recently: a busy run hints many times a second. */
const hintGoodMs = 1_000;

/**
 * Tells steps that their run was cancelled. By the first of these that the control plane has:
 *
 *   its event stream, where it advertises one; looks only mend what was missed
 *   a channel for each run, which a later FerrumDeck has and does not advertise: it is tried for, once, and each of its
 *   events is a hint to look
 *   looks at the runs in turn
 *
 * One look serves all steps of a run, and a look that somebody else made serves as well. Nothing is looked at while no
 * step has been running for some seconds. After a 429 the poll waits as long as it is asked to and becomes slower;
 * each good answer makes it faster again.
 */
export function cancellations({ ports, alive, track, runs }: WorkerContext) {
  return fromCallback<EventObject, undefined>(() => {
    const stopped = new AbortController();
    const { signal } = stopped;
    const onChange = (runId: string, text: string) => {
      const status = readRunStatus(text);
      if (status === undefined) return;
      runs.note(runId, status);
      if (!cancelReason.has(status)) return;
      for (const { session, tell } of alive.values()) {
        if (session.key.runId === runId)
          tell({ type: "cancel.requested", reason: `the run is ${status}` });
      }
    };
    const onStop = (runId: string, stepId: string) => {
      for (const { session, tell } of alive.values()) {
        const { key } = session;
        if (key.runId === runId && key.stepId === stepId)
          tell({ type: "cancel.requested", reason: "the step was told to stop; its run goes on" });
      }
    };
    let everyMs = pollMs;
    let turn = 0;
    /** The runs whose steps have been running for long enough that a look may help them. */
    const longRuns = (): string[] => {
      const now = ports.clock.monotonic();
      const old = [...alive.values()].filter(({ session }) => now - session.startedAt >= minAgeMs);
      return [...new Set(old.map(({ session }) => session.key.runId))];
    };
    const lookAt = async (runId: string, maxAgeMs: number) => {
      const run = await runs.look(ports.controlPlane, runId, signal, maxAgeMs);
      if (run.ok) {
        everyMs = Math.max(pollMs, everyMs / 2);
        onChange(runId, run.value);
      } else if (run.failure.kind === "rate_limited") {
        everyMs = Math.min(everyMs * 2, maxPollMs);
        await pause(ports.clock, run.failure.retryAfterMs ?? 0, signal);
      }
    };
    const look = async () => {
      const runIds = longRuns();
      turn += 1;
      const runId = runIds[turn % runIds.length];
      if (runId !== undefined) await lookAt(runId, pollMs / 2);
    };

    const channels = new Map<string, AbortController>();
    let hasChannels = ports.watchRun !== undefined;
    const openChannel = async (runId: string) => {
      const closing = new AbortController();
      const close = () => closing.abort();
      signal.addEventListener("abort", close, { once: true });
      channels.set(runId, closing);
      const onHint = () => track(guarded(() => lookAt(runId, hintGoodMs)));
      const ended = await ports.watchRun?.(runId, onHint, closing.signal);
      signal.removeEventListener("abort", close);
      channels.delete(runId);
      // Not there, or refused, for one run: looks serve for all from here on.
      if (ended?.ok === false) hasChannels = false;
    };
    const followRuns = () => {
      const wanted = new Set(longRuns());
      for (const [runId, closing] of channels) if (!wanted.has(runId)) closing.abort();
      for (const runId of wanted) {
        if (!hasChannels || channels.has(runId) || channels.size >= maxChannels) continue;
        track(guarded(() => openChannel(runId)));
      }
    };
    const isPushed = async () => {
      if (ports.watchRuns === undefined) return false;
      const extensions = await ports.controlPlane.extensions(signal);
      return extensions.ok && extensions.value.has("events");
    };
    /** Each turn is guarded: one exception must not leave this worker deaf to cancellations. */
    const guarded = async (what: () => Promise<unknown>) => {
      try {
        await what();
      } catch (error) {
        if (!signal.aborted)
          ports.log.warn({ err: error }, "cancellations could not be watched; trying again");
      }
    };
    const poll = async () => {
      while (!signal.aborted) {
        await guarded(look);
        let isPushing = false;
        // An idle worker asks nothing at all.
        if (alive.size > 0) await guarded(async () => (isPushing = await isPushed()));
        if (!isPushing) followRuns();
        const isHinted = channels.size > 0;
        const slow = Math.max(mendMs, everyMs);
        await pause(ports.clock, isPushing || isHinted ? slow : everyMs, signal);
      }
    };
    const listen = async () => {
      while (!signal.aborted) {
        await guarded(async () => {
          if (await isPushed()) await ports.watchRuns?.(onChange, signal, onStop);
        });
        await pause(ports.clock, pollMs / 2, signal);
      }
    };
    track(Promise.all([poll(), listen()]));
    return () => stopped.abort();
  });
}
