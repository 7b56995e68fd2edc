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

/** Milliseconds before a stream is opened again: after the first that brought nothing, and at most. */
const streamPause = { least: 250, most: 60_000 };

/** What a server sends over one connection, however many streams it is spread over. */
export class Traffic {
  readonly unasked = new Unasked();
  readonly #waiting = new Set<unknown>();
  readonly #giveUp: (reason: string) => void;
  #empty = 0;

  constructor(giveUp: (reason: string) => void) {
    this.#giveUp = giveUp;
  }

  /** A request goes out, and may be answered once. */
  asks(id: unknown): void {
    this.#waiting.add(id);
  }

  /** Whether an answer with this id is to a request of ours that waits for it. */
  answers(id: unknown): boolean {
    return this.#waiting.delete(id);
  }

  /** A stream brought a message. */
  brought(): void {
    this.#empty = 0;
  }

  /** Milliseconds before a stream that ended is opened again, whatever the server wants; longer while none brings anything. */
  pauseMs(wantedMs: number): number {
    const least = Math.min(streamPause.least * 2 ** Math.min(this.#empty, 20), streamPause.most);
    this.#empty += 1;
    return Math.max(wantedMs, least);
  }

  giveUp(reason: string): void {
    this.#giveUp(reason);
  }
}
