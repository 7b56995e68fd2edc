import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bindBatched } from "../../adapters/redis/batches.ts";
import { bindScript, keysOf, type Script } from "../../adapters/redis/keys.ts";
import {
  appendJournal,
  openStep,
  parkStep,
  recordResult,
  settleStep,
} from "../../adapters/redis/step-scripts.ts";
import { codeOf } from "../../adapters/redis/trouble.ts";
import { redis, useRedisBackend } from "../support/redis-backend.ts";

useRedisBackend();

type Input = string | number;

describe("calls that are sent together", () => {
  const echo: Script = {
    name: "testEcho",
    keys: 2,
    helpers: "local function seen() return {KEYS, ARGV} end",
    lua: "return {KEYS, ARGV, seen()}",
  };
  const inputs = fc.tuple(
    fc.array(fc.constantFrom<Input>("", "a", "b", "1", 1), { minLength: 2, maxLength: 2 }),
    fc.array(fc.oneof(fc.constantFrom<Input>("", "a", "1", 1, 1.5), fc.string()), { maxLength: 6 }),
  );

  it("see each its own keys and arguments, however many they are and whatever they share [store.batched]", async () => {
    const run = bindBatched(redis, echo);
    await fc.assert(
      fc.asyncProperty(fc.array(inputs, { minLength: 1, maxLength: 130 }), async (calls) => {
        const replies = await Promise.all(calls.map(([keys, args]) => run(...keys, ...args)));
        const expected = calls.map(([keys, args]) => [keys.map(String), args.map(String)]);
        expect(replies).toEqual(expected.map((own) => [...own, own]));
      }),
    );
  });
});

/*
 * The store's own moves, on a few steps in any state, by any names that a damaged record or a late worker may bring:
 * together they answer and leave what they answer and leave one after the other.
 */

const names = keysOf("q:");
const group = "g";
const hour = 3_600_000;
const steps = ["1", "2", "3"].map((stepId) => names.step({ runId: "run", stepId }));
const entries = ["1-1", "2-1", "3-1", "4-1"];

const step = fc.constantFrom(...steps);
const entry = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...entries) },
  { weight: 1, arbitrary: fc.constantFrom("", "x", "9-9") },
);
const fence = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom<Input>(1, "1", 2) },
  { weight: 1, arbitrary: fc.constantFrom<Input>("", "007", "nan") },
);
const held = fc.tuple(fc.constantFrom("w1", "w1", "w2"), entry, fence);
const text = fc.constantFrom("", "{}", '["a","b"]', "[1]", "{not json", "ü\u0000🦆");
const letter = fc.oneof(
  fc.constant([]),
  fc.tuple(fc.constantFrom<Input>(1, "5", "many"), text, fc.constant("reason"), text),
);

/** Of each move what it may be called with: keys, and arguments. */
const moves: [Script, fc.Arbitrary<Input[][]>][] = [
  [
    openStep,
    fc
      .tuple(
        step,
        held,
        fc.constantFrom<Input>(hour, `${hour}`, 0),
        fc.constantFrom("job", "fields"),
        text,
      )
      .map(([{ id, record, journal, ended }, [by, on], ms, kind, job]) => [
        [names.stream, record, journal, names.timers, ended, names.parked],
        [group, by, on, ms, id, hour, kind, job],
      ]),
  ],
  [
    appendJournal,
    fc
      .tuple(step, held, fc.array(text, { maxLength: 3 }))
      .map(([{ record, journal }, by, lines]) => [
        [names.stream, record, journal],
        [group, ...by, ...lines],
      ]),
  ],
  [
    recordResult,
    fc.tuple(step, held, text).map(([{ record }, by, result]) => [
      [names.stream, record],
      [group, ...by, result, "[]"],
    ]),
  ],
  [
    parkStep,
    fc
      .tuple(step, held, text, fc.constantFrom<Input>("", 1, "1", "later"))
      .map(([{ id, record }, by, job, at]) => [
        [names.stream, record, names.timers, names.parked],
        [group, ...by, id, job, "{}", "[]", at],
      ]),
  ],
  [
    settleStep,
    fc
      .tuple(step, held, fc.constantFrom<Input>(hour, 0), letter)
      .map(([{ id, record, journal, ended }, by, ms, dead]) => [
        [names.stream, record, journal, names.timers, ended, names.letters, names.droppedLetters],
        [group, ...by, id, ms, ...dead],
      ]),
  ],
];

