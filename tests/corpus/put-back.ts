import { toEnvelope } from "../../machines/contracts/domain/job.ts";
import type {
  JournalEntry,
  StepKey,
  StepSnapshot,
} from "../../machines/contracts/domain/record.ts";
import type { Home } from "../../machines/contracts/ports/step-backend.ts";
import { corpusJob } from "./corpus-steps.ts";

/** Makes a store keep a parked step just so, whatever it is. */
export async function putBack(
  home: Home,
  kept: { snapshot: unknown; journal: readonly unknown[]; path?: string[] },
  key: StepKey = corpusJob,
): Promise<void> {
  const job = { ...corpusJob, ...key };
  await home.queue.publish({ data: toEnvelope(job) });
  const [delivery] = await home.queue.read(1, 1_000, new AbortController().signal);
  if (delivery === undefined) throw new Error("the job was not delivered");
  const opening = await home.store.open(delivery.entryId, key, 60_000);
  if (opening.kind !== "opened") throw new Error(`the step was ${opening.kind}`);
  if (kept.journal.length > 0) {
    await home.store.append(opening.lease, kept.journal as JournalEntry[]);
  }
  await home.store.park(opening.lease, {
    job,
    snapshot: kept.snapshot as StepSnapshot,
    path: kept.path ?? ["pending", "policy-check"],
    wakeAt: null,
  });
}
