import { cutText } from "../../machines/contracts/domain/text.ts";

/**
 * Where something stands in a foreign value, told only where somebody reads it. A text of the way to every part would
 * multiply the value's own keys by its parts: one key of a megabyte over thousands of short texts is gigabytes.
 */
export interface Place {
  /** Null at the top. */
  within: Place | null;
  key: string;
}

/** Characters of a way that are shown, and of one key in it. */
const most = { pointer: 300, key: 100 };

/**
 * An RFC 6901 pointer: a key that looks like a way of several keys can't be taken for one. Where it is long, keys are cut
 * and the way's own beginning is left out, each by `…`.
 */
export function pointerTo(place: Place | null): string {
  let pointer = "";
  for (let at = place; at !== null; at = at.within) {
    const { key } = at;
    const shown = key.length > most.key ? `${cutText(key, most.key)}…` : cutText(key, most.key);
    const step = `/${shown.replaceAll("~", "~0").replaceAll("/", "~1")}`;
    if (pointer.length + step.length > most.pointer) return `…${pointer}`;
    pointer = step + pointer;
  }
  return pointer;
}
