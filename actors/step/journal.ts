import type { JournalEntry } from "../../machines/contracts/journal.ts";
import type { Json } from "../../machines/contracts/json.ts";

/** A step's journal folded: what was begun, what was completed since, and with which grant. */
export class Journal {
  readonly #begun = new Set<string>();
  readonly #completed = new Map<string, Json>();
  readonly #grants = new Map<string, string>();

  constructor(entries: readonly JournalEntry[]) {
    for (const entry of entries) this.add(entry);
  }

  add(entry: JournalEntry): void {
    if (entry.event === "completed") {
      this.#completed.set(entry.effect, entry.result);
      return;
    }
    this.#begun.add(entry.effect);
    this.#completed.delete(entry.effect);
    if (entry.grant !== undefined) this.#grants.set(entry.grant, entry.effect);
  }

  isCompleted(effect: string): boolean {
    return this.#completed.has(effect);
  }

  result(effect: string): Json {
    return this.#completed.get(effect) ?? null;
  }

  /** Begun and not completed: it may have happened, or not. */
  isInDoubt(effect: string): boolean {
    return this.#begun.has(effect) && !this.#completed.has(effect);
  }

  /** The effect that spent the grant for this digest, if any did. */
  spentBy(digest: string): string | undefined {
    return this.#grants.get(digest);
  }
}
