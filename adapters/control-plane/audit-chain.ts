import { createHash } from "node:crypto";
import type { Json } from "../../machines/contracts/domain/json.ts";

/*
 * The audit is a chain: each entry's hash is taken over its own fields and the hash of the entry before. So no entry can
 * be changed, left out, added between or moved without every later hash being another one. What a chain alone can't show
 * is that its end was cut off: for that the head, how many entries there are and the last one's hash, is kept in a row of
 * its own, in a file beside the database, and wherever a person notes it down.
 *
 * Whoever may write database and file alike can make a whole chain anew. Only a head that is noted down elsewhere shows
 * that.
 */
export interface AuditEntry {
  /** From 1, without a gap. */
  seq: number;
  id: string;
  run_id: string | null;
  by: string | null;
  event: string;
  details: Json;
  created_at: string;
}

export interface AuditHead {
  count: number;
  hash: string;
}

/** Before the first entry. */
export const emptyHead: AuditHead = { count: 0, hash: "0".repeat(64) };

/** SHA-256, in hex, of the hash before and the entry's fields in this order, as JSON. */
export function linkHash(before: string, entry: AuditEntry): string {
  const { seq, id, run_id, by, event, details, created_at } = entry;
  const fields = JSON.stringify([seq, id, run_id, by, event, details, created_at]);
  return createHash("sha256").update(`${before}\n${fields}`).digest("hex");
}

/** Checks a chain entry by entry, from its beginning. */
export interface ChainCheck {
  /** What is wrong with this entry as the next one; null for nothing. */
  take(entry: AuditEntry & { hash: string }): string | null;
  /** What is wrong with the whole, once its last entry was taken. */
  end(): string | null;
  readonly head: AuditHead;
}

/**
 * @param last the chain's head, as it is kept beside the entries
 * @param noted heads of earlier, which the chain must have passed through
 */
export function checkChain(last: AuditHead, noted: readonly AuditHead[]): ChainCheck {
  let head = emptyHead;
  return {
    get head() {
      return head;
    },
    take(entry) {
      const expected = head.count + 1;
      if (entry.seq !== expected) {
        return `entry ${expected} is missing: entry ${entry.seq} comes after ${head.count}`;
      }
      const hash = linkHash(head.hash, entry);
      if (hash !== entry.hash) {
        return `entry ${entry.seq} (${entry.event}, ${entry.created_at}) was changed, or one before it: its hash does not fit`;
      }
      head = { count: entry.seq, hash };
      const isOther = noted.some((known) => known.count === head.count && known.hash !== hash);
      if (!isOther) return null;
      return `entry ${entry.seq} is not the one that was noted down: the chain was made anew`;
    },
    end() {
      const cut = noted.find(({ count }) => count > head.count) ?? last;
      if (cut.count > head.count) {
        return `the end was cut off: there are ${head.count} entries, and there were ${cut.count}`;
      }
      if (last.count === head.count && last.hash === head.hash) return null;
      return `the head that is kept beside the entries says ${last.count} of them, and there are ${head.count}`;
    },
  };
}
