import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import type { StepKey } from "../../machines/contracts/domain/record.ts";
import { recordId } from "../../machines/contracts/wire/record-text.ts";
import { parseJob } from "../../machines/contracts/domain/job.ts";

type Row = Record<string, SQLInputValue>;
type Contents = Map<string, Row[]>;

/** The store's tables behind the workers' backs: what operators, disks and failovers do to a store. */
export class SharedDatabase {
  readonly #sql: DatabaseSync;

  constructor(path: string) {
    this.#sql = new DatabaseSync(path);
  }

  /** Everything in it, to be put back by {@link restore}. */
  copy(): Contents {
    return new Map(
      this.#tables().map((table) => [
        table,
        this.#sql.prepare(`SELECT * FROM "${table}"`).all() as Row[],
      ]),
    );
  }

  restore(contents: Contents): void {
    this.#sql.exec("BEGIN IMMEDIATE");
    for (const table of this.#tables()) {
      this.#sql.exec(`DELETE FROM "${table}"`);
      for (const row of contents.get(table) ?? []) {
        const names = Object.keys(row);
        const places = names.map(() => "?").join(", ");
        this.#sql
          .prepare(`INSERT INTO "${table}" (${names.join(", ")}) VALUES (${places})`)
          .run(...Object.values(row));
      }
    }
    this.#sql.exec("COMMIT");
  }

  /** The entries of a step vanish from the stream; false when it has none there. */
  removeEntries(stepId: string, isOwned: boolean): boolean {
    const found = this.#entries().filter(
      (entry) => entry.stepId === stepId && (!isOwned || entry.owner !== null),
    );
    const remove = this.#sql.prepare("DELETE FROM entries WHERE n = ?");
    for (const { n } of found) remove.run(n);
    return found.length > 0;
  }

  forgetJournal(step: StepKey): void {
    this.#sql.prepare("DELETE FROM journal WHERE step = ?").run(recordId(step));
    this.#sql.prepare("UPDATE steps SET result = NULL WHERE id = ?").run(recordId(step));
  }

  /** No timer looks any more whether the entries of open steps are still there. */
  forgetOpenJobs(): void {
    this.#sql.exec("UPDATE steps SET look_at = NULL WHERE phase = 'open'");
  }

  close(): void {
    this.#sql.close();
  }

  #entries(): { n: number; owner: string | null; stepId: string | null }[] {
    const rows = this.#sql.prepare("SELECT n, owner, fields FROM entries").all();
    return rows.map(({ n, owner, fields }) => {
      const parsed = parseJob(JSON.parse(String(fields)) as Record<string, string>);
      const { stepId } = parsed.valid ? parsed.job : parsed.invalid;
      return { n: Number(n), owner: owner === null ? null : String(owner), stepId };
    });
  }

  #tables(): string[] {
    // The counters of AUTOINCREMENT are left alone: an entry's id never comes twice.
    const tables =
      "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    return this.#sql
      .prepare(tables)
      .all()
      .map(({ name }) => String(name));
  }
}
