import type { InspectedActor } from "../../../machines/contracts/ports/inspection.ts";

/** What a worker tells of a step whose session ended, whether somebody looks or not. */
export interface StepNote {
  runId: string;
  stepId: string;
  /** Of the session's actor. */
  actorId: string;
  stepType: InspectedActor["stepType"];
  /** The states passed, over all sessions. */
  passed: readonly string[];
  /** How the session ended, and the step's outcome where it ended with it. */
  state: string;
  outcome: string;
}

/** The steps that are kept at most, and in a tenth of a second: of those that completed, and of the others. */
const most = 200;
const mostAtOnce = 20;

/**
 * What ended while nobody looked, or looked at others: the newest, and of a flood, of which nobody could look at each, some. One object a step
 * that is soon garbage costs nothing, and one that is kept for longer than a moment costs a step's worker several times
 * that; so of more than `mostAtOnce` in a tenth of a second each takes the place of the last, and the newest is always
 * there. What did not complete is what a person looks for, and gives its place to nobody but its like. The next session of a step that was not over takes nobody's place and keeps its own: without it the step would
 * be shown as it was before.
 */
export class Unwatched {
  /** By their number, which goes round. */
  readonly #kept = new Map<number, { nth: number; note: StepNote; at: number }>();
  /** The steps of which the last session that is shown was not their end. */
  readonly #unsettled = new Set<string>();
  #nth = 0;
  #isLastReplaceable = true;
  #tenth = 0;
  #completed = 0;
  #others = 0;
  #told = 0;

  /** @param at epoch milliseconds */
  keep(note: StepNote, at: number): void {
    const tenth = Math.floor(at / 100);
    if (tenth !== this.#tenth) this.#completed = this.#others = 0;
    this.#tenth = tenth;
    this.#told += 1;
    const isUsual = note.outcome === "completed";
    if (isUsual) this.#completed += 1;
    else this.#others += 1;
    const isOver = note.state === "settled";
    // Of most workers none is unsettled, and no key is made.
    const follows =
      this.#unsettled.size > 0 && this.#unsettled.delete(stepKey(note.runId, note.stepId));
    const isRoom = (isUsual ? this.#completed : this.#others) <= mostAtOnce;
    if (isRoom || follows || !this.#isLastReplaceable) this.#nth += 1;
    this.#isLastReplaceable = !follows && (isUsual || !isRoom);
    this.#kept.set(this.#nth % most, { nth: this.#nth, note, at });
    if (!isOver) this.expect(note);
  }

  /** The last session of a step that is shown was not its end: the next is kept. */
  expect({ runId, stepId }: { runId: string | null; stepId: string | null }): void {
    this.#unsettled.add(stepKey(runId, stepId));
    const [oldest = ""] = this.#unsettled;
    if (this.#unsettled.size > most) this.#unsettled.delete(oldest);
  }

  /** All of them, the oldest first, and how many there were besides; they are kept no longer. */
  takeAll(): { all: { note: StepNote; at: number }[]; unseen: number } {
    const all = [...this.#kept.values()].sort((one, other) => one.nth - other.nth);
    const unseen = this.#told - all.length;
    this.#kept.clear();
    this.#told = 0;
    return { all, unseen };
  }
}

export const stepKey = (runId: string | null, stepId: string | null): string =>
  `${runId ?? ""}/${stepId ?? ""}`;
