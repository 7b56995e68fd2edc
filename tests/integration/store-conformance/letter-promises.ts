import { describe, expect, it } from "vitest";
import {
  key,
  job,
  fields,
  begun,
  hour,
  never,
  readOne,
  take,
  expectEmpty,
  type Stage,
} from "./stage.ts";

export function letterPromises(stage: () => Stage): void {
  describe("dead letters", () => {
    const odd = {
      data: "not json \u0007 ☃ \"'\\\r\n",
      "field: x": "",
      reason: "mine",
      n: "1e999",
    };
    const letter = {
      fields: odd,
      reason: 'it said "no"\n☃',
      stateHistory: ["pending"],
      snapshot: { deep: [{ a: null }] },
      deliveries: 9,
      at: 1_737_900_000_000,
    };
    const toDeadLetter = async (): Promise<string> => {
      const { a } = stage();
      await a.queue.publish(odd);
      const { entryId } = await readOne(a);
      expect(await a.queue.deadLetter(entryId, letter)).toBe(true);
      const [kept] = await a.queue.deadLetters(1);
      return kept?.id ?? "";
    };

    it("are kept whole while the entry goes", async () => {
      const { a, b } = stage();
      const id = await toDeadLetter();
      await expectEmpty(a);
      expect(await b.queue.findDeadLetter(id)).toMatchObject({ id, ...letter });
      expect(await b.queue.deadLetters(10)).toMatchObject([{ id, ...letter }]);
    });

    it("go back on the stream with the very fields they came with, once", async () => {
      const { a, b } = stage();
      const id = await toDeadLetter();
      const retries = await Promise.all([a.queue.retryDeadLetter(id), b.queue.retryDeadLetter(id)]);
      expect(retries.sort()).toEqual([false, true]);
      expect(await b.queue.read(10, 0, never)).toMatchObject([{ fields: odd, deliveries: 1 }]);
      expect(await b.queue.deadLetters(10)).toEqual([]);
    });

    it("run again though their step was reported", async () => {
      const { a, b } = stage();
      const held = await take(a);
      const dead = { fields, reason: "r", snapshot: null, at: 1 };
      await a.store.settle(held, { stateHistory: [], deadLetter: dead });
      const [kept] = await a.queue.deadLetters(1);
      expect(await a.queue.retryDeadLetter(kept?.id ?? "")).toBe(true);
      const { entryId } = await readOne(b);
      expect(await b.store.open(entryId, key, hour, fields)).toMatchObject({
        kind: "opened",
        lease: { fence: 2 },
        record: { phase: "open", job, journal: [], result: null },
      });
    });

    it("go on from the journal where their step had not ended", async () => {
      const { a, b } = stage();
      const held = await take(a);
      await a.store.append(held, [begun]);
      expect(await a.queue.deadLetter(held.entryId, { ...letter, fields })).toBe(true);
      const [kept] = await a.queue.deadLetters(1);
      await a.queue.retryDeadLetter(kept?.id ?? "");
      const { entryId } = await readOne(b);
      expect(await b.store.open(entryId, key, hour, fields)).toMatchObject({
        kind: "opened",
        record: { journal: [begun] },
      });
    });

    it("are not made from an entry that is another's", async () => {
      const { a, b } = stage();
      const { entryId } = await take(a);
      expect(await b.queue.deadLetter(entryId, letter)).toBe(false);
      expect(await b.queue.stats()).toEqual({
        length: 1,
        pending: 1,
        deadLetters: 0,
        droppedLetters: 0,
      });
    });

    it("are listed newest first, dropped by id, and unknown ids are only unknown", async () => {
      const { b } = stage();
      const first = await toDeadLetter();
      const second = await toDeadLetter();
      expect((await b.queue.deadLetters(10)).map(({ id }) => id)).toEqual([second, first]);
      expect(await b.queue.deadLetters(1)).toHaveLength(1);
      expect(await b.queue.dropDeadLetter(first)).toBe(true);
      expect(await b.queue.dropDeadLetter(first)).toBe(false);
      for (const id of [first, "", "nonsense", "99-99", "*", "99999999999999999999999-1"]) {
        expect(await b.queue.findDeadLetter(id)).toBeNull();
        expect(await b.queue.retryDeadLetter(id)).toBe(false);
        expect(await b.queue.dropDeadLetter(id)).toBe(false);
      }
      expect(await b.queue.findDeadLetter(second)).not.toBeNull();
    });
  });
}
