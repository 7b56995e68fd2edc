/**
 * What a server may send that nobody asked for: prints on its standard output, notifications, requests to us, answers to
 * nothing. Progress and log messages of usual servers are far below; a server that goes beyond does nothing else, and
 * what reading it costs is taken from all others. A message counts once, and once more for each thousand characters.
 */
const most = { atOnce: 20_000, perSecond: 2_000, characters: 1_000 };

/** Why a server is given up that sends more. */
export const floods = `sent more messages that nobody asked for than ${most.atOnce} and ${most.perSecond} a second`;

/** Counts what one connection sends unasked. */
export class Unasked {
  #left = most.atOnce;
  #since = performance.now();

  /** A message; false when it was too much. */
  take(characters: number): boolean {
    return this.#spend(1 + Math.floor(characters / most.characters));
  }

  /** Text of a stream, before anybody knows what it says; false when it was too much. */
  takeText(characters: number): boolean {
    return this.#spend(characters / most.characters);
  }

  /** Text that was taken turned out to be asked for. */
  giveBackText(characters: number): void {
    this.#left = Math.min(most.atOnce, this.#left + characters / most.characters);
  }

  #spend(units: number): boolean {
    this.#left -= units;
    if (this.#left >= 0) return true;
    const now = performance.now();
    const earned = ((now - this.#since) / 1_000) * most.perSecond;
    this.#since = now;
    this.#left = Math.min(most.atOnce, this.#left + earned);
    return this.#left >= 0;
  }
}
