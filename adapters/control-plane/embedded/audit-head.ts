import { readFileSync } from "node:fs";
import { type } from "arktype";
import writeFileAtomic from "write-file-atomic";
import type { Log } from "../../../machines/contracts/ports/clock.ts";
import { looseJson } from "../../../machines/contracts/wire/record-text.ts";
import { type AuditHead, emptyHead } from "../audit-chain.ts";
import type { Audit } from "./audit.ts";

const shape = type({ count: "number.integer >= 0", hash: "string" });
const everyMs = 1_000;

/** The audit's head in a file beside the database: `control-plane.sqlite.audit-head`. */
export interface HeadFile {
  /** What the file says now; null where there is none. */
  read(): AuditHead | null;
  /** Writes the last head and ends the watch. */
  close(): Promise<void>;
}

/**
 * Keeps the file no more than a second behind the audit. A file that says more than the audit has, or another hash for
 * the same entry, is left as it is, and logged: it is the only witness of what was cut off.
 *
 * @param path the database's; nothing is kept of one in memory
 */
export function keepHeadFile(path: string, audit: Audit, log: Log): HeadFile {
  if (path === ":memory:") return { read: () => null, close: async () => {} };
  const file = `${path}.audit-head`;
  const read = (): AuditHead | null => {
    try {
      const said = shape(looseJson(readFileSync(file, "utf8")));
      // What can't be read fits no chain.
      return said instanceof type.errors ? { count: 1, hash: "" } : said;
    } catch (error) {
      const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
      return isMissing ? null : { count: 1, hash: "" };
    }
  };
  let written = read();
  if (written !== null && !fits(written, audit)) {
    const fix = "see: stateplane audit verify; once it is cleared up, remove the file";
    log.error({ file, ...written }, `the audit does not go on from where it was; ${fix}`);
    return { read, close: async () => {} };
  }
  const write = async () => {
    const head = audit.head();
    if (head.count === (written?.count ?? 0)) return;
    await writeFileAtomic(file, `${JSON.stringify(head)}\n`, { mode: 0o600 });
    written = head;
  };
  const safely = () =>
    write().catch((error: unknown) => log.error({ err: error, file }, "the file can't be written"));
  const timer = setInterval(() => void (writing = writing.then(safely)), everyMs).unref();
  let writing = safely();
  return {
    read,
    async close() {
      clearInterval(timer);
      await writing;
      await safely();
    },
  };
}

function fits({ count, hash }: AuditHead, audit: Audit): boolean {
  if (count === 0) return hash === emptyHead.hash;
  return audit.after(count - 1, 1)[0]?.hash === hash && audit.head().count >= count;
}
