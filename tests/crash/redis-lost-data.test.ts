import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import {
  begun,
  ending,
  fields,
  hour,
  key,
  never,
  parking,
  publishAndRead,
  readOne,
  take,
} from "../conformance/store-conformance/stage.ts";
import { backend, keys, openBackend, redis, useRedisBackend } from "../support/redis-backend.ts";

useRedisBackend();

/** Sweeps until something is woken. */
async function sweep(store: StepBackend["store"]): Promise<number> {
  for (;;) {
    const woken = await store.wakeDue(10);
    if (woken > 0) return woken;
    await sleep(20);
  }
}

/** What sweeps wake for so long that one would long since have woken what is lost. */
async function sweepInVain(store: StepBackend["store"]): Promise<number> {
  let woken = 0;
  for (let turn = 0; turn < 20; turn += 1) {
    woken += await store.wakeDue(10);
    await sleep(20);
  }
  return woken;
}

describe("a job whose entry vanished", () => {
  const leaseMs = 150;
  const open = async () => {
    const { entryId } = await publishAndRead(backend);
    const opening = await backend.store.open(entryId, key, leaseMs, fields);
    if (opening.kind !== "opened") throw new Error(opening.kind);
    return opening.lease;
  };
  const vanish = {
    "a trimmed stream": () => redis.xtrim(keys.stream, "MAXLEN", 0),
    "a deleted stream": () => redis.del(keys.stream),
    "a deleted entry": async () => {
      const [entry] = await redis.xrange(keys.stream, "-", "+");
      await redis.xdel(keys.stream, entry?.[0] ?? "");
    },
  };

  it.each(Object.keys(vanish) as (keyof typeof vanish)[])(
    "is published again, once, with its journal: %s [job.vanished]",
    async (how) => {
      const lease = await open();
      await backend.store.append(lease, [begun]);
      await vanish[how]();
      expect(await sweep(backend.store)).toBe(1);
      const { entryId, fields: read } = await readOne(backend);
      expect(read).toEqual(fields);
      expect(await backend.store.open(entryId, key, hour, read)).toMatchObject({
        kind: "opened",
        lease: { fence: 2 },
        record: { journal: [begun] },
      });
      expect(await sweepInVain(backend.store)).toBe(0);
    },
  );

  it("is left alone while its entry is there, read or not", async () => {
    await open();
    expect(await sweepInVain(backend.store)).toBe(0);
    expect(await redis.xlen(keys.stream)).toBe(1);
  });

  it("vanished again before anybody read it, is published again", async () => {
    await open();
    for (let turn = 0; turn < 2; turn += 1) {
      await redis.xtrim(keys.stream, "MAXLEN", 0);
      expect(await sweep(backend.store)).toBe(1);
    }
  });

  it("keeps the flat fields it came in", async () => {
    const flat = { run_id: "r", step_id: "s", step_type: "llm", input: '{"a":"é"}' };
    await backend.queue.publish(flat);
    const step = { runId: "r", stepId: "s" };
    await backend.store.open((await readOne(backend)).entryId, step, leaseMs, flat);
    await redis.xtrim(keys.stream, "MAXLEN", 0);
    expect(await sweep(backend.store)).toBe(1);
    expect((await readOne(backend)).fields).toEqual(flat);
  });

  it("that vanished between reading and opening, is published again at once", async () => {
    const { entryId } = await publishAndRead(backend);
    await redis.xtrim(keys.stream, "MAXLEN", 0);
    expect(await backend.store.open(entryId, key, hour, fields)).toEqual({ kind: "lease-lost" });
    expect((await readOne(backend)).fields).toEqual(fields);
  });

  it("of a woken step is published again", async () => {
    const lease = await open();
    await backend.store.park(lease, { ...parking, wakeAt: 1 });
    expect(await backend.store.wakeDue(10)).toBe(1);
    await redis.xtrim(keys.stream, "MAXLEN", 0);
    expect(await sweep(backend.store)).toBe(1);
  });
});

