import { stored } from "../store-failure.ts";
import { isLeaseStale } from "./is-lease-stale.ts";
import type { StepWork } from "./work.ts";

/**
 * The outbox: a result that would cost anything to make again is kept before it is sent. A cheap one is not;
 * for it the lease is looked at by the clock, so that a worker paused past its lease reports nothing.
 */
export const record: StepWork = async ({ ports, options, life, context }) => {
  const { result } = context;
  if (result === null) throw new Error("a step without a result reached reported");
  if (!context.costly && !isLeaseStale(life, ports.clock, options)) return { type: "recorded" };
  const written = await stored(ports.store.record(life.lease, result, life.path));
  if (written === "lost") return { type: "lease.lost" };
  life.leaseSeen = ports.clock.monotonic();
  return { type: "recorded" };
};
