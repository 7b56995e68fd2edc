import type { JsonObject } from "../../machines/contracts/json.ts";
import { stepMachineVersion } from "../../machines/step/machine.ts";
import { stored } from "../store-failure.ts";
import { due } from "./due.ts";
import type { StepWork } from "./work.ts";

/** Puts the waiting step away as data, to be woken by news or by its timer, whichever comes first. */
export const park: StepWork = async ({ ports, options, life, context, persist }) => {
  if (context.job === null) throw new Error("a job without content can't be parked");
  const { total } = due(context.job, options);
  const times = [context.retryAt, total, ...context.asks.map((ask) => ask.expiresAt)];
  const wakeAt = Math.min(...times.map((time) => time ?? Number.POSITIVE_INFINITY));
  const written = await stored(
    ports.store.park(life.lease, {
      job: context.job,
      snapshot: { version: stepMachineVersion, snapshot: persist() as JsonObject },
      path: life.path,
      wakeAt: Number.isFinite(wakeAt) ? wakeAt : null,
    }),
  );
  return written === "lost" ? { type: "lease.lost" } : { type: "parked" };
};
