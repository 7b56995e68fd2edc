import type { Delivery } from "../../machines/contracts/ports/step-queue.ts";
import { fieldsFrom } from "./fields-from.ts";
import type { Database } from "./database.ts";

/** Who owns an entry that was handed back: nobody; it waits to be claimed. */
export const handedBack = "handed-back";

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
      WHERE owner = '${handedBack}' OR (owner IS NOT NULL AND delivered_at <= ?)
      ORDER BY n LIMIT ?)
    RETURNING n, at, fields, deliveries`);
  const find = sql.prepare(`
    SELECT owner, delivered_at AS deliveredAt, deliveries
    FROM entries WHERE n = ? AND owner IS NOT NULL`);
  const renew = sql.prepare("UPDATE entries SET delivered_at = ? WHERE n = ? AND owner = ?");
  const giveBack = sql.prepare(`
    UPDATE entries SET owner = '${handedBack}', deliveries = deliveries - 1
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
