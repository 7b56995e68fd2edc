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

/** The steps that are kept at most, and of them in a tenth of a second. */
const most = 200;
const mostAtOnce = 20;

/**
 * What ended while nobody looked: the newest, and of a flood, of which nobody could look at each, some. One object a step
 * that is soon garbage costs nothing, and one that is kept for longer than a moment costs a step's worker several times
 * that; so of more than `mostAtOnce` in a tenth of a second each takes the place of the last, and the newest is always
 * there. The next session of a step that was not over takes nobody's place and keeps its own: without it the step would
 * be shown as it was before.
 */
export class Unwatched {
  /** By their number, which goes round. */
  readonly #kept = new Map<number, { nth: number; note: StepNote; at: number }>();
  /** The steps of which the last session that was kept was not their end. */
  readonly #unsettled = new Set<string>();
  #nth = 0;
  #isLastReplaceable = true;
  #tenth = 0;
  #inTenth = 0;

  /** @param at epoch milliseconds */
  keep(note: StepNote, at: number): void {
    const tenth = Math.floor(at / 100);
    if (tenth !== this.#tenth) this.#inTenth = 0;
    this.#tenth = tenth;
    this.#inTenth += 1;
    const isOver = note.state === "settled";
    const key = () => stepKey(note.runId, note.stepId);
    // Of most workers none is unsettled, and no key is made.
    const follows = this.#unsettled.size > 0 && this.#unsettled.delete(key());
    const isRoom = this.#inTenth <= mostAtOnce;
    if (isRoom || follows || !this.#isLastReplaceable) this.#nth += 1;
    this.#isLastReplaceable = !follows;
    this.#kept.set(this.#nth % most, { nth: this.#nth, note, at });
    if (isOver) return;
    this.#unsettled.add(key());
    const [oldest = ""] = this.#unsettled;
    if (this.#unsettled.size > most) this.#unsettled.delete(oldest);
  }

  /** All of them, the oldest first; they are kept no longer. */
  takeAll(): { note: StepNote; at: number }[] {
    const all = [...this.#kept.values()].sort((one, other) => one.nth - other.nth);
    this.#kept.clear();
    this.#unsettled.clear();
    return all;
  }
}

export const stepKey = (runId: string | null, stepId: string | null): string =>
  `${runId ?? ""}/${stepId ?? ""}`;
