import { resolve } from "node:path";
import type { Clock } from "../../machines/contracts/ports/clock.ts";
import type {
  Delivery,
  QueueStats,
  StepQueue,
} from "../../machines/contracts/ports/step-backend.ts";
import { type Database, fieldsFrom, isFile } from "./database.ts";
import { type Letters, stepOf } from "./dead-letters.ts";
import type { StepRows } from "./step-store.ts";

/** The stream and its group as a table. Each of its moves is one transaction, and reads the clock inside it. */
export function createStepQueue(
  parts: {
    database: Database;
    entries: Entries;
    steps: StepRows;
    letters: Letters;
    waiters: Waiters;
    clock: Clock;
    rememberMs: number;
  },
  consumer: string,
): StepQueue {
  const { database, entries, steps, letters, waiters, clock } = parts;
  const closing = new AbortController();

  return {
    consumer,
    async publish(fields) {
      const entryId = await database.alone(() => entries.add(fields, clock.now()));
      waiters.wake();
      return entryId;
    },
    async read(count, blockMs, signal) {
      const given = AbortSignal.any([signal, closing.signal]);
      const deadline = clock.monotonic() + blockMs;
      while (!given.aborted) {
        const taken = await database.alone(() =>
          entries.takeNew(consumer, clock.monotonic(), count),
        );
        const left = deadline - clock.monotonic();
        if (taken.length > 0 || left <= 0) return taken;
        await waiters.wait(left, given);
      }
      return [];
    },
    async claimStale(leaseMs, count) {
      return database.alone(() => entries.takeStale(consumer, clock.monotonic(), leaseMs, count));
    },
    async renew(entryIds) {
      if (entryIds.length === 0) return [];
      return database.alone(() => {
        const now = clock.monotonic();
        return entryIds.filter((id) => !entries.renew(id, consumer, now));
      });
    },
    async release(entryIds) {
      if (entryIds.length === 0) return;
      await database.alone(() => {
        for (const id of entryIds) entries.giveBack(id, consumer);
      });
    },
    async deadLetter(entryId, letter) {
      return database.alone(() => {
        const owner = entries.pending(entryId)?.owner;
        // Run again after its first answer was lost: the letter is there.
        if (owner === undefined) return letters.hasEntry(entryId);
        if (owner !== consumer) return false;
        const step = stepOf(letter.fields);
        const kept = step === null ? undefined : steps.find(step);
        const journal = step === null ? [] : steps.journal(step);
        letters.add(entryId, letter, {
          fence: kept?.fence ?? 0,
          result: kept?.result ?? null,
          journal,
        });
        // The record stays for a while: the same job published anew goes on from it.
        if (step !== null) steps.fade(step, clock.now() + parts.rememberMs);
        entries.remove(entryId);
        return true;
      });
    },
    deadLetters: (limit) => database.look(() => letters.list(limit)),
    findDeadLetter: (id) => database.look(() => letters.find(id)),
    async retryDeadLetter(id) {
      const retried = await database.alone(() => {
        const letter = letters.find(id);
        if (letter === null) return false;
        const kept = letters.retried(id);
        letters.remove(id);
        const entry = entries.add(letter.fields, clock.now());
        const step = stepOf(letter.fields);
        if (step !== null) {
          steps.expire(clock.now());
          steps.retry(step, letter, kept);
          steps.watch(step, entry, clock.now());
        }
        return true;
      });
      if (retried) waiters.wake();
      return retried;
    },
    dropDeadLetter: (id) => database.alone(() => letters.remove(id)),
    stats: () =>
      database.look(() => ({
        ...entries.stats(clock.now()),
        parked: steps.parked(),
        deadLetters: letters.count(),
        droppedLetters: letters.dropped(),
      })),
    async close() {
      closing.abort();
    },
  };
}

/** Who owns an entry that was released: nobody; it waits to be claimed. */
export const releasedConsumer = "released";

/**
 * A delivery's time is monotonic: milliseconds since the machine started, the same for all its processes. Setting the
 * wall clock neither ends a lease nor prolongs it. A delivery that lies in the future was made before a restart of the
 * machine, so its worker is dead. The moment that is allowed for is more than processes' clocks lie apart.
 */
const clockDriftMs = 1_000;

/** Whether a lease on a delivery has run out; see {@link clockDriftMs}. */
export function isLeaseOver(deliveredAt: number, now: number, leaseMs: number): boolean {
  return deliveredAt <= now - leaseMs || deliveredAt > now + clockDriftMs;
}

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
      WHERE owner = '${releasedConsumer}'
        OR (owner IS NOT NULL AND (delivered_at <= ? OR delivered_at > ?))
      ORDER BY n LIMIT ?)
    RETURNING n, at, fields, deliveries`);
  const find = sql.prepare(`
    SELECT owner, delivered_at AS deliveredAt, deliveries
    FROM entries WHERE n = ? AND owner IS NOT NULL`);
  const renew = sql.prepare("UPDATE entries SET delivered_at = ? WHERE n = ? AND owner = ?");
  const giveBack = sql.prepare(`
    UPDATE entries SET owner = '${releasedConsumer}', deliveries = deliveries - 1
    WHERE n = ? AND owner = ?`);
  const exists = sql.prepare("SELECT 1 FROM entries WHERE n = ?");
  const remove = sql.prepare("DELETE FROM entries WHERE n = ?");
  const count = sql.prepare("SELECT count(*) AS length, count(owner) AS pending FROM entries");
  const next = sql.prepare("SELECT at FROM entries WHERE owner IS NULL ORDER BY n LIMIT 1");
  const owners = sql.prepare(`
    SELECT owner AS name, count(*) AS taken FROM entries
    WHERE owner IS NOT NULL AND owner <> '${releasedConsumer}' GROUP BY owner`);

  return {
    add(fields: Record<string, string>, now: number): string {
      return idOf(insert.get(now, JSON.stringify(fields)) as unknown as EntryRow);
    },
    takeNew(owner: string, now: number, limit: number): Delivery[] {
      return deliveriesOf(takeNew.all(owner, Math.floor(now), limit));
    },
    /** Those whose lease is over, and those released whenever. */
    takeStale(owner: string, now: number, leaseMs: number, limit: number): Delivery[] {
      const bounds = [Math.floor(now - leaseMs), Math.floor(now + clockDriftMs)] as const;
      return deliveriesOf(takeStale.all(owner, Math.floor(now), ...bounds, limit));
    },
    /** Whether it is on the stream, pending or not. */
    exists: (entryId: string) => exists.get(numberOf(entryId)) !== undefined,
    /** The entry while it is pending, for whomever. */
    pending(entryId: string): PendingEntry | undefined {
      return find.get(numberOf(entryId)) as PendingEntry | undefined;
    },
    renew: (entryId: string, owner: string, now: number) =>
      renew.run(Math.floor(now), numberOf(entryId), owner).changes === 1,
    giveBack: (entryId: string, owner: string) => void giveBack.run(numberOf(entryId), owner),
    remove: (entryId: string) => void remove.run(numberOf(entryId)),
    stats(now: number): Pick<QueueStats, "length" | "pending" | "waitingMs" | "consumers"> {
      const at = next.get()?.["at"];
      return {
        ...(count.get() as { length: number; pending: number }),
        waitingMs: at === undefined ? null : Math.max(0, now - Number(at)),
        consumers: owners.all() as unknown as QueueStats["consumers"],
      };
    },
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
