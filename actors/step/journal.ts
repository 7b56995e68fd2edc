import type { Failure } from "../../machines/contracts/domain/failure.ts";
import type { Json } from "../../machines/contracts/domain/json.ts";
import type { EffectTimes } from "../../machines/contracts/ports/control-plane.ts";
import type { Held, JournalEntry } from "../../machines/contracts/domain/record.ts";

/**
 * What a journal has of an effect: nothing, that it was begun and may be made again, that it was begun and must not be
 * made again unasked, that its repetition was allowed and is known not to have happened, or its outcome.
 */
export type Recalled = "nothing" | "begun" | "in-doubt" | "unrepeated" | "completed";

/** A loop of a thousand calls need not be told whole. */
const mostTimed = 100;

/** A step's journal folded: what was begun, what was completed since, and with which grant. */
export class Journal {
  readonly #begun = new Set<string>();
  readonly #completed = new Map<string, Json>();
  readonly #unsafe = new Set<string>();
  /** Begun again while an earlier try was in doubt: whatever came of the last one, the first may have happened. */
  readonly #repeated = new Set<string>();
  /** What effects that are begun and not completed hold, and what was held by tries whose end nobody knows. */
  readonly #held = new Map<string, Held>();
  readonly #cut: Held[] = [];
  readonly #grants = new Map<string, string>();
  readonly #times = new Map<string, EffectTimes>();
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
    this.#time(entry);
    if (entry.event === "completed") {
      this.#completed.set(entry.effect, entry.result);
      this.#held.delete(entry.effect);
      return;
    }
    if (this.isUnsafeInDoubt(entry.effect)) this.#repeated.add(entry.effect);
    const cut = this.#held.get(entry.effect);
    if (cut !== undefined) this.#cut.push(cut);
    if (entry.holds === undefined) this.#held.delete(entry.effect);
    else this.#held.set(entry.effect, entry.holds);
    this.#begun.add(entry.effect);
    if (entry.unsafe === true) this.#unsafe.add(entry.effect);
    this.#completed.delete(entry.effect);
    if (entry.grant !== undefined) this.#grants.set(entry.grant, entry.effect);
  }

  #time(entry: Exclude<JournalEntry, { event: "abandoned" }>): void {
    const { effect: name, at } = entry;
    const known = this.#times.get(name) ?? { name, begunAt: null, completedAt: null };
    if (!this.#times.has(name) && this.#times.size >= mostTimed) return;
    if (entry.event === "begun") {
      this.#times.set(name, { ...known, begunAt: at });
      return;
    }
    const { name: what, used, begunAt = known.begunAt } = entry;
    const told = {
      ...(what === undefined ? {} : { what }),
      ...(used === undefined ? {} : { used }),
    };
    this.#times.set(name, { ...known, ...told, begunAt, completedAt: at });
  }

  /** When its first effects were begun and completed, in their order. */
  times(): EffectTimes[] {
    return [...this.#times.values()];
  }

  /** What is known of an effect; where nothing is, of those that were done on its way, under `<effect>/…`. */
  recall(effect: string): Recalled {
    if (this.isInDoubt(effect)) return this.#unsafe.has(effect) ? "in-doubt" : "begun";
    if (!this.isCompleted(effect)) {
      const isOnTheWay = (other: string) => other.startsWith(`${effect}/`) && this.isInDoubt(other);
      return [...this.#unsafe].some(isOnTheWay) ? "in-doubt" : "nothing";
    }
    // A failure that may pass is known not to have happened: it is tried again.
    const { failure } = (this.result(effect) ?? {}) as { failure?: Failure };
    if (failure?.retryable !== true) return "completed";
    return this.#repeated.has(effect) ? "unrepeated" : "nothing";
  }

  /** The effects that are completed. */
  completed(): string[] {
    return [...this.#completed.keys()];
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

  /** Begun as what must not be repeated unasked, and not completed. */
  isUnsafeInDoubt(effect: string): boolean {
    return this.isInDoubt(effect) && this.#unsafe.has(effect);
  }

  /** What tries held that were begun and whose end is not known: it may all have been used. */
  held(): Held[] {
    return [...this.#cut, ...this.#held.values()];
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
