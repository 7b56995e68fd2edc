import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { stepMachineVersion } from "../../machines/step/machine.ts";
import type { StepActivity } from "./session.ts";
import { due } from "./pending.ts";
import type { StepEvent } from "../../machines/step/events.ts";
import { keptSpan } from "../tracing.ts";

/** Puts the waiting step away as data, to be woken by notice or by its timer, whichever comes first. */
export const park: StepActivity = async ({ ports, options, session, context, persist }) => {
  if (context.job === null) throw new Error("a job without content can't be parked");
  const { total } = due(context.job, options);
  // By this worker's clock; all else comes from elsewhere, and is in the store's time.
  const retryAt = context.retryAt === null ? null : context.retryAt + session.storeAheadMs;
  const times = [retryAt, total, ...context.asks.map((ask) => ask.expiresAt)];
  const wakeAt = Math.min(...times.map((time) => time ?? Number.POSITIVE_INFINITY));
  const written = await ports.store.park(session.lease, {
    job: context.job,
    snapshot: {
      version: stepMachineVersion,
      snapshot: persist() as JsonObject,
      ...keptSpan(session.span),
    },
    stateHistory: session.stateHistory,
    wakeAt: Number.isFinite(wakeAt) ? wakeAt : null,
  });
  return written === "lease-lost" ? { type: "lease.lost" } : { type: "step.parked" };
};

/** Waits in memory until the retry is due; leaving the state calls the timer off. */
export const backOff: StepActivity = async ({ ports, context, signal }) => {
  const { promise, resolve } = Promise.withResolvers<StepEvent>();
  const left = (context.retryAt ?? 0) - ports.clock.now();
  const cancelTimer = ports.clock.timer(left, () => resolve({ type: "retry.due" }));
  signal.addEventListener("abort", () => (cancelTimer(), resolve({ type: "retry.due" })), {
    once: true,
  });
  return promise;
};