/** What is there before: what each step's keys hold, if anything, and who has the entries. */
const stages = fc.record({
  records: fc.array(
    fc.record({
      record: fc.dictionary(
        fc.constantFrom("phase", "entry", "job", "fields", "fence", "leaseMs", "result"),
        fc.oneof(entry, fence, text, fc.constantFrom("open", "parked", "recorded")).map(String),
      ),
      journal: fc.array(text, { maxLength: 2 }),
      ended: fc.option(fence.map(String), { freq: 4 }),
      isOfAnotherType: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, fc.boolean()),
    }),
    { minLength: steps.length, maxLength: steps.length },
  ),
  read: fc.array(fc.constantFrom("w1", "w1", "w2"), { maxLength: entries.length }),
});
type Stage = typeof stages extends fc.Arbitrary<infer T> ? T : never;

async function build({ records, read }: Stage): Promise<void> {
  const all = redis.pipeline().flushall().xgroup("CREATE", names.stream, group, "0", "MKSTREAM");
  for (const id of entries) all.xadd(names.stream, id, "data", id);
  for (const by of read)
    all.xreadgroup("GROUP", group, by, "COUNT", "1", "STREAMS", names.stream, ">");
  records.forEach(({ record, journal, ended, isOfAnotherType }, at) => {
    const keys = steps[at] ?? expect.unreachable();
    if (isOfAnotherType) all.set(keys.record, "no hash");
    else if (Object.keys(record).length > 0) all.hset(keys.record, record);
    if (journal.length > 0) all.rpush(keys.journal, ...journal);
    if (ended !== null) all.set(keys.ended, ended);
  });
  await all.exec();
}

/** All that the server holds; times and the numbers that it gives entries are left out. */
async function everything(): Promise<unknown> {
  const looks = redis.pipeline().xpending(names.stream, group, "-", "+", 100);
  looks.xrange(names.stream, "-", "+").xrange(names.letters, "-", "+");
  looks.zrange(names.timers, "0", "-1", "WITHSCORES").mget(names.parked, names.droppedLetters);
  for (const { record, journal, ended } of steps) {
    for (const key of [record, journal, ended]) looks.type(key).pttl(key);
    looks.hgetall(record).lrange(journal, 0, -1).get(ended);
  }
  const [pending, ...others] = (await looks.exec()) ?? [];
  const rows = (pending?.[1] ?? []) as unknown[][];
  // What an entry has been idle for is a time; what is left to live is told from for ever.
  const kept = others.map(([error, value]) =>
    error === null ? (typeof value === "number" ? value < 0 : value) : error.message,
  );
  return withoutTimes([rows.map(([id, by, , count]) => [id, by, count]), kept]);
}

const withoutTimes = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value).replaceAll(/\b[1-9]\d{12}(?:-\d+)?\b/gu, (one) =>
      one.includes("-") ? "entry" : "0",
    ),
  );

const told = (reply: PromiseSettledResult<unknown>): unknown =>
  reply.status === "fulfilled" ? withoutTimes(reply.value) : (codeOf(reply.reason) ?? "ERR");

describe("the store's moves", () => {
  it.each(moves)(
    "answer and leave together what they do one after the other: $name [store.batched]",
    async (script, call) => {
      const alone = bindScript(redis, script);
      const together = bindBatched(redis, script);
      const calls = fc.array(call, { minLength: 1, maxLength: 12 });
      await fc.assert(
        fc.asyncProperty(stages, calls, async (stage, all) => {
          await build(stage);
          const expected: unknown[] = [];
          for (const one of all)
            expected.push(told((await Promise.allSettled([alone(...one.flat())]))[0]));
          const left = await everything();
          await build(stage);
          const replies = await Promise.allSettled(all.map((one) => together(...one.flat())));
          expect(replies.map(told)).toEqual(expected);
          expect(await everything()).toEqual(left);
        }),
        { numRuns: 100 },
      );
    },
  );
});
