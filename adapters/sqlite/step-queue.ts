import { resolve } from "node:path";
import type { Clock } from "../../machines/contracts/ports/clock.ts";
import type { StepQueue, Delivery } from "../../machines/contracts/ports/step-backend.ts";
import { type Database, fieldsFrom, isFile } from "./database.ts";
import { type Letters, prepareRetry } from "./dead-letters.ts";

/** The stream and its group as a table. Each of its moves is one statement or one transaction. */
export function createStepQueue(
  parts: { database: Database; entries: Entries; letters: Letters; waiters: Waiters; clock: Clock },
  consumer: string,
): StepQueue {
  const { database, entries, letters, waiters, clock } = parts;
  const retry = prepareRetry(database, letters, entries);
  const closing = new AbortController();

  return {
    consumer,
    async publish(fields) {
      const entryId = entries.add(fields, clock.now());
      waiters.wake();
      return entryId;
    },
    async read(count, blockMs, signal) {
      const given = AbortSignal.any([signal, closing.signal]);
      const deadline = clock.monotonic() + blockMs;
      while (!given.aborted) {
        const taken = entries.takeNew(consumer, clock.now(), count);
        const left = deadline - clock.monotonic();
        if (taken.length > 0 || left <= 0) return taken;
        await waiters.wait(left, given);
      }
      return [];
    },
    async claimStale(leaseMs, count) {
      const now = clock.now();
      return entries.takeStale(consumer, now, now - leaseMs, count);
    },
    async renew(entryIds) {
      const now = clock.now();
      return database.alone(() => entryIds.filter((id) => !entries.renew(id, consumer, now)));
    },
    async release(entryIds) {
      database.alone(() => {
        for (const id of entryIds) entries.giveBack(id, consumer);
      });
    },
    async deadLetter(entryId, letter) {
      return database.alone(() => {
        if (entries.pending(entryId)?.owner !== consumer) return false;
        letters.add(letter);
        entries.remove(entryId);
        return true;
      });
    },
    deadLetters: async (limit) => letters.list(limit),
    findDeadLetter: async (id) => letters.find(id),
    async retryDeadLetter(id) {
      const retried = await retry(id, clock.now());
      if (retried) waiters.wake();
      return retried;
    },
    dropDeadLetter: async (id) => letters.remove(id),
    stats: async () => ({ ...entries.count(), deadLetters: letters.count(), droppedLetters: 0 }),
    async close() {
      closing.abort();
    },
  };
}

/** Who owns an entry that was handed back: nobody; it waits to be claimed. */
export const releasedConsumer = "released";

export interface PendingEntry {
  owner: string;
  deliveredAt: number;
  deliveries: number;
}

export type Entries = ReturnType<typeof prepareEntries>;

/** The stream's entries. An entry's id is `{epoch ms}-{n}`, like a Redis stream's; `n` alone finds it. */
export function prepareEntries({ sql }: Database) {
  const insert = sql.prepare("INSERT INTO entries (at, fields) VALUES (?, ?) RETURNING n, at");
  const takeNew = sql.prepare(`
    UPDATE entries SET owner = ?, delivered_at = ?, deliveries = deliveries + 1
    WHERE n IN (SELECT n FROM entries WHERE owner IS NULL ORDER BY n LIMIT ?)
    RETURNING n, at, fields, deliveries`);
  const takeStale = sql.prepare(`
    UPDATE entries SET owner = ?, delivered_at = ?, deliveries = deliveries + 1
    WHERE n IN (
      SELECT n FROM entries
      WHERE owner = '${releasedConsumer}' OR (owner IS NOT NULL AND delivered_at <= ?)
      ORDER BY n LIMIT ?)
    RETURNING n, at, fields, deliveries`);
  const find = sql.prepare(`
    SELECT owner, delivered_at AS deliveredAt, deliveries
    FROM entries WHERE n = ? AND owner IS NOT NULL`);
  const renew = sql.prepare("UPDATE entries SET delivered_at = ? WHERE n = ? AND owner = ?");
  const giveBack = sql.prepare(`
    UPDATE entries SET owner = '${releasedConsumer}', deliveries = deliveries - 1
    WHERE n = ? AND owner = ?`);
  const remove = sql.prepare("DELETE FROM entries WHERE n = ?");
  const count = sql.prepare("SELECT count(*) AS length, count(owner) AS pending FROM entries");

  return {
    add(fields: Record<string, string>, now: number): string {
      return idOf(insert.get(now, JSON.stringify(fields)) as unknown as EntryRow);
    },
    takeNew(owner: string, now: number, limit: number): Delivery[] {
      return deliveriesOf(takeNew.all(owner, now, limit));
    },
    /** Those delivered before `before`, and those handed back whenever. */
    takeStale(owner: string, now: number, before: number, limit: number): Delivery[] {
      return deliveriesOf(takeStale.all(owner, now, before, limit));
    },
    /** The entry while it is pending, for whomever. */
    pending(entryId: string): PendingEntry | undefined {
      return find.get(numberOf(entryId)) as PendingEntry | undefined;
    },
    renew: (entryId: string, owner: string, now: number) =>
      renew.run(now, numberOf(entryId), owner).changes === 1,
    giveBack: (entryId: string, owner: string) => void giveBack.run(numberOf(entryId), owner),
    remove: (entryId: string) => void remove.run(numberOf(entryId)),
    count: () => count.get() as { length: number; pending: number },
  };
}

interface EntryRow {
  n: number;
  at: number;
  fields: string;
  deliveries: number;
}

function idOf({ at, n }: EntryRow): string {
  return `${at}-${n}`;
}

function numberOf(entryId: string): number {
  return Number(entryId.slice(entryId.lastIndexOf("-") + 1));
}

/** RETURNING keeps no order. */
function deliveriesOf(rows: unknown[]): Delivery[] {
  return (rows as EntryRow[])
    .sort((a, b) => a.n - b.n)
    .map((row) => ({
      entryId: idOf(row),
      fields: fieldsFrom(row.fields),
      deliveries: row.deliveries,
    }));
}

/** How often a reader looks for what another process published, in milliseconds. */
const pollMs = 20;

/** Readers of this process that wait for entries, by database. */
const waiting = new Map<string, Set<() => void>>();

export interface Waiters {
  /** Wakes every reader of this database in this process. */
  wake(): void;
  /** Until there may be something new, `waitMs` are over, or the signal aborts. */
  wait(waitMs: number, signal: AbortSignal): Promise<void>;
}

/**
 * Readers wake at once for what their own process publishes. What other processes publish to a file they see
 * by looking now and then; a database in memory has no others, and its readers sleep until woken.
 */
export function waitersOf(path: string, clock: Clock): Waiters {
  const own = path === ":memory:" ? new Set<() => void>() : sharedSet(path);
  return {
    wake() {
      for (const wake of own) wake();
    },
    wait(waitMs, signal) {
      const { promise, resolve: wake } = Promise.withResolvers<void>();
      const cancelTimer = clock.timer(isFile(path) ? Math.min(pollMs, waitMs) : waitMs, wake);
      own.add(wake);
      const abort = () => wake();
      signal.addEventListener("abort", abort);
      return promise.finally(() => {
        cancelTimer();
        own.delete(wake);
        signal.removeEventListener("abort", abort);
      });
    },
  };
}

function sharedSet(path: string): Set<() => void> {
  const name = isFile(path) ? resolve(path) : path;
  const set = waiting.get(name) ?? new Set();
  waiting.set(name, set);
  return set;
}
