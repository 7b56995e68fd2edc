import type { StepKey } from "../../machines/contracts/record.ts";
import { recordId, type RecordText } from "../../machines/contracts/record-text.ts";
import type { Database } from "./database.ts";

export interface StepRow {
  phase: string;
  fence: number;
  entry: string | null;
  job: string | null;
  snapshot: string | null;
  result: string | null;
  path: string | null;
  wake_at: number | null;
  news: number;
  expires_at: number | null;
}

export type StepRows = ReturnType<typeof prepareSteps>;

/** The statements over step records and their journals. None checks a lease: that is the store's. */
export function prepareSteps({ sql }: Database) {
  const find = sql.prepare("SELECT * FROM steps WHERE id = ?");
  const lines = sql.prepare("SELECT entry FROM journal WHERE step = ? ORDER BY position");
  const open = sql.prepare(`
    INSERT INTO steps (id, phase, fence, entry) VALUES (:id, 'open', 1, :entry)
    ON CONFLICT (id) DO UPDATE SET
      phase = iif(result IS NULL, 'open', 'recorded'),
      fence = fence + 1, entry = :entry, wake_at = NULL
    RETURNING fence`);
  const markNews = sql.prepare("UPDATE steps SET news = 1 WHERE id = ?");
  const remember = sql.prepare("UPDATE steps SET expires_at = ? WHERE id = ?");
  const append = sql.prepare(`
    INSERT INTO journal (step, position, entry)
    VALUES (:step, (SELECT coalesce(max(position), 0) + 1 FROM journal WHERE step = :step), :entry)`);
  const record = sql.prepare(
    "UPDATE steps SET phase = 'recorded', result = ?, path = ? WHERE id = ?",
  );
  const park = sql.prepare(`
    UPDATE steps SET phase = 'parked', job = :job, snapshot = :snapshot, path = :path,
      wake_at = :wakeAt, entry = NULL, news = 0
    WHERE id = :id`);
  const settle = sql.prepare(`
    UPDATE steps SET phase = 'reported', path = :path, expires_at = :expiresAt,
      entry = NULL, job = NULL, snapshot = NULL, result = NULL, wake_at = NULL, news = 0
    WHERE id = :id`);
  const forgetJournal = sql.prepare("DELETE FROM journal WHERE step = ?");
  const wake = sql.prepare(`
    UPDATE steps SET wake_at = NULL
    WHERE id IN (
      SELECT id FROM steps WHERE wake_at <= ? AND phase = 'parked' ORDER BY wake_at LIMIT ?)
    RETURNING job`);
  const expire = sql.prepare("DELETE FROM steps WHERE expires_at <= ?");

  return {
    find: (key: StepKey) => find.get(recordId(key)) as StepRow | undefined,
    journal: (key: StepKey) => lines.all(recordId(key)).map((row) => String(row["entry"])),
    /** Raises the fence, calls the timer off, and returns the fence. */
    open: (key: StepKey, entry: string) =>
      Number(open.get({ id: recordId(key), entry })?.["fence"]),
    markNews: (key: StepKey) => void markNews.run(recordId(key)),
    /** Until then a late duplicate is recognised. */
    remember: (key: StepKey, expiresAt: number) => void remember.run(expiresAt, recordId(key)),
    append(key: StepKey, entries: string[]) {
      for (const entry of entries) append.run({ step: recordId(key), entry });
    },
    record: (key: StepKey, result: string, path: string) =>
      void record.run(result, path, recordId(key)),
    park(
      key: StepKey,
      parts: { job: string; snapshot: string; path: string; wakeAt: number | null },
    ) {
      park.run({ id: recordId(key), ...parts });
    },
    settle(key: StepKey, path: string, expiresAt: number) {
      settle.run({ id: recordId(key), path, expiresAt });
      forgetJournal.run(recordId(key));
    },
    /** The envelopes of parked steps whose timers were due; each timer is gone with it. */
    wake: (now: number, limit: number) => wake.all(now, limit).map((row) => String(row["job"])),
    expire: (now: number) => void expire.run(now),
  };
}

/** The row as the text that every store's records are read from. */
export function toRecordText(row: StepRow): RecordText {
  const { phase, fence, job, snapshot, result, path, wake_at } = row;
  return {
    phase,
    fence: String(fence),
    job: job ?? "",
    snapshot: snapshot ?? "",
    result: result ?? "",
    path: path ?? "",
    wakeAt: wake_at === null ? "" : String(wake_at),
  };
}
