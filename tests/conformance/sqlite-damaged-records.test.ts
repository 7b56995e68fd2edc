import { randomUUID } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, it } from "vitest";
import { parseJob, toEnvelope } from "../../machines/contracts/domain/job.ts";
import { recordId } from "../../machines/contracts/wire/record-text.ts";
import { sqliteBackends } from "../support/backends.ts";
import { hour, job, key, never, parking, readOne } from "./store-conformance/stage.ts";

const largest = "9223372036854775807";
const damages = [
  "job = '{not json'",
  "job = NULL",
  "job = '{}'",
  `lease_ms = ${largest}`,
  "lease_ms = -5",

  `fence = ${largest}`,
  "fence = -1",
  `wake_at = ${largest}`,
  "entry = 'x'",
  "phase = 'dancing'",
  `expires_at = ${largest}`,
  "wake_pending = -9007199254740993",
  "id = 'no step''s name'",
];

describe("a damaged row", () => {
  it.each(damages)(
    "(%s) is its own step's trouble: the others wake [record.damaged]",
    async (damage) => {
      const room = `room${randomUUID().slice(0, 8)}`;
      const backend = await sqliteBackends().backend(room);
      const database = new DatabaseSync(`file:${room}?mode=memory&cache=shared`);
      const other = { runId: "run_other", stepId: "stp_other" };
      for (const step of [key, other]) {
        await backend.queue.publish({ data: toEnvelope({ ...job, ...step }) });
        const { entryId, fields } = await readOne(backend);
        const opening = await backend.store.open(entryId, step, hour, fields);
        if (opening.kind !== "opened") throw new Error(opening.kind);
        await backend.store.park(opening.lease, {
          ...parking,
          job: { ...job, ...step },
          wakeAt: 1,
        });
      }
      database.prepare(`UPDATE steps SET ${damage} WHERE id = ?`).run(recordId(key));
      const ended: string[] = [];
      for (let round = 0; round < 3; round += 1) {
        await backend.store.wakeDue(10);
        for (const { entryId, fields, deliveries } of await backend.queue.read(10, 1, never)) {
          const parsed = parseJob(fields);
          const { runId, stepId } = parsed.valid ? parsed.job : parsed.invalid;
          const letter = {
            fields,
            reason: "r",
            stateHistory: [],
            snapshot: null,
            at: 1,
            deliveries,
          };
          const open = async () => {
            if (runId === null || stepId === null) throw new Error("nobody's");
            const opening = await backend.store.open(entryId, { runId, stepId }, hour, fields);
            if (opening.kind !== "opened") throw new Error(opening.kind);
            await backend.store.settle(opening.lease, { stateHistory: [], deadLetter: null });
          };
          await open().catch(() => backend.queue.deadLetter(entryId, letter));
          ended.push(`${runId}/${stepId}`);
        }
        database.prepare("UPDATE steps SET look_at = 1 WHERE look_at IS NOT NULL").run();
      }
      expect(ended).toHaveLength(2);
      expect(ended).toContain(recordId(other));
      expect(await backend.queue.stats()).toMatchObject({ length: 0 });
      database.close();
      await backend.close();
    },
  );
});
