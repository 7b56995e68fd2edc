import { ulid } from "ulid";
import { parseJob } from "../../machines/contracts/domain/job.ts";
import type { StepKey } from "../../machines/contracts/domain/record.ts";
import type { DeadLetter, NewDeadLetter } from "../../machines/contracts/ports/step-backend.ts";
import {
  causesOf,
  looseJson,
  readJournalLine,
  whatRetryKeeps,
} from "../../machines/contracts/wire/record-text.ts";
import { type Database, fieldsFrom } from "./database.ts";

export type Letters = ReturnType<typeof prepareLetters>;

/** What a letter keeps of its step; texts as the step's own tables have them. */
export interface KeptOfStep {
  fence: number;
  result: string | null;
  journal: string[];
}

/** The dead letters, newest first; a letter's id says nothing of the others. Of more than `most` the oldest are dropped. */
export function prepareLetters({ sql }: Database, most: number) {
  const insert = sql.prepare(`
    INSERT INTO letters (entry, fields, reason, state_history, snapshot, deliveries, at, fence, result, journal, id)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
  const list = sql.prepare("SELECT * FROM letters ORDER BY n DESC LIMIT ?");
  const find = sql.prepare("SELECT * FROM letters WHERE id = ?");
  const findByEntry = sql.prepare("SELECT n FROM letters WHERE entry = ? ORDER BY n DESC");
  const remove = sql.prepare("DELETE FROM letters WHERE id = ?");
  const count = sql.prepare("SELECT count(*) AS letters FROM letters");
  const trim = sql.prepare(
    "DELETE FROM letters WHERE n <= (SELECT n FROM letters ORDER BY n DESC LIMIT 1 OFFSET ?)",
  );
  const addDropped = sql.prepare(`
    INSERT INTO counts (name, value) VALUES ('dropped letters', :dropped)
    ON CONFLICT (name) DO UPDATE SET value = value + :dropped`);
  const dropped = sql.prepare("SELECT value FROM counts WHERE name = 'dropped letters'");

  return {
    add(entryId: string, letter: NewDeadLetter, kept: KeptOfStep): void {
      const { fields, reason, stateHistory, snapshot, deliveries, at } = letter;
      const job = [entryId, JSON.stringify(fields), reason];
      const texts = [JSON.stringify(stateHistory), JSON.stringify(snapshot ?? null)];
      const step = [kept.fence, kept.result, JSON.stringify(kept.journal)];
      insert.run(...job, ...texts, deliveries, at, ...step, `dl_${ulid()}`);
      const gone = Number(trim.run(most).changes);
      if (gone > 0) addDropped.run({ dropped: gone });
    },
    list: (limit: number): DeadLetter[] => list.all(limit).map(toLetter),
    find(id: string): DeadLetter | null {
      const row = find.get(id);
      return row === undefined ? null : toLetter(row);
    },
    /** What a retry puts back of the step; see {@link whatRetryKeeps}. */
    retried(id: string): KeptOfStep {
      const row = find.get(id) ?? {};
      const { result, lines } = whatRetryKeeps(
        String(row["result"] ?? ""),
        linesOf(row["journal"]),
      );
      return { fence: Number(row["fence"]), result: result || null, journal: lines };
    },
    /** Whether the entry has become a letter. */
    hasEntry: (entryId: string) => findByEntry.get(entryId) !== undefined,
    remove: (id: string) => remove.run(id).changes === 1,
    count: () => Number(count.get()?.["letters"]),
    dropped: () => Number(dropped.get()?.["value"] ?? 0),
  };
}

/** The step that a job is about; null where it does not say so readably. */
export function stepOf(fields: Record<string, string>): StepKey | null {
  const parsed = parseJob(fields);
  const { runId, stepId } = parsed.valid ? parsed.job : parsed.invalid;
  return runId === null || stepId === null ? null : { runId, stepId };
}

function toLetter(row: Record<string, unknown>): DeadLetter {
  const text = (name: string) => String(row[name]);
  const stateHistory = looseJson(text("state_history"));
  const journal = linesOf(row["journal"]).map(readJournalLine);
  return {
    id: text("id"),
    fields: fieldsFrom(text("fields")),
    ...causesOf(text("reason"), journal),
    stateHistory: Array.isArray(stateHistory)
      ? stateHistory.filter((state) => typeof state === "string")
      : [],
    snapshot: looseJson(text("snapshot")),
    journal,
    result: row["result"] === null ? null : looseJson(text("result")),
    deliveries: Number(row["deliveries"]),
    at: Number(row["at"]),
  };
}

function linesOf(text: unknown): string[] {
  const lines = looseJson(String(text ?? ""));
  return Array.isArray(lines) ? lines.filter((line) => typeof line === "string") : [];
}
