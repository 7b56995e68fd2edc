import { describe, expect, it } from "vitest";
import {
  key,
  fields,
  parking,
  ending,
  result,
  begun,
  hour,
  take,
  takeOver,
  expectEmpty,
  publishAndRead,
  type Stage,
} from "./stage.ts";

export function settlePromises(stage: () => Stage): void {
  describe("settling", () => {
    it("ends the step in one move: entry, journal, snapshot, result and timer are gone", async () => {
      const { a, b } = stage();
      const parked = await take(a);
      await a.store.append(parked, [begun]);
      await a.store.park(parked, { ...parking, wakeAt: 1_000 });
      const held = await take(a);
      await a.store.record(held, result, ["executing"]);
      expect(await a.store.settle(held, ending)).toBe("written");
      await expectEmpty(a);
      expect(await b.store.find(key)).toEqual({
        ...key,
        phase: "reported",
        fence: 2,
        job: null,
        snapshot: null,
        result: null,
        journal: [],
        stateHistory: [],
        wakeAt: null,
      });
      expect(await b.store.wakeDue(10)).toBe(0);
      expect(await b.queue.claimStale(0, 10)).toEqual([]);
    });

    it("recognises a late duplicate of a reported step, and only acknowledges it", async () => {
      const { a, b } = stage();
      await a.store.settle(await take(a), ending);
      const { entryId } = await publishAndRead(b);
      const opening = await b.store.open(entryId, key, hour, fields);
      expect(opening).toEqual({ kind: "reported", lease: { ...key, entryId, fence: 1 } });
      if (opening.kind !== "reported") return;
      const again = { stateHistory: ["pending"], deadLetter: null };
      expect(await b.store.settle(opening.lease, again)).toBe("written");
      await expectEmpty(a);
      expect(await b.store.find(key)).toMatchObject({ phase: "reported", fence: 1 });
    });

    it("answers a settling that is run again as it did the first time", async () => {
      const { a } = stage();
      const held = await take(a);
      const letter = { fields, reason: "r", snapshot: null, at: 1 };
      for (let turn = 0; turn < 3; turn += 1) {
        const ended = { stateHistory: [], deadLetter: letter };
        expect(await a.store.settle(held, ended)).toBe("written");
      }
      expect(await a.queue.stats()).toMatchObject({ length: 0, deadLetters: 1 });
    });

    it("is lost for a worker whose reported entry was taken over", async () => {
      const { a, b } = stage();
      await a.store.settle(await take(a), ending);
      const { entryId } = await publishAndRead(a);
      const opening = await a.store.open(entryId, key, hour, fields);
      await takeOver(b);
      if (opening.kind !== "reported") throw new Error(opening.kind);
      expect(await a.store.settle(opening.lease, ending)).toBe("lease-lost");
      expect(await b.queue.renew([entryId])).toEqual([]);
    });

    it("keeps a dead letter in the same move", async () => {
      const { a, b } = stage();
      const held = await take(a);
      const letter = { fields, reason: "invalid_input: no", snapshot: { s: [1] }, at: 77 };
      expect(await a.store.settle(held, { stateHistory: ["pending"], deadLetter: letter })).toBe(
        "written",
      );
      const [kept] = await b.queue.deadLetters(10);
      expect(kept).toMatchObject({ ...letter, stateHistory: ["pending"], deliveries: 1 });
      expect(await b.queue.stats()).toMatchObject({ length: 0, pending: 0, deadLetters: 1 });
    });

    it("writes no dead letter for a worker that lost its lease", async () => {
      const { a, b } = stage();
      const held = await take(a);
      await takeOver(b);
      const letter = { fields, reason: "r", snapshot: null, at: 1 };
      expect(await a.store.settle(held, { stateHistory: [], deadLetter: letter })).toBe(
        "lease-lost",
      );
      expect(await b.queue.stats()).toMatchObject({
        length: 1,
        pending: 1,
        deadLetters: 0,
        droppedLetters: 0,
      });
      expect(await b.store.find(key)).toMatchObject({ phase: "open" });
    });
  });
}
