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

    it("has nothing of a step nobody ever saw", async () => {
      const { a } = stage();
      expect(await a.store.find({ runId: "none", stepId: "none" })).toBeNull();
    });
  });
}
