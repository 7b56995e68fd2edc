import type { DatabaseSync } from "node:sqlite";
import { type AuditEntry, type AuditHead, emptyHead, linkHash } from "../audit-chain.ts";
import { isJsonObject, type JsonObject } from "../../../machines/contracts/domain/json.ts";
import { looseJson } from "../../../machines/contracts/wire/record-text.ts";
import type { AuditEvent } from "./documents.ts";

/** The tables of the chain; the head is a row of its own, so that a cut shows. */
const tables = `
CREATE TABLE audit_chain (seq INTEGER PRIMARY KEY, doc TEXT NOT NULL, hash TEXT NOT NULL,
  run TEXT AS (doc ->> 'run_id'));
CREATE INDEX audit_chain_by_run ON audit_chain (run, seq);
CREATE TABLE audit_head (one INTEGER PRIMARY KEY CHECK (one = 1), count INTEGER NOT NULL, hash TEXT NOT NULL);
CREATE TRIGGER audit_never_changes BEFORE UPDATE ON audit_chain
  BEGIN SELECT RAISE(ABORT, 'the audit is only added to'); END;
CREATE TRIGGER audit_never_shrinks BEFORE DELETE ON audit_chain
  BEGIN SELECT RAISE(ABORT, 'the audit is only added to'); END;
`;

/** The events of the layout before had no chain: they get theirs as they are found. */
export function chainAudit(db: DatabaseSync): void {
  db.exec(tables);
  const chain = openAudit(db);
  for (const row of db.prepare("SELECT doc FROM audit ORDER BY rowid").iterate()) {
    chain.append(readDoc<AuditEvent>(row));
  }
  db.exec("DROP TABLE audit");
}

export type KeptEntry = AuditEntry & { hash: string };

export interface Audit {
  /** In the caller's transaction. */
  append(event: AuditEvent): void;
  head(): AuditHead;
  /** Oldest first; what is there, checked or not. */
  after(seq: number, limit: number): KeptEntry[];
  ofRun(runId: string, limit: number, offset: number): KeptEntry[];
}

export function openAudit(db: DatabaseSync): Audit {
  const add = db.prepare("INSERT INTO audit_chain (seq, doc, hash) VALUES (?, ?, ?)");
  const readHead = db.prepare("SELECT count, hash FROM audit_head");
  const keepHead = db.prepare(
    "INSERT INTO audit_head VALUES (1, ?, ?) ON CONFLICT (one) DO UPDATE SET count = excluded.count, hash = excluded.hash",
  );
  const after = db.prepare(
    "SELECT seq, doc, hash FROM audit_chain WHERE seq > ? ORDER BY seq LIMIT ?",
  );
  const ofRun = db.prepare(
    "SELECT seq, doc, hash FROM audit_chain WHERE run = ? ORDER BY seq LIMIT ? OFFSET ?",
  );
  const head = (): AuditHead => {
    const row = readHead.get();
    return row === undefined
      ? emptyHead
      : { count: Number(row["count"]), hash: String(row["hash"]) };
  };
  return {
    head,
    append({ id, runId, by = null, event, details, at }) {
      const before = head();
      const seq = before.count + 1;
      const created_at = new Date(at).toISOString();
      const entry: AuditEntry = { seq, id, run_id: runId, by, event, details, created_at };
      const hash = linkHash(before.hash, entry);
      add.run(seq, JSON.stringify(entry), hash);
      keepHead.run(seq, hash);
    },
    after: (seq, limit) => after.all(seq, limit).map(toEntry),
    ofRun: (runId, limit, offset) => ofRun.all(runId, limit, offset).map(toEntry),
  };
}

/** What is no JSON any more has no fields, and so no hash that fits. */
function readDoc<T>(row: Record<string, unknown>): T {
  const read = looseJson(String(row["doc"]));
  return (isJsonObject(read) ? read : {}) as T;
}

/** Field by field: whatever was done to the row, it is told as it stands, for the chain's check to judge. */
function toEntry(row: Record<string, unknown>): KeptEntry {
  const doc = readDoc<Partial<AuditEntry>>(row);
  return {
    seq: Number(row["seq"]),
    id: String(doc.id),
    run_id: doc.run_id ?? null,
    by: doc.by ?? null,
    event: String(doc.event),
    details: (doc.details ?? {}) as JsonObject,
    created_at: String(doc.created_at),
    hash: String(row["hash"]),
  };
}
