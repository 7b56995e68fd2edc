import { setTimeout } from "node:timers/promises";
import { backup, DatabaseSync } from "node:sqlite";
import { openWorkflowTables } from "./workflows/tables.ts";
import { openAudit } from "./audit.ts";
import { openNoticeTables } from "./notices/tables.ts";
import { openDatabase } from "./layout.ts";
import { openSpending } from "./spending.ts";
import { openRows, type Rows } from "./rows.ts";

export type Store = ReturnType<typeof openStore>;

/**
 * The control plane's state in one SQLite file, which one process at a time may hold. Everything is
 * synchronous, so a transaction is never interleaved with another.
 *
 * @param path a file, created with its folder when absent, or `:memory:`
 * @throws Error when another process holds the file, or a later version of us wrote it
 */
export function openStore(path: string) {
  const db = openDatabase(path);

  const audit = openAudit(db);
  const spending = openSpending(db);
  const rowsOf = openRows(db, audit, spending);
  const tenants = new Map<string, Rows>();

  const addToOutbox = db.prepare("INSERT INTO outbox (data) VALUES (?)");
  const firstInOutbox = db.prepare("SELECT seq, data FROM outbox ORDER BY seq LIMIT ?");
  const dropFromOutbox = db.prepare("DELETE FROM outbox WHERE seq = ?");

  const guarded = <T>(begin: string, work: () => T, end: string, undo: string): T => {
    db.exec(begin);
    try {
      const result = work();
      db.exec(end);
      return result;
    } catch (error) {
      // Some errors, a full disk among them, have undone everything already.
      if (db.isTransaction) db.exec(undo);
      throw error;
    }
  };

  return {
    /** All or nothing, and on disk when it returns: an exception undoes everything. */
    transaction: <T>(work: () => T): T => guarded("BEGIN IMMEDIATE", work, "COMMIT", "ROLLBACK"),
    /** The same within a transaction: an exception undoes this part alone. */
    nested: <T>(work: () => T): T =>
      guarded("SAVEPOINT part", work, "RELEASE part", "ROLLBACK TO part; RELEASE part"),
    ...rowsOf(null),
    /** The rows of one tenant. */
    of(tenantId: string): Rows {
      const known = tenants.get(tenantId) ?? rowsOf(tenantId);
      tenants.set(tenantId, known);
      return known;
    },
    audit,
    spent: spending,
    /** How far each run of a workflow is. */
    progress: openWorkflowTables(db),
    notices: openNoticeTables(db),
    outbox: {
      add: (data: string): void => void addToOutbox.run(data),
      /** Fewer where they are long: the first, and those that come within a bound with it. */
      first(limit: number) {
        const entries: { seq: number; data: string }[] = [];
        let length = 0;
        for (const row of firstInOutbox.iterate(limit)) {
          const data = String(row["data"]);
          length += data.length;
          if (entries.length > 0 && length > mostInBatch) break;
          entries.push({ seq: Number(row["seq"]), data });
        }
        return entries;
      },
      /** Not waiting for the disk: what comes back after a power cut is published twice, which is allowed. */
      drop(seqs: number[]): void {
        db.exec("PRAGMA synchronous = NORMAL");
        try {
          guarded(
            "BEGIN",
            () => seqs.forEach((seq) => dropFromOutbox.run(seq)),
            "COMMIT",
            "ROLLBACK",
          );
        } finally {
          db.exec("PRAGMA synchronous = FULL");
        }
      },
    },
    /** A whole copy in a file of its own, as of one moment, while everything goes on. */
    async backup(to: string): Promise<void> {
      await copyWhole(db, to);
      const copy = new DatabaseSync(to);
      try {
        // One file, that needs no other beside it.
        copy.exec("PRAGMA journal_mode = DELETE");
        const found = String(copy.prepare("PRAGMA quick_check(1)").get()?.["quick_check"]);
        if (found !== "ok") throw new Error(`the copy is damaged: ${found}`);
      } finally {
        copy.close();
      }
    },
    close: (): void => db.close(),
  };
}

/** Characters of jobs that are in memory at a time to be published. */
const mostInBatch = 8 * 1024 * 1024;

/** 16 MiB: many enough that a copy outruns what is written meanwhile, few enough that nobody waits long for a step. */
const pagesAStep = 4_096;

/**
 * The copy is made beside this thread, and Node gives up with SQLite's "not an error" (code 0) where a transaction is
 * open at the moment of its first step; at any later one it waits. So it begins again until it finds a gap.
 */
async function copyWhole(db: DatabaseSync, to: string): Promise<void> {
  const until = performance.now() + 60_000;
  for (;;) {
    try {
      await backup(db, to, { rate: pagesAStep });
      return;
    } catch (error) {
      const isHeldUp = error instanceof Error && "errcode" in error && error.errcode === 0;
      if (!isHeldUp || performance.now() > until) throw error;
      await setTimeout(5);
    }
  }
}
