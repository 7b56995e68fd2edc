import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import * as fc from "fast-check";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../actors/runtime.ts";
import { createSqliteBackend } from "../../adapters/sqlite/backend.ts";
import { toStoreError } from "../../adapters/sqlite/database.ts";
import type { Clock } from "../../machines/contracts/ports/clock.ts";
import {
  ending,
  fields,
  publishAndRead,
  hour,
  key,
  lease,
  never,
  parking,
  readOne,
  take,
} from "./store-conformance/stage.ts";

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "stateplane-sqlite-"));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

/** Time that stands still until it is told to move; its wall clock can be set as well. */
function stillClock() {
  let now = 0;
  let jumped = 0;
  const timers = new Set<{ at: number; callback: () => void }>();
  const clock: Clock = {
    now: () => now + jumped,
    monotonic: () => now,
    random: () => 0.5,
    timer(ms, callback) {
      const timer = { at: now + ms, callback };
      timers.add(timer);
      return () => timers.delete(timer);
    },
  };
  const advance = (ms: number) => {
    now += ms;
    for (const timer of timers) {
      if (timer.at <= now && timers.delete(timer)) timer.callback();
    }
  };
  const jump = (ms: number) => (jumped += ms);
  return { clock, advance, jump, waiting: () => timers.size };
}

describe("time", () => {
  const path = "file:still?mode=memory&cache=shared";

  it("is the clock's alone: leases, memory of reported steps and waits", async () => {
    const { clock, advance, waiting } = stillClock();
    const backend = await createSqliteBackend({ path, consumer: "a", clock });
    const { entryId } = await take(backend);
    expect(await backend.queue.claimStale(1_000, 1)).toEqual([]);
    advance(999);
    expect(await backend.queue.claimStale(1_000, 1)).toEqual([]);
    advance(1);
    expect(await backend.queue.claimStale(1_000, 1)).toMatchObject([{ entryId, deliveries: 2 }]);
    await backend.store.settle(await lease(backend, entryId), ending);

    // A late duplicate prolongs the memory.
    advance(3_000_000);
    const late = await publishAndRead(backend);
    const opening = await backend.store.open(late.entryId, key, 1_000, fields);
    expect(opening).toMatchObject({ kind: "reported" });
    if (opening.kind === "reported") await backend.store.settle(opening.lease, ending);
    advance(3_600_000 - 1);
    expect(await backend.store.wakeDue(1)).toBe(0);
    expect(await backend.store.find(key)).toMatchObject({ phase: "reported" });
    advance(1);
    await backend.store.wakeDue(1);
    expect(await backend.store.find(key)).toBeNull();

    let read: unknown = "still waiting";
    const reading = backend.queue.read(1, 500, never).then((deliveries) => (read = deliveries));
    advance(499);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(read).toBe("still waiting");
    expect(waiting()).toBe(1);
    advance(1);
    await reading;
    expect(read).toEqual([]);
    expect(waiting()).toBe(0);
    await backend.close();
  });

  it("that is set neither steals a live lease nor keeps a dead worker's [time.jumps]", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: -7_200_000, max: 7_200_000 }), { minLength: 1, maxLength: 4 }),
        fc.uuid(),
        async (jumps, room) => {
          const { clock, advance, jump } = stillClock();
          advance(10_000_000);
          const own = `file:${room}?mode=memory&cache=shared`;
          const a = await createSqliteBackend({ path: own, consumer: "a", clock });
          const b = await createSqliteBackend({ path: own, consumer: "b", clock });
          const { entryId } = await take(a);
          for (const ms of jumps) {
            jump(ms);
            expect(await b.queue.claimStale(1_000, 1)).toEqual([]);
          }
          advance(999);
          expect(await b.queue.claimStale(1_000, 1)).toEqual([]);
          advance(1);
          expect(await b.queue.claimStale(1_000, 1)).toMatchObject([{ entryId }]);
          await a.close();
          await b.close();
        },
      ),
      { numRuns: 30 },
    );
  });

  it("of a machine that was started anew ends every lease from before", async () => {
    const { clock, advance } = stillClock();
    const file = join(directory, "steps.db");
    advance(500_000);
    const before = await createSqliteBackend({ path: file, consumer: "a", clock });
    const { entryId } = await take(before);
    await before.close();
    const later = await createSqliteBackend({
      path: file,
      consumer: "b",
      clock: { ...clock, monotonic: () => 2_000 },
    });
    expect(await later.queue.claimStale(30_000, 1)).toMatchObject([{ entryId }]);
    await later.close();
  });

  it("need not pass for a reader to be woken by its own process, by any way back to the stream", async () => {
    const { clock } = stillClock();
    const a = await createSqliteBackend({ path, consumer: "a", clock });
    const b = await createSqliteBackend({ path, consumer: "b", clock });
    const published = b.queue.read(1, 1_000, never);
    await a.queue.publish(fields);
    const [first] = await published;
    await b.store.park(await lease(b, first?.entryId ?? ""), { ...parking, wakeAt: 0 });
    const woken = a.queue.read(1, 1_000, never);
    await b.store.wakeDue(1);
    const [second] = await woken;
    expect(second?.fields).toEqual(fields);
    const busy = await lease(a, second?.entryId ?? "");
    await a.queue.publish(fields);
    const duplicate = await readOne(b);
    expect(await b.store.open(duplicate.entryId, key, 1_000, fields)).toEqual({
      kind: "duplicate",
    });
    const early = b.queue.read(1, 1_000, never);
    await a.store.park(busy, { ...parking, wakeAt: null });
    const [third] = await early;
    const letter = { fields, reason: "r", snapshot: null, at: 1 };
    const held = await lease(b, third?.entryId ?? "");
    const retried = b.queue.read(1, 1_000, never);
    await b.store.settle(held, { stateHistory: [], deadLetter: letter });
    await a.queue.retryDeadLetter((await a.queue.deadLetters(1))[0]?.id ?? "");
    expect(await retried).toHaveLength(1);
    await a.close();
    await b.close();
  });
});

