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

interface Folded {
  begun: Set<string>;
  completed: Map<string, Json>;
  unsafe: Set<string>;
  /** Begun again while an earlier try was in doubt: whatever came of the last one, the first may have happened. */
  repeated: Set<string>;
  /** What effects that are begun and not completed hold, and what was held by tries whose end nobody knows. */
  held: Map<string, Held>;
  cut: Held[];
  grants: Map<string, string>;
  times: Map<string, EffectTimes>;
}

const nothingFolded = (): Folded => ({
  begun: new Set(),
  completed: new Map(),
  unsafe: new Set(),
  repeated: new Set(),
  held: new Map(),
  cut: [],
  grants: new Map(),
  times: new Map(),
});

/** Of every journal that has no entries. Never added to. */
const empty = nothingFolded();

/** A step's journal folded: what was begun, what was completed since, and with which grant. */
export class Journal {
  /** Made with the first entry: most steps write none, and seven collections for each were a fifteenth of their garbage. */
  #folded: Folded = empty;
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
    if (this.#folded === empty) this.#folded = nothingFolded();
    this.#time(entry);
    if (entry.event === "completed") {
      this.#folded.completed.set(entry.effect, entry.result);
      this.#folded.held.delete(entry.effect);
      return;
    }
    if (this.isUnsafeInDoubt(entry.effect)) this.#folded.repeated.add(entry.effect);
    const cut = this.#folded.held.get(entry.effect);
    if (cut !== undefined) this.#folded.cut.push(cut);
    if (entry.holds === undefined) this.#folded.held.delete(entry.effect);
    else this.#folded.held.set(entry.effect, entry.holds);
    this.#folded.begun.add(entry.effect);
    if (entry.unsafe === true) this.#folded.unsafe.add(entry.effect);
    this.#folded.completed.delete(entry.effect);
    if (entry.grant !== undefined) this.#folded.grants.set(entry.grant, entry.effect);
  }

  #time(entry: Exclude<JournalEntry, { event: "abandoned" }>): void {
    const { effect: name, at } = entry;
    const known = this.#folded.times.get(name) ?? { name, begunAt: null, completedAt: null };
    if (!this.#folded.times.has(name) && this.#folded.times.size >= mostTimed) return;
    if (entry.event === "begun") {
      this.#folded.times.set(name, { ...known, begunAt: at });
      return;
    }
    const { name: what, used, begunAt = known.begunAt } = entry;
    const told = {
      ...(what === undefined ? {} : { what }),
      ...(used === undefined ? {} : { used }),
    };
    this.#folded.times.set(name, { ...known, ...told, begunAt, completedAt: at });
  }

  /** When its first effects were begun and completed, in their order. */
  times(): EffectTimes[] {
    return [...this.#folded.times.values()];
  }

  /** What is known of an effect; where nothing is, of those that were done on its way, under `<effect>/…`. */
  recall(effect: string): Recalled {
    if (this.isInDoubt(effect)) return this.#folded.unsafe.has(effect) ? "in-doubt" : "begun";
    if (!this.isCompleted(effect)) {
      const isOnTheWay = (other: string) => other.startsWith(`${effect}/`) && this.isInDoubt(other);
      return [...this.#folded.unsafe].some(isOnTheWay) ? "in-doubt" : "nothing";
    }
    // A failure that may pass is known not to have happened: it is tried again.
    const { failure } = (this.result(effect) ?? {}) as { failure?: Failure };
    if (failure?.retryable !== true) return "completed";
    return this.#folded.repeated.has(effect) ? "unrepeated" : "nothing";
  }

  /** The effects that are completed. */
  completed(): string[] {
    return [...this.#folded.completed.keys()];
  }

  isCompleted(effect: string): boolean {
    return this.#folded.completed.has(effect);
  }

  result(effect: string): Json {
    return this.#folded.completed.get(effect) ?? null;
  }

  /** Begun and not completed: it may have happened, or not. */
  isInDoubt(effect: string): boolean {
    return this.#folded.begun.has(effect) && !this.#folded.completed.has(effect);
  }

  /** Begun as what must not be repeated unasked, and not completed. */
  isUnsafeInDoubt(effect: string): boolean {
    return this.isInDoubt(effect) && this.#folded.unsafe.has(effect);
  }

  /** What tries held that were begun and whose end is not known: it may all have been used. */
  held(): Held[] {
    return [...this.#folded.cut, ...this.#folded.held.values()];
  }

  /** The names of all effects that may have happened, or not. */
  inDoubt(): string[] {
    const doubts = [...this.#folded.begun].filter((effect) => !this.#folded.completed.has(effect));
    return doubts.map((effect) => effect.split("#")[0] ?? effect);
  }

  /** The effect that spent the grant for this digest, if any did. */
  spentBy(digest: string): string | undefined {
    return this.#folded.grants.get(digest);
  }
}
