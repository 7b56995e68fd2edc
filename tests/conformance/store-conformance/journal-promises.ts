import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  key,
  fields,
  result,
  begun,
  completed,
  hour,
  take,
  takeOver,
  type Stage,
  parking,
} from "./stage.ts";

export function journalPromises(stage: () => Stage): void {
  describe("the journal and the outbox", () => {
    it("appends in order, over many appends and large entries", async () => {
      const { a, b } = stage();
      const held = await take(a);
      const large = { ...completed, result: { text: "é".repeat(300_000) } };
      await a.store.append(held, [begun, completed]);
      await a.store.append(held, []);
      await a.store.append(held, [large]);
      const record = await b.store.find(key);
      expect(record?.journal).toEqual([begun, completed, large]);
    });

    it("keeps the result before it is sent, with its path, for whoever takes over", async () => {
      const { a, b } = stage();
      const held = await take(a);
      await a.store.append(held, [begun]);
      expect(await a.store.record(held, result, ["pending", "executing"])).toBe("written");
      const { entryId } = await takeOver(b);
      expect(await b.store.open(entryId, key, hour, fields)).toMatchObject({
        kind: "opened",
        record: {
          phase: "recorded",
          result,
          stateHistory: ["pending", "executing"],
          journal: [begun],
        },
      });
      expect(await b.store.find(key)).toMatchObject({ phase: "recorded", fence: 2 });
    });

    it("writes an entry once however often it is appended, wherever it stands by then [journal.once]", async () => {
      const { a, b } = stage();
      const held = await take(a);
      const entries = Array.from({ length: 8 }, (_, at) => ({ ...begun, at }) as const);
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.subarray(entries, { minLength: 1 }), { maxLength: 12 }),
          async (appends) => {
            const writes = appends.map((batch) => a.store.append(held, batch));
            expect(new Set(await Promise.all(writes)).has("lease-lost")).toBe(false);
            const lines = ((await b.store.find(key))?.journal ?? []) as { at: number }[];
            const ats = lines.map(({ at }) => at);
            expect(new Set(ats).size).toBe(ats.length);
          },
        ),
        { numRuns: 20 },
      );
      await a.store.append(held, entries);
      const { journal } = (await b.store.find(key)) ?? { journal: [] };
      expect(journal).toHaveLength(entries.length);
      expect(journal).toEqual(expect.arrayContaining(entries));
      // What only looks the same is another: the same effect, begun twice in one millisecond.
      await a.store.append(held, [{ ...begun, at: 0 }]);
      expect((await b.store.find(key))?.journal).toHaveLength(entries.length + 1);
    });

    it("takes an append that must be on the disk like any other", async () => {
      const { a, b } = stage();
      const held = await take(a);
      expect(await a.store.append(held, [begun], true)).toBe("written");
      await takeOver(b);
      expect(await a.store.append({ ...held, fence: 9 }, [completed], true)).toBe("lease-lost");
      expect((await b.store.find(key))?.journal).toEqual([begun]);
    });

    it("says that a value which no store can keep is the step's trouble", async () => {
      const { a } = stage();
      const held = await take(a);
      const cyclic: { self?: unknown } = {};
      cyclic.self = cyclic;
      const appended = a.store.append(held, [{ ...completed, result: cyclic as never }]);
      await expect(appended).rejects.toMatchObject({ name: "StoreError", trouble: "step" });
      let deep: unknown = [];
      for (let level = 0; level < 100_000; level += 1) deep = [deep];
      const parked = a.store.park(held, {
        ...parking,
        snapshot: { version: 1, snapshot: { deep: deep as never } },
      });
      await expect(parked).rejects.toMatchObject({ name: "StoreError", trouble: "step" });
      expect(await a.store.append(held, [begun])).toBe("written");
    });

    it("has nothing of a step nobody ever saw", async () => {
      const { a } = stage();
      expect(await a.store.find({ runId: "none", stepId: "none" })).toBeNull();
    });
  });
}