it("names no dead letter by how many there are [letter.ids]", async () => {
  const backend = await createSqliteBackend({
    path: ":memory:",
    consumer: "a",
    clock: systemClock,
  });
  for (let count = 0; count < 3; count += 1) {
    await backend.queue.publish(fields);
    const { entryId } = await readOne(backend);
    const letter = { fields, reason: "r", stateHistory: [], snapshot: null, deliveries: 1, at: 1 };
    await backend.queue.deadLetter(entryId, letter);
  }
  const ids = (await backend.queue.deadLetters(10)).map(({ id }) => id);
  expect(new Set(ids).size).toBe(3);
  for (const id of ids) expect(id).toMatch(/^dl_[0-9A-HJKMNP-TV-Z]{26}$/u);
  await backend.close();
});

describe("a file", () => {
  it("keeps everything over a close, and another process's jobs are seen soon", async () => {
    const path = join(directory, "steps.db");
    const first = await createSqliteBackend({ path, consumer: "a", clock: systemClock });
    await first.store.park(await take(first), { ...parking, wakeAt: 1 });
    await first.close();
    const second = await createSqliteBackend({ path, consumer: "b", clock: systemClock });
    expect(second.describe).toBe(`SQLite in ${path}`);
    const reading = second.queue.read(1, hour, never);
    expect(await run(`await backend.store.wakeDue(10)`, path)).toBe("");
    expect((await reading)[0]?.fields).toEqual(fields);
    await second.close();
  });

  it("is shared by processes that start at once: every job goes to one of them", async () => {
    const path = join(directory, "steps.db");
    const program = `
      for (let n = 0; n < 50; n += 1) await backend.queue.publish({ data: String(n) });
      for (;;) {
        const read = await backend.queue.read(7, 300, new AbortController().signal);
        if (read.length === 0) break;
        for (const { entryId } of read) {
          const step = { runId: "r", stepId: entryId };
          const { lease } = await backend.store.open(entryId, step, 60000, {});
          await backend.store.settle(lease, { stateHistory: [], deadLetter: null });
          process.stdout.write(entryId + "\\n");
        }
      }`;
    const outputs = await Promise.all([1, 2, 3].map(() => run(program, path)));
    // One that starts late finds nothing to do.
    const done = outputs.flatMap((text) => text.split("\n").filter((id) => id !== ""));
    expect(done).toHaveLength(150);
    expect(new Set(done).size).toBe(150);
    const backend = await createSqliteBackend({ path, consumer: "last", clock: systemClock });
    expect(await backend.queue.stats()).toMatchObject({
      length: 0,
      pending: 0,
      deadLetters: 0,
      droppedLetters: 0,
    });
    await backend.close();
  });

  it("that another program holds does not stop the event loop, and is waited for", async () => {
    const path = join(directory, "steps.db");
    const backend = await createSqliteBackend({ path, consumer: "a", clock: systemClock });
    const holder = new DatabaseSync(path);
    holder.exec("BEGIN IMMEDIATE");
    const publishing = Promise.all([1, 2, 3].map(() => backend.queue.publish(fields)));
    // Turns, and not time: of what stops the loop until the file is free there would be one, and then the refusal.
    for (let turn = 0; turn < 30; turn += 1) await sleep(25);
    holder.exec("COMMIT");
    holder.close();
    expect(await publishing).toHaveLength(3);
    await backend.close();
  });

  it("that stays held is passing trouble; one that may not be written is ours [store.trouble]", async () => {
    const path = join(directory, "steps.db");
    const backend = await createSqliteBackend({ path, consumer: "a", clock: systemClock });
    const holder = new DatabaseSync(path);
    holder.exec("BEGIN IMMEDIATE");
    const published = backend.queue.publish(fields);
    await expect(published).rejects.toMatchObject({ name: "StoreError", trouble: "passing" });
    holder.close();
    await backend.close();
    for (const [code, trouble] of Object.entries({
      5: "passing",
      6: "passing",
      8: "ours",
      10: "ours",
      13: "ours",
      14: "ours",
      1: "step",
      18: "step",
      4: "passing",
    })) {
      // The low byte is the primary code, whatever stands above it.
      for (const errcode of [Number(code), Number(code) | 0x300]) {
        const error = Object.assign(new Error("any text"), { errcode });
        expect(toStoreError(error, "step").trouble).toBe(trouble);
      }
    }
  });

  it("has a job whose entry vanished published again, once [job.vanished]", async () => {
    const path = join(directory, "steps.db");
    const backend = await createSqliteBackend({ path, consumer: "a", clock: systemClock });
    const { entryId } = await publishAndRead(backend);
    await backend.store.open(entryId, key, 50, fields);
    await sleep(60);
    expect(await backend.store.wakeDue(10)).toBe(0);
    const other = new DatabaseSync(path);
    other.exec("DELETE FROM entries");
    other.close();
    await sleep(60);
    expect(await backend.store.wakeDue(10)).toBe(1);
    expect(await readOne(backend)).toMatchObject({ fields });
    expect(await backend.store.wakeDue(10)).toBe(0);
    await backend.close();
  });

  it("loses nothing when a process is killed at work: its steps are taken over", async () => {
    const path = join(directory, "steps.db");
    const program = `
      const never = new AbortController().signal;
      await backend.queue.publish(${JSON.stringify(fields)});
      const [{ entryId }] = await backend.queue.read(1, 0, never);
      const { lease } = await backend.store.open(entryId, ${JSON.stringify(key)}, 60000, {});
      await backend.store.append(lease, [{ event: "begun", effect: "e", at: 1 }]);
      process.kill(process.pid, "SIGKILL");`;
    await run(program, path);
    const backend = await createSqliteBackend({ path, consumer: "next", clock: systemClock });
    const [taken] = await backend.queue.claimStale(0, 1);
    expect(await backend.store.open(taken?.entryId ?? "", key, 1, fields)).toMatchObject({
      kind: "opened",
      lease: { fence: 2 },
      record: { journal: [{ event: "begun", effect: "e", at: 1 }] },
    });
    await backend.close();
  });
});

