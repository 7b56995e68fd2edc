import { toEnvelope } from "../../machines/contracts/domain/job.ts";
import type {
  JournalEntry,
  StepKey,
  StepSnapshot,
} from "../../machines/contracts/domain/record.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { corpusJob } from "./corpus-steps.ts";

/** Makes a store keep a parked step just so, whatever it is. */
export async function putBack(
  backend: StepBackend,
  kept: { snapshot: unknown; journal: readonly unknown[]; stateHistory?: string[] },
  key: StepKey = corpusJob,
): Promise<void> {
  const job = { ...corpusJob, ...key };
  await backend.queue.publish({ data: toEnvelope(job) });
  const [delivery] = await backend.queue.read(1, 1_000, new AbortController().signal);
  if (delivery === undefined) throw new Error("the job was not delivered");
  const opening = await backend.store.open(delivery.entryId, key, 60_000, delivery.fields);
  if (opening.kind !== "opened") throw new Error(`the step was ${opening.kind}`);
  if (kept.journal.length > 0) {
    await backend.store.append(opening.lease, kept.journal as JournalEntry[]);
  }
  await backend.store.park(opening.lease, {
    job,
    snapshot: kept.snapshot as StepSnapshot,
    stateHistory: kept.stateHistory ?? ["pending", "policy-check"],
    wakeAt: null,
  });
}
