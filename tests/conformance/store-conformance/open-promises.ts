import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { toEnvelope } from "../../../machines/contracts/domain/job.ts";
import type { StepKey } from "../../../machines/contracts/domain/record.ts";
import {
  key,
  job,
  fields,
  parking,
  ending,
  result,
  begun,
  completed,
  hour,
  longStill,
  readOne,
  lease,
  take,
  takeOver,
  publishAndRead,
  type Stage,
} from "./stage.ts";

export function openPromises(stage: () => Stage): void {
  describe("opening a step", () => {
    it("gives a step never seen before an empty page and its first fence", async () => {
      const { a, b } = stage();
      const { entryId } = await publishAndRead(a);
      expect(await a.store.open(entryId, key, hour, fields)).toEqual({
        kind: "opened",
        lease: { ...key, entryId, fence: 1 },
        record: null,
        now: expect.any(Number) as number,
      });
      expect(await b.store.find(key)).toMatchObject({ phase: "open", fence: 1, journal: [] });
    });

    it("gives the lease its whole time: a job that lay unopened is not taken over at once", async () => {
      const { a, b } = stage();
      const { entryId } = await publishAndRead(a);
      const read = performance.now();
      await sleep(longStill);
      expect(await a.store.open(entryId, key, hour, fields)).toMatchObject({ kind: "opened" });
      // A lease that would have run out, had it begun with the reading.
      expect(await b.queue.claimStale(performance.now() - read, 10)).toEqual([]);
    });

    it("refuses an entry that is not this consumer's", async () => {
      const { a, b } = stage();
      const { entryId } = await publishAndRead(a);
      expect(await b.store.open(entryId, key, hour, fields)).toEqual({ kind: "lease-lost" });
      expect(await a.store.open("1-99999", key, hour, fields)).toEqual({ kind: "lease-lost" });
      expect(await a.store.find(key)).toBeNull();
    });

    it("raises the fence on take-over and returns the journal; the first worker writes nothing more [once.fence]", async () => {
      const { a, b } = stage();
      const first = await take(a);
      expect(await a.store.append(first, [begun])).toBe("written");
      const { entryId } = await takeOver(b);
      const opening = await b.store.open(entryId, key, hour, fields);
      expect(opening).toMatchObject({
        kind: "opened",
        lease: { fence: 2 },
        record: { phase: "open", journal: [begun] },
      });

      const before = await b.store.find(key);
      expect(await a.store.append(first, [completed])).toBe("lease-lost");
      expect(await a.store.record(first, result, ["x"])).toBe("lease-lost");
      expect(await a.store.park(first, parking)).toBe("lease-lost");
      expect(await a.store.settle(first, ending)).toBe("lease-lost");
      expect(await b.store.find(key)).toEqual(before);
      expect(await b.queue.stats()).toMatchObject({ length: 1, pending: 1 });
    });

    it("refuses the old fence even where the entry came back to the same consumer", async () => {
      const { a, b } = stage();
      const first = await take(a);
      await takeOver(b);
      const { entryId } = await takeOver(a);
      const again = await lease(a, entryId);
      expect(again.fence).toBe(2);
      expect(await a.store.append(first, [begun])).toBe("lease-lost");
      expect(await a.store.append(again, [begun])).toBe("written");
    });

    it("keeps two steps apart whatever their ids contain", async () => {
      const { a } = stage();
      const near: StepKey = { runId: "a/b", stepId: "c" };
      const far: StepKey = { runId: "a", stepId: "b/c" };
      const { entryId } = await publishAndRead(a);
      await a.store.open(entryId, near, hour, fields);
      expect(await a.store.find(far)).toBeNull();
      expect(await a.store.find(near)).toMatchObject(near);
    });

    it("keeps the job from the opening on, as it came first", async () => {
      const { a, b } = stage();
      await take(a);
      expect(await b.store.find(key)).toMatchObject({ phase: "open", job });
      await a.queue.publish({ data: toEnvelope({ ...job, input: {} }) });
      await sleep(60);
      const { entryId, fields: poorer } = await readOne(b);
      const opening = await b.store.open(entryId, key, 50, poorer);
      expect(opening).toMatchObject({ kind: "opened", record: { job } });
    });

    it("drops a duplicate of a step that another entry is being worked on for", async () => {
      const { a, b } = stage();
      const first = await take(a);
      const { entryId } = await publishAndRead(b);
      expect(await b.store.open(entryId, key, hour, fields)).toEqual({ kind: "duplicate" });
      expect(await a.queue.stats()).toMatchObject({ length: 1, pending: 1 });
      expect(await a.store.append(first, [begun])).toBe("written");
    });

    it("opens a duplicate when the first entry's lease ran out or was released", async () => {
      const { a, b } = stage();
      const first = await take(a);
      const { entryId } = await publishAndRead(b);
      await sleep(60);
      expect((await lease(b, entryId, 50)).fence).toBe(2);
      expect(await a.store.append(first, [begun])).toBe("lease-lost");

      await b.queue.release([entryId]);
      await a.queue.publish(fields);
      expect((await lease(a, (await readOne(a)).entryId)).fence).toBe(3);
    });
  });
}
