import { terminal } from "../../machines/contracts/failure.ts";
import { stored } from "../store-failure.ts";
import { due } from "./due.ts";
import { Journal } from "./journal.ts";
import { readRecord } from "./read-record.ts";
import type { StepWork } from "./work.ts";

/** Opens the step's record: raises the fence, and finds where an earlier life left off. */
export const load: StepWork = async ({ ports, options, life }) => {
  const { clock, store } = ports;
  const asked = clock.monotonic();
  const opening = await stored(store.open(life.delivery.entryId, life.key, options.leaseMs));
  life.leaseSeen = asked;
  if (opening.kind === "lost") return { type: "lease.lost" };
  if (opening.kind === "duplicate") return { type: "record.duplicate" };
  life.opened(opening.lease);
  if (opening.kind === "reported") return { type: "record.reported" };

  const { queue, total } = due(life.job, options);
  const isPast = (time: number | null) => time !== null && clock.now() >= time;
  if (opening.record === null) {
    if (isPast(queue)) return { type: "deadline", which: "queue" };
    return isPast(total) ? { type: "deadline", which: "total" } : { type: "record.fresh" };
  }

  life.isTakenUp = true;
  life.path = opening.record.path;
  const read = readRecord(opening.record);
  if (!read.ok) {
    return { type: "record.corrupt", failure: terminal("corrupt_record", read.problem) };
  }
  life.journal = new Journal(read.journal);
  if (read.result !== null) return { type: "record.recorded", result: read.result };
  const { job } = opening.record;
  // The job as it was parked: the reference puts an approved step back without its whole input.
  if (job !== null) life.job = job;
  if (isPast(due(life.job, options).total)) return { type: "deadline", which: "total" };
  const { left, kept } = read.left ?? { left: "policy-check", kept: {} };
  return { type: "record.kept", left, kept: job === null ? kept : { ...kept, job } };
};
