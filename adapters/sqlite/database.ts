import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { isJsonObject } from "../../machines/contracts/domain/json.ts";
import { looseJson } from "../../machines/contracts/wire/record-text.ts";

/** How long a writer waits for another process's transaction, in milliseconds. */
const busyMs = 10_000;

/**
 * `entries` is the stream and its group in one: an entry without an owner is new, one with is pending. `n`
 * never comes twice. A step's `wake_at` is its timer.
 */
const schema = `
CREATE TABLE IF NOT EXISTS entries (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  fields TEXT NOT NULL,
  owner TEXT,
  delivered_at INTEGER,
  deliveries INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS entries_by_owner ON entries (owner, n);

CREATE TABLE IF NOT EXISTS steps (
  id TEXT PRIMARY KEY,
  phase TEXT NOT NULL,
  fence INTEGER NOT NULL,
  entry TEXT,
  job TEXT,
  snapshot TEXT,
  result TEXT,
  state_history TEXT,
  wake_at INTEGER,
  wake_pending INTEGER NOT NULL DEFAULT 0,
  expires_at INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS steps_by_time ON steps (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS steps_by_expiry ON steps (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS journal (
  step TEXT NOT NULL,
  position INTEGER NOT NULL,
  entry TEXT NOT NULL,
  PRIMARY KEY (step, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS letters (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  fields TEXT NOT NULL,
  reason TEXT NOT NULL,
  state_history TEXT NOT NULL,
  snapshot TEXT NOT NULL,
  deliveries INTEGER NOT NULL,
  at INTEGER NOT NULL
) STRICT;
`;

export interface Database {
  sql: DatabaseSync;
  /** Runs `work` alone among all processes; it writes everything or, when it throws, nothing. */
  alone<T>(work: () => T): T;
}

/**
 * Opens the database, creating it and its folder where they are missing.
 *
 * @throws the file system's or SQLite's own error
 */
export function openDatabase(path: string): Database {
  if (isFile(path)) mkdirSync(dirname(path), { recursive: true });
  const sql = new DatabaseSync(path, { timeout: busyMs });
  // NORMAL: a killed process loses nothing; a power cut may lose the last moments, as with Redis.
  sql.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
  sql.exec(schema);
  return {
    sql,
    alone(work) {
      sql.exec("BEGIN IMMEDIATE");
      try {
        const value = work();
        sql.exec("COMMIT");
        return value;
      } catch (error) {
        if (sql.isTransaction) sql.exec("ROLLBACK");
        throw error;
      }
    },
  };
}

/** False for databases in memory: `:memory:`, or shared in this process: `file:name?mode=memory&cache=shared`. */
export function isFile(path: string): boolean {
  return path !== ":memory:" && !/^file:.*[?&]mode=memory\b/.test(path);
}

/** A job's fields from the JSON object we keep them as; never throws. */
export function fieldsFrom(text: string): Record<string, string> {
  const fields = looseJson(text);
  if (!isJsonObject(fields)) return {};
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)]));
}