it("in memory without a name is nobody else's", async () => {
  const open = (consumer: string) =>
    createSqliteBackend({ path: ":memory:", consumer, clock: systemClock });
  const [a, b] = await Promise.all([open("a"), open("b")]);
  await a.queue.publish(fields);
  expect(await b.queue.read(1, 0, never)).toEqual([]);
  expect((await readOne(a)).fields).toEqual(fields);
  expect(a.describe).toBe("SQLite in memory");
  await a.close();
  await b.close();
});

/** Runs a program with a `backend` of its own on the file; resolves to what it printed. */
async function run(program: string, path: string): Promise<string> {
  const url = (file: string) => JSON.stringify(new URL(file, import.meta.url).href);
  const source = `
    const { createSqliteBackend } = await import(${url("../../adapters/sqlite/backend.ts")});
    const { systemClock: clock } = await import(${url("../../actors/runtime.ts")});
    const options = { path: ${JSON.stringify(path)}, consumer: "p" + process.pid, clock };
    const backend = await createSqliteBackend(options);
    ${program}
    await backend.close();`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", source], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.on("data", (chunk) => (text += chunk));
  const [code, signal] = await once(child, "close");
  if (code !== 0 && signal !== "SIGKILL") throw new Error(`the program ended with ${code}`);
  return text;
}
