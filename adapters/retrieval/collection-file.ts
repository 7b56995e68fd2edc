import { closeSync, existsSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import {
  type Failure,
  fail,
  ok,
  type Outcome,
  retryable,
  terminal,
} from "../../machines/contracts/domain/failure.ts";
import { prepareUnfinished } from "./unfinished.ts";

/*
 * One SQLite file a collection: what is counted for the ranking of words is its own, and it can be moved, copied or
 * deleted by itself. Of one file of the user's everything is replaced in one transaction: whoever reads meanwhile, or
 * after a crash, sees the old state of it or the new one.
 *
 *   about    one row. `made` is another in each new file and `revision` grows with each change, so that what a reader
 *            keeps in memory is known to be old. The model and dimensions of the vectors; none before the first file.
 *   files    what was read: its source (the name in results), its path, and the digest by which a change is known
 *   chunks   their text and place; `n` never comes twice
 *   vectors  the vector of each, as 32-bit floats of this machine's byte order; none where there is no model
 *   ingests  those that have not come to their end: see adapters/retrieval/unfinished.ts
 *   words    the words of each by FTS5, folded and parted as adapters/retrieval/words.ts does, without the text itself
 */
const version = 1;
const layout = `
CREATE TABLE about (
  made TEXT NOT NULL, revision INTEGER NOT NULL, model TEXT, dimensions INTEGER, changed_at INTEGER
) STRICT;
INSERT INTO about VALUES (lower(hex(randomblob(8))), 0, NULL, NULL, NULL);
CREATE TABLE files (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  source TEXT NOT NULL UNIQUE,
  path TEXT NOT NULL,
  kind TEXT NOT NULL,
  digest TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  chunks INTEGER NOT NULL
) STRICT;
CREATE TABLE chunks (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL,
  file INTEGER NOT NULL,
  headings TEXT NOT NULL,
  line INTEGER NOT NULL,
  end_line INTEGER NOT NULL,
  page INTEGER,
  content TEXT NOT NULL
) STRICT;
CREATE INDEX chunks_by_file ON chunks (file);
CREATE TABLE vectors (n INTEGER PRIMARY KEY, vector BLOB NOT NULL) STRICT;
CREATE VIRTUAL TABLE words USING fts5(
  head, body, content='', contentless_delete=1, tokenize='porter unicode61 remove_diacritics 0'
);
PRAGMA user_version = ${version};
`;

/** How long another process's transaction is waited for. */
const busyMs = 5_000;

/** What stands in a collection's file, as it is kept in `about`. */
export interface About {
  made: string;
  revision: number;
  model: string | null;
  dimensions: number | null;
  changedAt: number | null;
}

/**
 * Opens a collection's file, and makes it where it is missing, for this user alone: it holds copies of documents.
 *
 * @throws whatever SQLite or the file system says: see {@link fileFailure}
 */
export function openToWrite(path: string): DatabaseSync {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  // SQLite gives the files beside it the same rights.
  closeSync(openSync(path, "a", 0o600));
  const sql = new DatabaseSync(path, { timeout: busyMs });
  try {
    sql.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
    atOnce(sql, () => {
      if (layoutOf(sql) === 0) sql.exec(layout);
      prepareUnfinished(sql);
    });
    refuseLater(sql);
    return sql;
  } catch (error) {
    sql.close();
    throw error;
  }
}

/** Opens it to be read only; null where there is none. */
export function openToRead(path: string): DatabaseSync | null {
  if (!existsSync(path)) return null;
  const sql = new DatabaseSync(path, { readOnly: true, timeout: busyMs });
  try {
    refuseLater(sql);
    if (layoutOf(sql) > 0) return sql;
  } catch (error) {
    sql.close();
    throw error;
  }
  // Another process is about to make it.
  sql.close();
  return null;
}

export function readAbout(sql: DatabaseSync): About {
  const row = sql.prepare("SELECT * FROM about").get() ?? {};
  const numberOrNull = (value: unknown) => (value === null ? null : Number(value));
  return {
    made: String(row["made"]),
    revision: Number(row["revision"]),
    model: row["model"] === null ? null : String(row["model"]),
    dimensions: numberOrNull(row["dimensions"]),
    changedAt: numberOrNull(row["changed_at"]),
  };
}

/** Runs `work` alone among all processes; it writes everything or, when it throws, nothing. */
export function atOnce<T>(sql: DatabaseSync, work: () => T): T {
  sql.exec("BEGIN IMMEDIATE");
  try {
    const value = work();
    sql.exec("COMMIT");
    return value;
  } catch (error) {
    if (sql.isTransaction) sql.exec("ROLLBACK");
    throw error;
  }
}

function layoutOf(sql: DatabaseSync): number {
  return Number(sql.prepare("PRAGMA user_version").get()?.["user_version"]);
}

class LaterLayout extends Error {
  override readonly name = "LaterLayout";
}

function refuseLater(sql: DatabaseSync): void {
  const found = layoutOf(sql);
  if (found <= version) return;
  throw new LaterLayout(
    `it has layout ${found}, which a later version of stateplane wrote: update this one`,
  );
}

/** SQLite's primary result codes that a person can do something about. */
const fixes: Readonly<Record<number, string>> = {
  8: "can't be written: give this user the right to write it and its folder",
  10: "could not be read or written: look at the disk and the system's log",
  11: "is damaged: delete it and ingest the collection again",
  13: "could not be written, for its disk is full: free some space",
  14: "could not be opened: look at its folder and the rights to it",
  26: "is not a database, or its beginning is damaged: delete it and ingest the collection again",
};

/** What is wrong with a collection's file and what to do; null for an error of another kind. */
export function fileFailure(error: unknown, path: string): Failure | null {
  if (!(error instanceof Error)) return null;
  if (error instanceof LaterLayout) return terminal("unavailable", `${path}: ${error.message}`);
  const { errcode, code } = error as Error & { errcode?: number; code?: string };
  if (errcode === undefined) {
    // Of the folder.
    return typeof code === "string" && /^E[A-Z]+$/u.test(code)
      ? terminal(
          "unavailable",
          `${path} could not be made (${code}): look at its folder and the rights to it`,
        )
      : null;
  }
  const primary = errcode & 0xff;
  if (primary === 5 || primary === 6) {
    return retryable("unavailable", `${path} is locked by another process`);
  }
  const fix = fixes[primary];
  return fix === undefined ? null : terminal("unavailable", `${path} ${fix}`);
}

/** Runs `work`, and makes a failure of what is wrong with the file. */
export function withFile<T>(path: string, work: () => T): Outcome<T> {
  try {
    return ok(work());
  } catch (error) {
    const failure = fileFailure(error, path);
    if (failure === null) throw error;
    return fail(failure);
  }
}
