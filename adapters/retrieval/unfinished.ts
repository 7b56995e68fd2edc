import type { DatabaseSync } from "node:sqlite";
import { withEnd } from "./find-files.ts";

/*
 * Which ingests of a collection were begun and have not come to their end, so that what was interrupted looks like it
 * afterwards: a row for each file or folder that was to be read. It goes when an ingest has ended that read it, too.
 */

/** Files of before have no such table, and whoever knows of none reads them all the same. */
export const prepareUnfinished = (sql: DatabaseSync): void =>
  sql.exec(
    "CREATE TABLE IF NOT EXISTS ingests (begun_at INTEGER NOT NULL, root TEXT NOT NULL) STRICT",
  );

export function noteBegun(sql: DatabaseSync, roots: readonly string[]): void {
  const begun = sql.prepare("INSERT INTO ingests VALUES (?, ?)");
  for (const root of roots) begun.run(Date.now(), root);
}

export function noteEnded(sql: DatabaseSync, roots: readonly string[]): void {
  const drop = sql.prepare("DELETE FROM ingests WHERE rowid = ?");
  for (const row of sql.prepare("SELECT rowid AS n, root FROM ingests").all()) {
    const path = String(row["root"]);
    const isRead = roots.some((root) => path === root || path.startsWith(withEnd(root)));
    if (isRead) drop.run(Number(row["n"]));
  }
}

/** When the first of them was begun, which may still be at work; null where each came to its end. */
export function unfinishedSince(sql: DatabaseSync): number | null {
  const isThere = sql.prepare("SELECT 1 FROM sqlite_master WHERE name = 'ingests'").get();
  if (isThere === undefined) return null;
  const since = sql.prepare("SELECT min(begun_at) AS since FROM ingests").get()?.["since"];
  return typeof since === "number" ? since : null;
}
