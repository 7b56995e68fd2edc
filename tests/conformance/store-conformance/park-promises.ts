import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import {
  key,
  job,
  fields,
  parking,
  result,
  begun,
  completed,
  hour,
  never,
  readOne,
  lease,
  take,
  publishAndRead,
  expectEmpty,
  type Stage,
} from "./stage.ts";

export function parkPromises(stage: () => Stage): void {
  describe("parking", () => {
    it("puts the step away as data: entry gone, snapshot, journal and job kept", async () => {
      const { a, b } = stage();
      const held = await take(a);
      await a.store.append(held, [begun]);
      const wakeAt = Date.now() + hour;
      expect(await a.store.park(held, { ...parking, wakeAt })).toBe("written");
      await expectEmpty(a);
      // Counted once, however often the move is made.
      expect(await a.store.park(held, { ...parking, wakeAt })).toBe("written");
      expect(await b.queue.stats()).toMatchObject({ parked: 1 });
      expect(await b.store.find(key)).toEqual({
        ...key,
        phase: "parked",
        fence: 1,
        job,
        snapshot: parking.snapshot,
        result: null,
        journal: [begun],
        stateHistory: parking.stateHistory,
        wakeAt,
      });
      expect(await a.store.append(held, [completed])).toBe("lease-lost");
    });

    it("wakes a step whose time has come, on whichever worker; opened, its timer is gone", async () => {
      const { a, b } = stage();
      const held = await take(a);
      const wakeAt = Date.now() + 300;
      await a.store.park(held, { ...parking, wakeAt });
      let woken = 0;
      while (woken === 0) {
        woken = await b.store.wakeDue(10);
        await sleep(20);
      }
      expect(woken).toBe(1);
      expect(Date.now()).toBeGreaterThanOrEqual(wakeAt);
      expect(await b.store.find(key)).toMatchObject({ phase: "parked", wakeAt: null });

      const delivery = await readOne(b);
      expect(delivery.fields).toEqual(fields);
      expect(await b.store.open(delivery.entryId, key, hour, fields)).toMatchObject({
        kind: "opened",
        lease: { fence: 2 },
        record: { phase: "parked", snapshot: parking.snapshot, stateHistory: parking.stateHistory },
      });
      expect(await b.queue.stats()).toMatchObject({ parked: 0 });
      expect(await b.store.find(key)).toMatchObject({
        phase: "open",
        snapshot: parking.snapshot,
      });
      expect(await b.store.wakeDue(10)).toBe(0);
    });

    it("calls the timer off when a parked step is opened for another reason", async () => {
      const { a, b } = stage();
      const held = await take(a);
      await a.store.park(held, { ...parking, wakeAt: 1_000 });
      await take(b);
      expect(await b.store.find(key)).toMatchObject({ phase: "open", wakeAt: null });
      expect(await b.store.wakeDue(10)).toBe(0);
    });

    it("never wakes a step that waits for no time", async () => {
      const { a } = stage();
      await a.store.park(await take(a), parking);
      expect(await a.store.wakeDue(10)).toBe(0);
    });

    it.each(["a timer that is due", "a wake that came early"])(
      "wakes a reader that waits, by %s",
      async (way) => {
        const { a, b } = stage();
        const held = await take(a);
        if (way === "a wake that came early") {
          expect(await b.store.open((await publishAndRead(b)).entryId, key, hour, fields)).toEqual({
            kind: "duplicate",
          });
        }
        const reading = b.queue.read(1, hour, never);
        await sleep(50);
        await a.store.park(held, { ...parking, wakeAt: 1 });
        if (way === "a timer that is due") expect(await a.store.wakeDue(1)).toBe(1);
        expect(await reading).toHaveLength(1);
      },
    );

    it("wakes no more than asked for, and the rest with the next sweep", async () => {
      const { a, b } = stage();
      for (const stepId of ["1", "2", "3"]) {
        await a.queue.publish(fields);
        const { entryId } = await readOne(a);
        const opening = await a.store.open(entryId, { runId: "r", stepId }, hour, fields);
        if (opening.kind !== "opened") throw new Error(opening.kind);
        await a.store.park(opening.lease, { ...parking, wakeAt: 1 });
      }
      expect(await b.store.wakeDue(2)).toBe(2);
      expect(await b.store.wakeDue(2)).toBe(1);
      expect(await b.store.wakeDue(2)).toBe(0);
    });

    it("wakes each of many steps exactly once under two concurrent sweepers", async () => {
      const { a, b } = stage();
      const count = 60;
      for (let n = 0; n < count; n += 1) {
        await a.queue.publish({ data: "x" });
        const { entryId } = await readOne(a);
        const step = { runId: "run_many", stepId: `stp_${n}` };
        const opening = await a.store.open(entryId, step, hour, fields);
        if (opening.kind !== "opened") throw new Error(opening.kind);
        const own = { ...parking, job: { ...job, ...step }, wakeAt: 1_000 + n };
        await a.store.park(opening.lease, own);
      }
      const sweeps = await Promise.all(
        Array.from({ length: 20 }, (_, n) => (n % 2 ? a : b).store.wakeDue(7)),
      );
      expect(Math.max(...sweeps)).toBeLessThanOrEqual(7);
      expect(sweeps.reduce((sum, woken) => sum + woken, 0)).toBe(count);
      const jobs = (await a.queue.read(count * 2, 0, never)).map(({ fields: f }) => f["data"]);
      expect(new Set(jobs).size).toBe(count);
      expect(jobs).toHaveLength(count);
    });

    it("wakes at once a step that got notice while it was being parked", async () => {
      const { a, b } = stage();
      const held = await take(a);
      const { entryId } = await publishAndRead(b);
      expect(await b.store.open(entryId, key, hour, fields)).toEqual({ kind: "duplicate" });
      expect(await a.store.park(held, { ...parking, wakeAt: 1_000 })).toBe("written");

      expect(await b.store.wakeDue(10)).toBe(0);
      const woken = await readOne(b);
      expect(woken.fields).toEqual(fields);
      const again = await lease(b, woken.entryId);
      expect(await b.store.park(again, parking)).toBe("written");
      await expectEmpty(a);
    });

    it("loses no notice in a race of park and duplicate, whichever is first", async () => {
      const { a, b } = stage();
      for (let round = 0; round < 20; round += 1) {
        const held = await take(a);
        const { entryId } = await publishAndRead(b);
        const [opening] = await Promise.all([
          b.store.open(entryId, key, hour, fields),
          a.store.park(held, parking),
        ]);
        if (opening.kind === "opened") {
          expect(opening.record).toMatchObject({ phase: "parked" });
          expect(await b.store.park(opening.lease, parking)).toBe("written");
        } else {
          expect(opening).toEqual({ kind: "duplicate" });
          expect(await b.store.park(await lease(b, (await readOne(b)).entryId), parking)).toBe(
            "written",
          );
        }
        await expectEmpty(a);
      }
    });

    it("keeps a recorded result through parking", async () => {
      const { a, b } = stage();
      const held = await take(a);
      await a.store.record(held, result, []);
      await a.store.park(held, parking);
      const opening = await b.store.open((await publishAndRead(b)).entryId, key, hour, fields);
      expect(opening).toMatchObject({ record: { phase: "parked", result } });
      expect(await b.store.find(key)).toMatchObject({ phase: "recorded", result });
    });
  });
}
