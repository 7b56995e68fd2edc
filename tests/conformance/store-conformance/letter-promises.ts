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
  result,
  completed,
  publishAndRead,
  maxDeadLetters,
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

    const retryAndOpen = async (backend: Stage["a"]) => {
      const [kept] = await backend.queue.deadLetters(1);
      expect(await backend.queue.retryDeadLetter(kept?.id ?? "")).toBe(true);
      const { entryId } = await readOne(backend);
      return { kept, opening: await backend.store.open(entryId, key, hour, fields) };
    };
    const dead = { fields, reason: "r", snapshot: null, at: 1 };

    it("keep journal and result of a settled step; a retry has the result reported again [letter.keeps]", async () => {
      const { a, b } = stage();
      const held = await take(a);
      await a.store.append(held, [begun, completed]);
      await a.store.record(held, result, ["executing"]);
      await a.store.settle(held, { stateHistory: ["executing"], deadLetter: dead });
      const { kept, opening } = await retryAndOpen(b);
      expect(kept).toMatchObject({ journal: [begun, completed], result });
      expect(opening).toMatchObject({
        kind: "opened",
        lease: { fence: held.fence + 1 },
        record: {
          phase: "recorded",
          result,
          journal: [begun, completed],
          stateHistory: ["executing"],
        },
      });
    });

    it("keep the result that the caller gives, and begin again from the journal where it is a failure", async () => {
      const { a, b } = stage();
      const held = await take(a);
      await a.store.append(held, [begun]);
      const failed = {
        status: "failed",
        failure: { kind: "internal", message: "m", retryable: false },
        output: null,
        usage: null,
      } as const;
      const letterWithResult = { ...dead, result: failed };
      await a.store.settle(held, { stateHistory: [], deadLetter: letterWithResult });
      const { kept, opening } = await retryAndOpen(b);
      expect(kept).toMatchObject({ result: failed });
      expect(opening).toMatchObject({ record: { phase: "open", result: null, journal: [begun] } });
    });

    it("name the first cause, and the last trouble beside it; a retry begins without them", async () => {
      const { a, b } = stage();
      const held = await take(a);
      const abandoned = (message: string) => ({ event: "abandoned", at: 1, message }) as const;
      await a.store.append(held, [begun, abandoned("the disk was full"), abandoned("later")]);
      const often = { ...dead, reason: "delivered 11 times" };
      await a.store.settle(held, { stateHistory: [], deadLetter: often });
      const { kept, opening } = await retryAndOpen(b);
      expect(kept).toMatchObject({
        reason: "the disk was full",
        lastTrouble: "delivered 11 times",
      });
      expect(opening).toMatchObject({ record: { journal: [begun] } });
    });

    it("leave the record to whoever publishes the same job anew", async () => {
      const { a, b } = stage();
      const held = await take(a);
      await a.store.append(held, [begun]);
      expect(await a.queue.deadLetter(held.entryId, { ...letter, fields })).toBe(true);
      // Run again because its answer was lost.
      expect(await a.queue.deadLetter(held.entryId, { ...letter, fields })).toBe(true);
      expect(await a.queue.deadLetters(10)).toHaveLength(1);
      const again = await publishAndRead(b);
      const opening = await b.store.open(again.entryId, key, hour, fields);
      expect(opening).toMatchObject({ record: { journal: [begun] } });
      if (opening.kind !== "opened") throw new Error(opening.kind);
      await b.store.append(opening.lease, [completed]);
      // What has happened since counts, not what the letter remembers.
      const [kept] = await a.queue.deadLetters(1);
      expect(kept).toMatchObject({ journal: [begun] });
      await a.queue.retryDeadLetter(kept?.id ?? "");
      expect(await a.store.find(key)).toMatchObject({ journal: [begun, completed] });
    });

    it("are bounded: the oldest are dropped, and counted", async () => {
      const { a, b } = stage();
      const ids: string[] = [];
      for (let n = 0; n < maxDeadLetters + 3; n += 1) ids.push(await toDeadLetter());
      expect(await b.queue.stats()).toMatchObject({
        deadLetters: maxDeadLetters,
        droppedLetters: 3,
      });
      expect((await a.queue.deadLetters(1_000)).map(({ id }) => id)).toEqual(
        ids.slice(3).toReversed(),
      );
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
      expect(await b.queue.stats()).toMatchObject({
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
