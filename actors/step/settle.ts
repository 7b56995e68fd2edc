import { stored } from "../store-failure.ts";
import type { StepWork } from "./work.ts";

/** Acknowledges the job and closes its record in one atomic move; an unmendable job becomes a dead letter. */
export const settle: StepWork = async ({ ports, life, context, persist }) => {
  const { deadLetter } = context;
  const letter =
    deadLetter === null
      ? null
      : {
          fields: life.delivery.fields,
          reason: deadLetter,
          snapshot: persist(),
          at: ports.clock.now(),
        };
  const written = await stored(
    ports.store.settle(life.lease, { path: life.path, deadLetter: letter }),
  );
  return written === "lost" ? { type: "lease.lost" } : { type: "settled" };
};
