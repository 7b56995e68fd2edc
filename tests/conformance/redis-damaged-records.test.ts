import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { group } from "../../adapters/redis/keys.ts";
import { StoreError } from "../../machines/contracts/domain/errors.ts";
import { parseJob, toEnvelope } from "../../machines/contracts/domain/job.ts";
import { recordId } from "../../machines/contracts/wire/record-text.ts";
import { backend, keys, redis, useRedisBackend } from "../support/redis-backend.ts";
import { hour, job, key, never, parking, readOne } from "./store-conformance/stage.ts";

const other = { runId: "run_other", stepId: "stp/other%1" };

useRedisBackend();

const anything = fc.oneof(
  fc.constantFrom("", "x", "0", "-1", "1.5", "nan", "inf", "1e400", "9223372036854775807", "1-1"),
  fc.constantFrom("99999999999999999999-1", "[]", "{}", "[1,2]", '["a"]', "{not json", "null"),
  fc.string({ unit: "binary", maxLength: 20 }),
);
const names = ["phase", "entry", "consumer", "job", "fields", "leaseMs", "fence", "putBack"];
const damage = fc.dictionary(
  fc.constantFrom(...names, "snapshot", "result", "stateHistory", "wakePending", "wakeAt"),
  fc.option(anything, { nil: null }),
  { minKeys: 1, maxKeys: 4 },
);

/** A step parked in the record of `step`, due now. */
async function leave(step: { runId: string; stepId: string }): Promise<void> {
  const parked = { ...job, ...step };
  await backend.queue.publish({ data: toEnvelope(parked) });
  const { entryId, fields } = await readOne(backend);
  const opening = await backend.store.open(entryId, step, hour, fields);
  if (opening.kind !== "opened") throw new Error(opening.kind);
  await backend.store.park(opening.lease, { ...parking, job: parked, wakeAt: 1 });
}

/** Reads what is on the stream, opens it, and ends it: as a worker would, and as the letters say. */
async function workThrough(): Promise<{ opened: string[]; letters: string[] }> {
  const opened: string[] = [];
  const letters: string[] = [];
  for (const { entryId, fields, deliveries } of await backend.queue.read(100, 1, never)) {
    const parsed = parseJob(fields);
    const { runId, stepId } = parsed.valid ? parsed.job : parsed.invalid;
    const letter = { fields, reason: "test", stateHistory: [], snapshot: null, at: 1, deliveries };
    if (runId === null || stepId === null) {
      expect(await backend.queue.deadLetter(entryId, letter)).toBe(true);
      letters.push("nobody's");
      continue;
    }
    try {
      const opening = await backend.store.open(entryId, { runId, stepId }, hour, fields);
      if (opening.kind !== "opened" && opening.kind !== "reported") continue;
      const settled = await backend.store.settle(opening.lease, {
        stateHistory: [],
        deadLetter: null,
      });
      expect(settled).toBe("written");
      opened.push(recordId({ runId, stepId }));
    } catch (error) {
      expect(error).toBeInstanceOf(StoreError);
      // Nothing that waiting would mend: the job is put away past its record.
      expect(error).toMatchObject({ trouble: "step" });
      expect(await backend.queue.deadLetter(entryId, letter)).toBe(true);
      letters.push(recordId({ runId, stepId }));
    }
  }
  return { opened, letters };
}

