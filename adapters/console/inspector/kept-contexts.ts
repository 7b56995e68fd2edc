import type { Entry } from "./entries.ts";
import { roughSize } from "./outline.ts";

const mostBytes = 32 * 1024 * 1024;
/** In a second. To know how large a context is costs as much as a fifth of a step. */
const mostWeighed = 100;

/**
 * What is kept of the contexts of what has ended: about `mostBytes` of them, the newest. Of more than `mostWeighed` a second
 * the others lose theirs at once; their states and events stay.
 */
export class KeptContexts {
  /** The oldest first. */
  readonly #kept: { entry: Entry; bytes: number }[] = [];
  #bytes = 0;
  #second = 0;
  #weighed = 0;

  keep(entry: Entry, now: number): void {
    const { moments } = entry;
    const last = moments.findLast(({ context }) => context !== undefined);
    if (last === undefined) return;
    const second = Math.floor(now / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      this.#weighed = 0;
    }
    this.#weighed += 1;
    if (this.#weighed > mostWeighed) return strip(entry);
    const bytes = roughSize(last.context) + roughSize(last.detail) + 200 * moments.length;
    this.#kept.push({ entry, bytes });
    this.#bytes += bytes;
    while (this.#bytes > mostBytes) this.#forgetOldest();
  }

  /** The entry itself is no longer kept; those go in the order in which they ended. */
  forget(entry: Entry): void {
    if (this.#kept[0]?.entry === entry) this.#forgetOldest();
  }

  #forgetOldest(): void {
    const oldest = this.#kept.shift();
    if (oldest === undefined) return;
    this.#bytes -= oldest.bytes;
    strip(oldest.entry);
  }
}

function strip({ moments }: Entry): void {
  for (const moment of moments) {
    moment.context = undefined;
    moment.detail = null;
  }
}
