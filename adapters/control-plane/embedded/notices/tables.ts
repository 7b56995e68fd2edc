import type { DatabaseSync } from "node:sqlite";

/** Why somebody is told of a question. */
export type NoticeKind = "approval.requested" | "approval.reminder" | "approval.handed_over";

/** What is to be told to one webhook, until it has been. */
export interface Notice {
  /** The same in every try: a receiver knows a repeat by it. */
  id: string;
  webhook: string;
  approvalId: string;
  kind: NoticeKind;
  /** Epoch milliseconds: not before. */
  due: number;
  /** Tries so far. */
  tries: number;
}

/** A link that was sent. Its token is nowhere; this is of its SHA-256. */
export interface SentLink {
  approvalId: string;
  webhook: string;
  /** Epoch milliseconds from which it opens nothing. */
  expiresAt: number;
}

const tables = `
CREATE TABLE IF NOT EXISTS notices (id TEXT PRIMARY KEY, webhook TEXT NOT NULL, approval TEXT NOT NULL,
  kind TEXT NOT NULL, due INTEGER NOT NULL, tries INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS notices_by_due ON notices (due);
CREATE INDEX IF NOT EXISTS notices_by_webhook ON notices (webhook, due);
CREATE TABLE IF NOT EXISTS approval_links (hash TEXT PRIMARY KEY, approval TEXT NOT NULL, webhook TEXT NOT NULL,
  expires INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS approval_links_by_expiry ON approval_links (expires);
`;

/** Made at each opening where they are missing: earlier versions read none of them. */
export function openNoticeTables(db: DatabaseSync) {
  db.exec(tables);
  const add = db.prepare(
    "INSERT INTO notices (id, webhook, approval, kind, due, tries) VALUES (?, ?, ?, ?, ?, 0)",
  );
  // One that was put off for longer than any pause was so by a clock that has been set back since.
  const due = db.prepare(
    `SELECT * FROM notices WHERE webhook = ? AND (due <= ? OR (tries > 0 AND due > ?)) ORDER BY due LIMIT ?`,
  );
  const webhooks = db.prepare("SELECT DISTINCT webhook FROM notices");
  const first = db.prepare("SELECT min(due) AS due FROM notices");
  const putOff = db.prepare("UPDATE notices SET due = ?, tries = tries + 1 WHERE id = ?");
  const drop = db.prepare("DELETE FROM notices WHERE id = ?");
  const dropOf = db.prepare("DELETE FROM notices WHERE approval = ?");
  const addLink = db.prepare(
    "INSERT INTO approval_links (hash, approval, webhook, expires) VALUES (?, ?, ?, ?)",
  );
  const linkBy = db.prepare("SELECT * FROM approval_links WHERE hash = ?");
  const dropLinks = db.prepare("DELETE FROM approval_links WHERE expires <= ?");
  return {
    add: ({ id, webhook, approvalId, kind, due: at }: Omit<Notice, "tries">): void =>
      void add.run(id, webhook, approvalId, kind, at),
    /** The earliest first. */
    due: (webhook: string, now: number, longestPause: number, limit: number): Notice[] =>
      due.all(webhook, now, now + longestPause, limit).map((row) => ({
        id: String(row["id"]),
        webhook: String(row["webhook"]),
        approvalId: String(row["approval"]),
        kind: row["kind"] as NoticeKind,
        due: Number(row["due"]),
        tries: Number(row["tries"]),
      })),
    /** To which there is something to be told. */
    webhooks: (): string[] => webhooks.all().map((row) => String(row["webhook"])),
    /** When the next one is due; null for none. */
    firstDue(): number | null {
      const at = first.get()?.["due"];
      return at === null || at === undefined ? null : Number(at);
    },
    /** After a try in vain. */
    putOff: (id: string, until: number): void => void putOff.run(until, id),
    drop: (id: string): void => void drop.run(id),
    dropOf: (approvalId: string): void => void dropOf.run(approvalId),
    addLink: (hash: string, { approvalId, webhook, expiresAt }: SentLink): void =>
      void addLink.run(hash, approvalId, webhook, expiresAt),
    link(hash: string): SentLink | undefined {
      const row = linkBy.get(hash);
      if (row === undefined) return undefined;
      return {
        approvalId: String(row["approval"]),
        webhook: String(row["webhook"]),
        expiresAt: Number(row["expires"]),
      };
    },
    dropLinks: (expiredBy: number): void => void dropLinks.run(expiredBy),
  };
}
