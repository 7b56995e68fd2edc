import type { Failure } from "../../machines/contracts/domain/failure.ts";
import type { Json } from "../../machines/contracts/domain/json.ts";
import type { JournalEntry } from "../../machines/contracts/domain/record.ts";

/** A step's journal folded: what was begun, what was completed since, and with which grant. */
export class Journal {
  readonly #begun = new Set<string>();
  readonly #completed = new Map<string, Json>();
  readonly #grants = new Map<string, string>();
  /** Why the first attempt that was given up was given up; null where none was. */
  firstTrouble: string | null = null;

  constructor(entries: readonly JournalEntry[]) {
    for (const entry of entries) this.add(entry);
  }

  add(entry: JournalEntry): void {
    if (entry.event === "abandoned") {
      this.firstTrouble ??= entry.message;
      return;
    }
    if (entry.event === "completed") {
      this.#completed.set(entry.effect, entry.result);
      return;
    }
    this.#begun.add(entry.effect);
    this.#completed.delete(entry.effect);
    if (entry.grant !== undefined) this.#grants.set(entry.grant, entry.effect);
  }

  /** What is known of an effect. */
  recall(effect: string): "nothing" | "begun" | "completed" {
    if (!this.isCompleted(effect)) return this.#begun.has(effect) ? "begun" : "nothing";
    // A failure that may pass is known not to have happened: it is tried again.
    const { failure } = (this.result(effect) ?? {}) as { failure?: Failure };
    return failure?.retryable === true ? "nothing" : "completed";
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

  /** The names of all effects that may have happened, or not. */
  inDoubt(): string[] {
    const doubts = [...this.#begun].filter((effect) => !this.#completed.has(effect));
    return doubts.map((effect) => effect.split("#")[0] ?? effect);
  }

  /** The effect that spent the grant for this digest, if any did. */
  spentBy(digest: string): string | undefined {
    return this.#grants.get(digest);
  }
}
