import { closeSync, existsSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { StoreError, StoreUnreachable } from "../../machines/contracts/domain/errors.ts";
import { isJsonObject } from "../../machines/contracts/domain/json.ts";
import { looseJson } from "../../machines/contracts/wire/record-text.ts";
import { prepareSchema } from "./schema.ts";

/**
 * How long SQLite itself waits for another process's transaction, in milliseconds. It stops the event loop meanwhile,
 * so it is short: what takes longer is waited for outside.
 */
const busyMs = 20;
/** How long a move waits for the file in all, and how often it looks. */
const patienceMs = 10_000;
const lookAgainMs = 25;

export interface Database {
  sql: DatabaseSync;
  /**
   * Runs `work` alone among all processes; it writes everything or, when it throws, nothing. While another process has
   * the file it waits without holding up this one.
   *
   * @param durable whether it is on the disk when this resolves
   */
  alone<T>(work: () => T, durable?: boolean): Promise<T>;
  /** As {@link alone}, for a look that needs no transaction. */
  look<T>(work: () => T): Promise<T>;
}

/**
 * Opens the database, creating it and its folder where they are missing.
 *
 * @throws StoreUnreachable when the file can't be opened, or a newer version wrote it
 */
export async function openDatabase(path: string): Promise<Database> {
  try {
    if (isFile(path)) {
      makeFolder(dirname(path));
      // Created for its owner alone: journals hold prompts and what tools read.
      closeSync(openSync(path, "a", 0o600));
    }
    const sql = new DatabaseSync(path, { timeout: busyMs });
    try {
      await waiting(() => {
        // NORMAL: a killed process loses nothing; a power cut may lose the last moments that were not asked to be durable.
        sql.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
        inTransaction(sql, () => prepareSchema(sql, path));
      });
    } catch (error) {
      sql.close();
      throw error;
    }
    return {
      sql,
      look: (work) => waiting(work),
      alone: (work, durable = false) =>
        waiting(() => {
          if (!durable) return inTransaction(sql, work);
          sql.exec("PRAGMA synchronous = FULL");
          try {
            return inTransaction(sql, work);
          } finally {
            sql.exec("PRAGMA synchronous = NORMAL");
          }
        }),
    };
  } catch (error) {
    if (error instanceof StoreUnreachable) throw error;
    throw new StoreUnreachable(path, error instanceof Error ? error.message : String(error));
  }
}

/** Node's own way (`recursive`) never ends where a system answers ENOENT for a folder whose parent is there. */
function makeFolder(path: string): void {
  if (existsSync(path)) return;
  if (dirname(path) !== path) makeFolder(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Another process may have been faster.
    if (!existsSync(path)) throw error;
  }
}

function inTransaction<T>(sql: DatabaseSync, work: () => T): T {
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

async function waiting<T>(work: () => T): Promise<T> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    try {
      return work();
    } catch (error) {
      if (!isBusy(error) || performance.now() > deadline) throw error;
    }
    await sleep(lookAgainMs);
  }
}

/** SQLite's primary result codes (https://www.sqlite.org/rescode.html), as far as they say whose trouble it is. */
const busyCodes = new Set([5, 6]);
// PERM, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, AUTH, NOTADB
const ourCodes = new Set([3, 8, 10, 11, 13, 14, 23, 26]);
// ERROR (malformed JSON), TOOBIG, CONSTRAINT, MISMATCH
const stepCodes = new Set([1, 18, 19, 20]);

/**
 * Makes a {@link StoreError} of whatever a verb threw.
 *
 * @param about whose data the verb touches
 */
export function toStoreError(error: unknown, about: "queue" | "step"): StoreError {
  const message = error instanceof Error ? error.message : String(error);
  const code = resultCode(error);
  const isUnserialisable =
    error instanceof RangeError || (error instanceof TypeError && !("code" in error));
  if (code !== null && ourCodes.has(code)) return new StoreError("ours", message, error);
  const isOfStep = isUnserialisable || (code !== null && stepCodes.has(code));
  return new StoreError(isOfStep && about === "step" ? "step" : "passing", message, error);
}

function isBusy(error: unknown): boolean {
  return busyCodes.has(resultCode(error) ?? 0);
}

/** The primary code: the low byte of an extended one. */
function resultCode(error: unknown): number | null {
  const code: unknown = error instanceof Error && "errcode" in error ? error.errcode : null;
  return typeof code === "number" ? code & 0xff : null;
}

/** False for databases in memory: `:memory:`, or shared in this process: `file:name?mode=memory&cache=shared`. */
export function isFile(path: string): boolean {
  return path !== ":memory:" && !/^file:.*[?&]mode=memory\b/.test(path);
}

/** A job's fields from the JSON object we keep them as; never throws. */
export function fieldsFrom(text: string | null): Record<string, string> {
  const fields = looseJson(text);
  if (!isJsonObject(fields)) return {};
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)]));
}
