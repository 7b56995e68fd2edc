import type { DatabaseSync } from "node:sqlite";
import { StoreUnreachable } from "../../machines/contracts/domain/errors.ts";

/** The layout below; the file keeps it as `user_version`. */
const version = 4;

/**
 * `entries` is the stream and its group in one: an entry without an owner is new, one with is pending. `n` never comes
 * twice. `delivered_at` is on the machine's own clock, which no setting of the time moves: see step-queue.ts.
 *
 * A step's `job` is the fields of the entry that it first came with, or the envelope it was parked with. `look_at` is
 * its place in the timers: when it wakes, and while it is open when its lease could be over. `wake_at` is only what
 * was asked for.
 *
 * A letter's `id` is what it is called by: its number would tell each tenant how many there are in all.
 *
 * A journal line's `identity` is the entry's own, so that one that is written again is known.
 */
const layout = `
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
  expires_at INTEGER,
  look_at INTEGER,
  lease_ms INTEGER NOT NULL DEFAULT 30000
) STRICT;
CREATE INDEX IF NOT EXISTS steps_by_look ON steps (look_at) WHERE look_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS steps_by_expiry ON steps (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS journal (
  step TEXT NOT NULL,
  position INTEGER NOT NULL,
  entry TEXT NOT NULL,
  identity TEXT,
  PRIMARY KEY (step, position)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS journal_by_identity ON journal (step, identity);

CREATE TABLE IF NOT EXISTS letters (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  fields TEXT NOT NULL,
  reason TEXT NOT NULL,
  state_history TEXT NOT NULL,
  snapshot TEXT NOT NULL,
  deliveries INTEGER NOT NULL,
  at INTEGER NOT NULL,
  entry TEXT,
  fence INTEGER NOT NULL DEFAULT 0,
  result TEXT,
  journal TEXT NOT NULL DEFAULT '[]',
  id TEXT
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS letters_by_id ON letters (id);

CREATE TABLE IF NOT EXISTS tool_pins (server TEXT PRIMARY KEY, pin TEXT NOT NULL) STRICT;

CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
PRAGMA user_version = ${version};
`;

/**
 * Makes the tables, or brings those of an earlier version to today's layout, in the caller's transaction.
 *
 * @throws StoreUnreachable for a file that a newer version wrote
 */
export function prepareSchema(sql: DatabaseSync, path: string): void {
  const found = Number(sql.prepare("PRAGMA user_version").get()?.["user_version"]);
  if (found === version) return;
  if (found > version) {
    const known = `this version of stateplane reads layout ${version}`;
    const advice = "update stateplane, or move the file away to begin with an empty one";
    throw new StoreUnreachable(path, `it has layout ${found}, and ${known}: ${advice}`);
  }
  // The second layout is the third without its own table.
  if (found < 2 && columns(sql, "steps").has("phase")) fromFirstLayout(sql);
  // Those that are there keep their numbers, by which people may know them.
  if (columns(sql, "letters").has("n"))
    sql.exec("ALTER TABLE letters ADD COLUMN id TEXT; UPDATE letters SET id = CAST(n AS TEXT)");
  sql.exec(layout);
}

/** Before layouts had numbers; some columns had other names for a while. */
function fromFirstLayout(sql: DatabaseSync): void {
  rename(sql, "steps", "news", "wake_pending");
  rename(sql, "steps", "path", "state_history");
  rename(sql, "letters", "path", "state_history");
  sql.exec(`
    ALTER TABLE steps ADD COLUMN look_at INTEGER;
    ALTER TABLE steps ADD COLUMN lease_ms INTEGER NOT NULL DEFAULT 30000;
    UPDATE steps SET look_at = iif(phase = 'parked', wake_at, NULL);
    UPDATE steps SET job = json_object('data', job) WHERE job IS NOT NULL;
    DROP INDEX IF EXISTS steps_by_time;
    ALTER TABLE journal ADD COLUMN identity TEXT;
    ALTER TABLE letters ADD COLUMN entry TEXT;
    ALTER TABLE letters ADD COLUMN fence INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE letters ADD COLUMN result TEXT;
    ALTER TABLE letters ADD COLUMN journal TEXT NOT NULL DEFAULT '[]';`);
}

function rename(sql: DatabaseSync, table: string, from: string, to: string): void {
  if (columns(sql, table).has(from)) {
    sql.exec(`ALTER TABLE ${table} RENAME COLUMN ${from} TO ${to}`);
  }
}

function columns(sql: DatabaseSync, table: string): Set<string> {
  const rows = sql.prepare("SELECT name FROM pragma_table_info(?)").all(table);
  return new Set(rows.map((row) => String(row["name"])));
}
