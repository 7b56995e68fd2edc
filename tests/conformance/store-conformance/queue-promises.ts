import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { fields, hour, longStill, never, readOne, take, takeOver, type Stage } from "./stage.ts";

export function queuePromises(stage: () => Stage): void {
  describe("the queue", () => {
    it("delivers what was published, in order, once, with its fields as they were", async () => {
      const { a, b } = stage();
      const odd = { data: "☃\n\r\t\u0001", 'a "name"': "", __proto: "x", "": "empty name" };
      const first = await a.queue.publish(odd);
      const second = await a.queue.publish({ data: "2" });
      const deliveries = await b.queue.read(10, 0, never);
      expect(deliveries).toEqual([
        { entryId: first, fields: odd, deliveries: 1 },
        { entryId: second, fields: { data: "2" }, deliveries: 1 },
      ]);
      expect(await a.queue.read(10, 0, never)).toEqual([]);
    });

    it("keeps a field named like an object's own machinery", async () => {
      const { a } = stage();
      await a.queue.publish(JSON.parse('{"__proto__":"p","constructor":"c"}'));
      const { fields: read } = await readOne(a);
      expect(Object.entries(read)).toEqual([
        ["__proto__", "p"],
        ["constructor", "c"],
      ]);
    });

    it("gives each entry to one of two consumers, and none to both", async () => {
      const { a, b } = stage();
      const ids = await Promise.all(
        Array.from({ length: 40 }, (_, n) => a.queue.publish({ data: String(n) })),
      );
      const [mine, yours] = await Promise.all([
        a.queue.read(20, 500, never),
        b.queue.read(20, 500, never),
      ]);
      const read = [...mine, ...yours].map((delivery) => delivery.entryId);
      expect(read.sort()).toEqual(ids.sort());
    });

    it("reads no more than asked for", async () => {
      const { a } = stage();
      for (const data of ["1", "2", "3"]) await a.queue.publish({ data });
      expect(await a.queue.read(2, 0, never)).toHaveLength(2);
    });

    it("wakes a waiting reader for a new entry long before its wait is over", async () => {
      const { a, b } = stage();
      const reading = b.queue.read(1, hour, never);
      await sleep(50);
      await a.queue.publish(fields);
      expect(await reading).toHaveLength(1);
    });

    it("waits no longer than it was told for what does not come", async () => {
      const { a } = stage();
      const started = performance.now();
      expect(await a.queue.read(1, 100, never)).toEqual([]);
      expect(performance.now() - started).toBeGreaterThan(80);
    });

    it("lets an aborted reader go promptly, and strands nothing published afterwards", async () => {
      const { a, b } = stage();
      const stop = new AbortController();
      const reading = a.queue.read(1, hour, stop.signal);
      await sleep(50);
      stop.abort();
      expect(await reading).toEqual([]);
      await a.queue.publish(fields);
      expect(await b.queue.read(1, hour, never)).toHaveLength(1);
      expect(await a.queue.read(1, 1_000, stop.signal)).toEqual([]);
    });

    it("hands an entry that met an aborted reader on at once", async () => {
      const { a, b } = stage();
      for (let round = 0; round < 20; round += 1) {
        const stop = new AbortController();
        const reading = a.queue.read(1, 5_000, stop.signal);
        await sleep(round % 5);
        const publishing = b.queue.publish(fields);
        stop.abort();
        await publishing;
        const read = await reading;
        const rest = [...(await b.queue.read(1, 0, never)), ...(await b.queue.claimStale(hour, 1))];
        expect([...read, ...rest]).toHaveLength(1);
        for (const { entryId } of [...read, ...rest]) {
          const backend = read.length > 0 ? a : b;
          const letter = {
            fields,
            reason: "",
            stateHistory: [],
            snapshot: null,
            deliveries: 1,
            at: 0,
          };
          expect(await backend.queue.deadLetter(entryId, letter)).toBe(true);
        }
      }
    });

    it("leaves an entry to its owner while the lease holds", async () => {
      const { a, b } = stage();
      await take(a);
      expect(await b.queue.claimStale(hour, 10)).toEqual([]);
    });

    it("lets another take over an entry whose lease ran out, as one more delivery", async () => {
      const { a, b } = stage();
      const { entryId } = await take(a);
      await sleep(60);
      expect(await b.queue.claimStale(50, 10)).toEqual([{ entryId, fields, deliveries: 2 }]);
      expect(await b.queue.claimStale(hour, 10)).toEqual([]);
      await sleep(60);
      expect(await a.queue.claimStale(50, 10)).toEqual([{ entryId, fields, deliveries: 3 }]);
    });

    it("takes over no more than asked for, the oldest first", async () => {
      const { a, b } = stage();
      const ids = [];
      for (const data of ["1", "2", "3"]) ids.push(await a.queue.publish({ data }));
      await a.queue.read(3, 0, never);
      const taken = await b.queue.claimStale(0, 2);
      expect(taken.map(({ entryId }) => entryId)).toEqual(ids.slice(0, 2));
    });

    it("renews a lease without counting it as a delivery", async () => {
      const { a, b } = stage();
      const { entryId } = await take(a);
      const taken = performance.now();
      await sleep(longStill);
      expect(await a.queue.renew([entryId])).toEqual([]);
      // A lease that would have run out without it.
      expect(await b.queue.claimStale(performance.now() - taken, 10)).toEqual([]);
      expect((await takeOver(b)).deliveries).toBe(2);
    });

    it("does not steal back by renewing what another has taken over", async () => {
      const { a, b } = stage();
      const { entryId } = await take(a);
      const kept = await (async () => {
        await a.queue.publish({ data: "kept" });
        return (await readOne(a)).entryId;
      })();
      expect((await b.queue.claimStale(0, 1))[0]?.entryId).toBe(entryId);
      expect(await a.queue.renew([kept, entryId, "1-99999"])).toEqual([entryId, "1-99999"]);
      expect(await b.queue.renew([entryId])).toEqual([]);
      expect(await a.queue.renew([])).toEqual([]);
    });

    it("hands an entry back to whoever claims next, at once and uncounted", async () => {
      const { a, b } = stage();
      const { entryId } = await take(a);
      await a.queue.release([entryId]);
      expect(await a.queue.renew([entryId])).toEqual([entryId]);
      expect(await b.queue.claimStale(hour, 10)).toEqual([{ entryId, fields, deliveries: 1 }]);
    });

    it("does not release what is another's", async () => {
      const { a, b } = stage();
      const { entryId } = await take(a);
      await takeOver(b);
      await a.queue.release([entryId]);
      await a.queue.release([]);
      expect(await b.queue.renew([entryId])).toEqual([]);
      expect(await a.queue.claimStale(hour, 10)).toEqual([]);
    });

    it("counts what is on the stream, what is pending and what is dead", async () => {
      const { a, b } = stage();
      await take(a);
      await a.queue.publish(fields);
      expect(await b.queue.stats()).toMatchObject({
        length: 2,
        pending: 1,
        deadLetters: 0,
        droppedLetters: 0,
      });
    });

    it("knows how long the next job has waited, and who has taken how many", async () => {
      const { a, b } = stage();
      expect(await b.queue.stats()).toMatchObject({ waitingMs: null });
      await take(a);
      await a.queue.publish(fields);
      await sleep(30);
      const { waitingMs, consumers } = await b.queue.stats();
      expect(waitingMs).toBeGreaterThanOrEqual(20);
      expect(waitingMs).toBeLessThan(60_000);
      expect(consumers.filter(({ taken }) => taken > 0)).toEqual([
        { name: a.queue.consumer, taken: 1 },
      ]);
    });

    it("gives what a closed consumer left pending to the next", async () => {
      const { a, b } = stage();
      const { entryId } = await take(a);
      await a.close();
      expect(await b.queue.claimStale(0, 10)).toMatchObject([{ entryId, deliveries: 2 }]);
    });
  });
}
