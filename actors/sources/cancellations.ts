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

/** One run is looked at in this time: FerrumDeck allows a tenant 100 calls a minute, reports included. */
const pollMs = 3_000;
/** Where changes are pushed, polling only mends what was missed while the stream was down. */
const mendMs = 10_000;

/**
 * Tells steps that their run was cancelled: by the control plane's event stream where it advertises one, and
 * by looking at the runs in turn.
 */
export function cancellations({ ports, alive, track }: WorkerContext) {
  return fromCallback<EventObject, undefined>(() => {
    const stopped = new AbortController();
    const { signal } = stopped;
    const onChange = (runId: string, text: string) => {
      const status = readRunStatus(text);
      if (status === undefined || !cancelReason.has(status)) return;
      for (const { session, tell } of alive.values()) {
        if (session.key.runId === runId)
          tell({ type: "cancel.requested", reason: `the run is ${status}` });
      }
    };
    let turn = 0;
    const look = async () => {
      const runs = [...new Set([...alive.values()].map(({ session }) => session.key.runId))];
      turn += 1;
      const runId = runs[turn % runs.length];
      if (runId === undefined) return;
      const run = await ports.controlPlane.run(runId, signal);
      if (run.ok) onChange(runId, run.value.status);
      else if (run.failure.kind === "rate_limited") {
        await pause(ports.clock, run.failure.retryAfterMs ?? mendMs, signal);
      }
    };
    const isPushed = async () => {
      const extensions = await ports.controlPlane.extensions(signal);
      return extensions.ok && extensions.value.has("events") && ports.watchRuns !== undefined;
    };
    const poll = async () => {
      while (!signal.aborted) {
        await look();
        await pause(ports.clock, (await isPushed()) ? mendMs : pollMs, signal);
      }
    };
    const listen = async () => {
      while (!signal.aborted) {
        if (await isPushed()) await ports.watchRuns?.(onChange, signal);
        await pause(ports.clock, pollMs, signal);
      }
    };
    const lost = (error: unknown) => {
      if (!signal.aborted) ports.log.error({ err: error }, "cancellations are no longer watched");
    };
    track(Promise.all([poll(), listen()]).catch(lost));
    return () => stopped.abort();
  });
}