describe("a damaged record", () => {
  it("is its own step's trouble: every other step wakes, and its own ends in bounded time [record.damaged]", async () => {
    await fc.assert(
      fc.asyncProperty(damage, async (fields) => {
        await redis.flushall();
        await leave(key);
        for (const [name, value] of Object.entries(fields)) {
          if (value === null) await redis.hdel(keys.record(key), name);
          else await redis.hset(keys.record(key), name, value);
        }
        await leave(other);
        await redis.zadd(keys.timers, 0, recordId(key), 1, recordId(other));
        const seen = new Set<string>();
        for (let round = 0; round < 12; round += 1) {
          await backend.store.wakeDue(10);
          const { opened, letters } = await workThrough();
          for (const id of [...opened, ...letters]) seen.add(id);
          if (round === 0) expect(opened).toContain(recordId(other));
          if ((await redis.zcard(keys.timers)) + (await redis.xlen(keys.stream)) === 0) break;
          // As if the leases were over.
          for (const id of await redis.zrange(keys.timers, "0", "-1"))
            await redis.zadd(keys.timers, 0, id);
        }
        expect(await redis.zcard(keys.timers)).toBe(0);
        expect(await redis.xlen(keys.stream)).toBe(0);
        const isGone = (await redis.exists(keys.record(key))) === 0;
        expect(isGone || seen.has(recordId(key))).toBe(true);
      }),
      { numRuns: 80 },
    );
  });

  it("of another type, and a name in the timers that is no step's, end as letters, and leave the timers", async () => {
    await redis.set(keys.record(key), "text");
    await redis.hset(`${keys.records}run_bad:stp_bad`, { phase: "open", fields: "{not json" });
    await redis.hset(`${keys.records}a b/c`, { phase: "open" });
    for (const id of [recordId(key), "run_bad:stp_bad", "a b/c"])
      await redis.zadd(keys.timers, 1, id);
    expect(await backend.store.wakeDue(10)).toBe(3);
    const { letters } = await workThrough();
    expect(letters.toSorted()).toEqual(["nobody's", "nobody's", recordId(key)]);
    expect(await redis.zcard(keys.timers)).toBe(0);
  });

  it.each(["x", "", "1.5", "-3", "9223372036854775807", "1e3", "007"])(
    "whose fence is %j is refused as it is, as the step's trouble, and its job is put away past it [record.damaged]",
    async (fence) => {
      const damaged = { fence, phase: "parked", wakeAt: "1" };
      await redis.hset(keys.record(key), damaged);
      await backend.queue.publish({ data: toEnvelope(job) });
      expect(await workThrough()).toEqual({ opened: [], letters: [recordId(key)] });
      expect(await redis.hgetall(keys.record(key))).toEqual(damaged);
      expect(await redis.get(keys.parked)).toBe(null);
      expect(await backend.queue.stats()).toMatchObject({ length: 0, pending: 0, deadLetters: 1 });
    },
  );

  it("that holds a job of more fields than a script passes on is put back with those that are read", async () => {
    const extra = Object.fromEntries(Array.from({ length: 9_000 }, (_, n) => [`k${n}`, "v"]));
    const flat = {
      ...extra,
      run_id: key.runId,
      step_id: key.stepId,
      step_type: "llm",
      input: "{}",
    };
    await backend.queue.publish(flat);
    const first = await readOne(backend);
    await backend.store.open(first.entryId, key, hour, flat);
    await redis.xtrim(keys.stream, "MAXLEN", 0);
    await redis.zadd(keys.timers, 0, recordId(key));
    expect(await backend.store.wakeDue(10)).toBe(1);
    const [back] = await backend.queue.read(1, 1, never);
    expect(back?.fields).toEqual({
      run_id: key.runId,
      step_id: key.stepId,
      step_type: "llm",
      input: "{}",
    });
    // The letter keeps them all, and its retry does not lose it.
    const { entryId } = back ?? { entryId: "" };
    const letter = {
      fields: flat,
      reason: "r",
      stateHistory: [],
      snapshot: null,
      at: 1,
      deliveries: 1,
    };
    await backend.queue.deadLetter(entryId, letter);
    const [kept] = await backend.queue.deadLetters(1);
    expect(Object.keys(kept?.fields ?? {})).toHaveLength(9_004);
    expect(await backend.queue.retryDeadLetter(kept?.id ?? "")).toBe(true);
    expect(Object.keys((await readOne(backend)).fields)).toHaveLength(4);
  });

  it("of an ended step does not cost the letter that is retried over it", async () => {
    const fields = { data: toEnvelope(job) };
    await backend.queue.publish(fields);
    const { entryId } = await readOne(backend);
    const letter = { fields, reason: "r", stateHistory: [], snapshot: null, at: 1, deliveries: 1 };
    await backend.queue.deadLetter(entryId, letter);
    await redis.set(keys.ended(key), "x");
    const [kept] = await backend.queue.deadLetters(1);
    expect(await backend.queue.retryDeadLetter(kept?.id ?? "")).toBe(true);
    expect(await workThrough()).toMatchObject({ opened: [recordId(key)] });
  });
});

it("a note of where the group reads that is none, and entries with odd ids, hold up no claim [record.damaged]", async () => {
  for (const position of ["x", "", "99999999999999999999-1", "5", null]) {
    await redis.flushall();
    if (position === null) await redis.lpush(keys.position, "a list");
    else await redis.set(keys.position, position);
    await redis.xadd(keys.stream, "0-18446744073709551614", "data", "odd");
    await redis.xadd(keys.stream, "5-18446744073709551615", "data", "odd");
    await backend.queue.claimStale(0, 10);
    expect(await backend.queue.read(10, 1, never)).toHaveLength(2);
    expect(await backend.queue.claimStale(0, 10)).toHaveLength(2);
    // Where that group is lost, it is made again at what was noted.
    await redis.xgroup("DESTROY", keys.stream, group);
    await backend.queue.claimStale(0, 10);
    expect((await backend.queue.read(10, 1, never)).length).toBe(2);
  }
});
