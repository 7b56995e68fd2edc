import { parseJob } from "../../machines/contracts/domain/job.ts";
import type {
  DeadLetter,
  NewDeadLetter,
  StepQueue,
} from "../../machines/contracts/ports/step-backend.ts";
import { looseJson, recordId } from "../../machines/contracts/wire/record-text.ts";
import { type Database, fieldsFrom } from "./database.ts";
import type { Entries } from "./step-queue.ts";

export type Letters = ReturnType<typeof prepareLetters>;

/** The dead letters, newest first; a letter's id is its row's number. */
export function prepareLetters({ sql }: Database) {
  const insert = sql.prepare(`
    INSERT INTO letters (fields, reason, state_history, snapshot, deliveries, at) VALUES (?, ?, ?, ?, ?, ?)`);
  const list = sql.prepare("SELECT * FROM letters ORDER BY n DESC LIMIT ?");
  const find = sql.prepare("SELECT * FROM letters WHERE n = ?");
  const remove = sql.prepare("DELETE FROM letters WHERE n = ?");
  const count = sql.prepare("SELECT count(*) AS letters FROM letters");

  return {
    add({ fields, reason, stateHistory, snapshot, deliveries, at }: NewDeadLetter): void {
      const texts = [JSON.stringify(stateHistory), JSON.stringify(snapshot ?? null)] as const;
      insert.run(JSON.stringify(fields), reason, ...texts, deliveries, at);
    },
    list: (limit: number): DeadLetter[] => list.all(limit).map(toLetter),
    find(id: string): DeadLetter | null {
      const row = find.get(id);
      return row === undefined ? null : toLetter(row);
    },
    remove: (id: string) => remove.run(id).changes === 1,
    count: () => Number(count.get()?.["letters"]),
  };
}

/** Puts a letter's job back on the stream, and forgets its step where that was reported. */
export function prepareRetry(
  { sql, alone }: Database,
  letters: Letters,
  entries: Entries,
): (id: string, now: number) => ReturnType<StepQueue["retryDeadLetter"]> {
  const forget = sql.prepare("DELETE FROM steps WHERE id = ? AND phase = 'reported'");
  return async (id, now) =>
    alone(() => {
      const letter = letters.find(id);
      if (letter === null || !letters.remove(id)) return false;
      entries.add(letter.fields, now);
      const parsed = parseJob(letter.fields);
      const { runId, stepId } = parsed.valid ? parsed.job : parsed.invalid;
      if (runId !== null && stepId !== null) forget.run(recordId({ runId, stepId }));
      return true;
    });
}

function toLetter(row: Record<string, unknown>): DeadLetter {
  const text = (name: string) => String(row[name]);
  const stateHistory = looseJson(text("state_history"));
  return {
    id: text("n"),
    fields: fieldsFrom(text("fields")),
    reason: text("reason"),
    lastTrouble: null,
    journal: [],
    result: null,
    stateHistory: Array.isArray(stateHistory)
      ? stateHistory.filter((state) => typeof state === "string")
      : [],
    snapshot: looseJson(text("snapshot")),
    deliveries: Number(row["deliveries"]),
    at: Number(row["at"]),
  };
}