describe("a group that was lost over a stream that nobody trims", () => {
  it("goes on where it read: history does not come again, what was pending does", async () => {
    const old = await redis.xadd(keys.stream, "*", "data", "done long ago");
    await readOne(backend);
    // As FerrumDeck's worker ends a job: acknowledged, never deleted.
    await redis.xack(keys.stream, "steps-workers", old ?? "");
    const mine = await take(backend);
    await backend.queue.claimStale(hour, 1);
    await redis.xgroup("DESTROY", keys.stream, "steps-workers");
    await redis.xadd(keys.stream, "*", "data", "new");
    const read: (string | undefined)[] = [];
    for (let turn = 0; turn < 4; turn += 1) {
      for (const delivery of await backend.queue.read(10, 50, never)) read.push(delivery.entryId);
    }
    expect(read).toHaveLength(2);
    expect(read[0]).toBe(mine.entryId);
  });

  it("has what it passed over put back by the sweep", async () => {
    const { entryId } = await publishAndRead(backend);
    await backend.store.open(entryId, key, 100, fields);
    // Noted by an earlier look than the last delivery.
    await redis.set(keys.position, entryId);
    await redis.xgroup("DESTROY", keys.stream, "steps-workers");
    expect(await backend.queue.read(10, 20, never)).toEqual([]);
    expect(await sweep(backend.store)).toBe(1);
    expect((await readOne(backend)).fields).toEqual(fields);
    expect(await redis.xlen(keys.stream)).toBe(1);
  });

  it("begins at the beginning where the stream is not the one it had read", async () => {
    await redis.set(keys.position, "9999999999999-0");
    await redis.xadd(keys.stream, "*", "data", "first");
    expect((await readOne(backend)).fields).toEqual({ data: "first" });
  });
});

describe("a server that was emptied", () => {
  it("is said once by those who were in the group, and a group alone that is gone is not [redis.emptied]", async () => {
    const lines: string[] = [];
    const told = await openBackend({
      consumer: "worker-2",
      warn: (line) => void lines.push(line),
    });
    const look = async () => {
      await told.queue.claimStale(hour, 1);
      await told.queue.read(1, 20, never);
    };
    // A server on which nothing was yet is no emptied one.
    await look();
    await take(told);
    await look();
    await redis.xgroup("DESTROY", keys.stream, "steps-workers");
    await look();
    expect(lines).toEqual([]);
    await redis.flushall();
    await look();
    await look();
    expect(lines).toEqual([expect.stringMatching(/^the store \(Redis at .*\) was emptied: .*/u)]);
    await told.close();
  });
});

describe("a consumer that is not ours", () => {
  it("keeps its entry for longer than a lease, but not for ever; others are not held up", async () => {
    const patient = await openBackend({ consumer: "worker-2", foreignLeaseMs: hour });
    await backend.queue.publish({ data: "python's" });
    await backend.queue.claimStale(hour, 1);
    await redis.xreadgroup("GROUP", "steps-workers", "worker-abc", "STREAMS", keys.stream, ">");
    await backend.queue.publish({ data: "ours" });
    await readOne(backend);
    await sleep(60);
    const soon = await patient.queue.claimStale(50, 1);
    expect(soon.map((taken) => taken.fields["data"])).toEqual(["ours"]);
    const [first] = await redis.xrange(keys.stream, "-", "+");
    const foreign = [keys.stream, "steps-workers", "worker-abc", 0, first?.[0] ?? ""] as const;
    await redis.xclaim(...foreign, "IDLE", hour, "JUSTID");
    const late = await patient.queue.claimStale(50, 10);
    expect(late.map((taken) => taken.fields["data"])).toContain("python's");
    await patient.close();
  });
});

describe("the memory of an ended step", () => {
  it("is small, is kept as long as it is told to, and is prolonged by a late duplicate", async () => {
    const brief = await openBackend({ consumer: "worker-2", rememberMs: 60_000 });
    const long = {
      runId: "run_01JGXM5QJ8ZK3R7W9T2V4B6N8P",
      stepId: "stp_01JGXM5QJ8ZK3R7W9T2V4B6N8Q",
    };
    await brief.queue.publish(fields);
    const opening = await brief.store.open((await readOne(brief)).entryId, long, hour, fields);
    if (opening.kind !== "opened") throw new Error(opening.kind);
    await brief.store.settle(opening.lease, ending);
    expect(await redis.memory("USAGE", keys.ended(long))).toBeLessThanOrEqual(120);
    expect(await redis.exists(keys.record(long), keys.journal(long))).toBe(0);

    expect(await redis.pttl(keys.ended(long))).toBeGreaterThan(50_000);
    await redis.pexpire(keys.ended(long), 5_000);
    await brief.queue.publish(fields);
    const late = await brief.store.open((await readOne(brief)).entryId, long, hour, fields);
    expect(late).toMatchObject({ kind: "reported" });
    expect(await redis.pttl(keys.ended(long))).toBeGreaterThan(50_000);
    expect(await brief.store.find(long)).toMatchObject({ phase: "reported", fence: 1 });
    await redis.del(keys.ended(long));
    expect(await brief.store.find(long)).toBeNull();
    await brief.close();
  });
});
