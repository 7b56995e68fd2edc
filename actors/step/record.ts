import { stored } from "../store-failure.ts";
import { fitResult } from "./fit-result.ts";
import { isLeaseStale } from "./is-lease-stale.ts";
import type { StepWork } from "./work.ts";

/**
 * The outbox: a result that would cost anything to make again is kept before it is sent. A cheap one is not;
 * for it the lease is looked at by the clock, so that a worker paused past its lease reports nothing.
 */
export const record: StepWork = async ({ ports, options, life, context }) => {
  if (context.result === null) throw new Error("a step without a result reached reported");
  const { maxReportBytes } = options;
  const result = await fitResult(ports.artifacts, life.key, context.result, maxReportBytes);
  const changed = result === context.result ? null : result;
  if (!context.costly && !isLeaseStale(life, ports.clock, options)) {
    return { type: "recorded", result: changed };
  }
  const written = await stored(ports.store.record(life.lease, result, life.path));
  if (written === "lost") return { type: "lease.lost" };
  return { type: "recorded", result: changed };
};
