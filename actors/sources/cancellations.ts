import { type EventObject, fromCallback } from "xstate";
import { readRunStatus, type RunStatus } from "../../machines/contracts/status.ts";
import type { Household } from "../raise-step.ts";
import { pause } from "./pause.ts";

/** Runs that a person or a budget ended: what is left of their steps is called off. */
const calledOff: ReadonlySet<RunStatus> = new Set([
  "cancelled",
  "budget_killed",
  "timeout",
  "airlock_blocked",
]);

const pollMs = 1_000;
/** Runs looked at in one poll: the reference allows a tenant 100 calls a minute. */
const pollAtMost = 1;

/**
 * Tells steps that their run was called off: by the control plane's event stream where it advertises one,
 * otherwise by looking at one run a second in turn.
 */
export function cancellations({ ports, alive, track }: Household) {
  return fromCallback<EventObject, undefined>(() => {
    const stopped = new AbortController();
    const { signal } = stopped;
    const onChange = (runId: string, text: string) => {
      const status = readRunStatus(text);
      if (status === undefined || !calledOff.has(status)) return;
      for (const { actor, life } of alive.values()) {
        if (life.key.runId === runId)
          actor.send({ type: "cancel", reason: `the run is ${status}` });
      }
    };
    let turn = 0;
    const poll = async () => {
      const runs = [...new Set([...alive.values()].map(({ life }) => life.key.runId))];
      for (let looked = 0; looked < Math.min(pollAtMost, runs.length); looked += 1) {
        turn += 1;
        const runId = runs[turn % runs.length];
        if (runId === undefined) return;
        const run = await ports.controlPlane.run(runId, signal);
        if (run.ok) onChange(runId, run.value.status);
      }
    };
    const loop = async () => {
      while (!signal.aborted) {
        const extensions = await ports.controlPlane.extensions(signal);
        const isPushed = extensions.ok && extensions.value.has("events");
        if (isPushed && ports.watchRuns) await ports.watchRuns(onChange, signal);
        else if (extensions.ok) await poll();
        await pause(ports.clock, pollMs, signal);
      }
    };
    track(
      loop().catch((error: unknown) => {
        if (!signal.aborted) ports.log.error({ err: error }, "cancellations are no longer watched");
      }),
    );
    return () => stopped.abort();
  });
}
