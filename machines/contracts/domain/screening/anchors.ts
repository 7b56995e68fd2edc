/**
 * Finds many short literals in one pass over a text. Each rule of the screening has one that it can't do without (`sk-`,
 * `://`, `password`), and its pattern is tried only where that stands: a text without any of them costs one look at each
 * character, however many rules there are.
 *
 * A place is looked at in three steps, each rarer than the one before it: the first two characters by a table, one in
 * twelve of ordinary prose; the third one by a bit (a character's last five bits, which are the same for both cases of a
 * letter), one in seventy; and then the whole anchor, character by character. The first two steps never pass an anchor by.
 *
 * ASCII letters match in either case, and a blank matches a tab and a line's end too; whether that matters is for the
 * pattern to say.
 */
export class AnchorScanner<T> {
  /** By the first two characters: which of `#lists` may begin there. 0 for none. */
  readonly #pairs: Uint16Array;
  /** How far the first character is moved before the second one is laid over it. */
  readonly #shift: number;
  /** By one ASCII character: the same for anchors of a single character. */
  readonly #singles = new Uint16Array(128);
  readonly #lists: Anchored<T>[][] = [[]];
  /** Of each list: the bits of the third characters that its anchors have. */
  readonly #thirds: Uint32Array;
  readonly #hasSingles: boolean;

  constructor(anchored: readonly (readonly [anchor: string, item: T])[]) {
    let hasSingles = false;
    // A step's own secrets are a few: with many steps alive a large table for each would be the most of their memory.
    const isSmall = anchored.length <= 100;
    this.#pairs = new Uint16Array(isSmall ? 4_096 : 65_536);
    this.#shift = isSmall ? 5 : 8;
    const pairOf = (first: number, second: number): number =>
      ((first << this.#shift) ^ second) & (this.#pairs.length - 1);
    for (const [anchor, item] of anchored) {
      const codes = Array.from({ length: anchor.length }, (_, at) => folded(anchor, at));
      const [first = 0, second] = codes;
      const one = { codes, item };
      if (second === undefined) {
        hasSingles = true;
        for (const code of bothCases(first)) this.#add(this.#singles, code, one);
      } else {
        const places = bothCases(first).flatMap((a) => bothCases(second).map((b) => pairOf(a, b)));
        for (const place of new Set(places)) this.#add(this.#pairs, place, one);
      }
    }
    this.#hasSingles = hasSingles;
    this.#thirds = Uint32Array.from(this.#lists, thirdBits);
  }

  #add(table: Uint16Array, place: number, one: Anchored<T>): void {
    const known = table[place] ?? 0;
    if (known > 0) this.#lists[known]?.push(one);
    else {
      table[place] = this.#lists.length;
      this.#lists.push([one]);
    }
  }

  /** Tells of each place where an anchor stands, in order. */
  scan(text: string, visit: (item: T, at: number) => void): void {
    const { length } = text;
    let pair = this.#next(text, 0);
    let single = this.#hasSingles ? this.#nextSingle(text, 0) : length;
    while (pair < length || single < length) {
      const at = Math.min(pair, single);
      if (pair === at) {
        this.#tell(this.#listAt(text, at), text, at, visit);
        pair = this.#next(text, at + 1);
      }
      if (single === at) {
        this.#tell(this.#singles[text.charCodeAt(at)] as number, text, at, visit);
        single = this.#nextSingle(text, at + 1);
      }
    }
  }

  #listAt(text: string, at: number): number {
    const pair = (text.charCodeAt(at) << this.#shift) ^ text.charCodeAt(at + 1);
    return this.#pairs[pair & (this.#pairs.length - 1)] as number;
  }

  /** Where the first three characters of an anchor may stand next. It calls nothing: this is where the time is spent. */
  #next(text: string, from: number): number {
    const pairs = this.#pairs;
    const thirds = this.#thirds;
    const shift = this.#shift;
    const mask = pairs.length - 1;
    const last = text.length - 1;
    if (from >= last) return text.length;
    let first = text.charCodeAt(from);
    for (let at = from; at < last; at += 1) {
      const second = text.charCodeAt(at + 1);
      const list = pairs[((first << shift) ^ second) & mask] as number;
      if (list !== 0) {
        const third = at + 2 <= last ? text.charCodeAt(at + 2) : 0;
        if (((thirds[list] as number) & (1 << (third & 31))) !== 0) return at;
      }
      first = second;
    }
    return text.length;
  }

  /** The same for anchors of a single character. */
  #nextSingle(text: string, from: number): number {
    const singles = this.#singles;
    const { length } = text;
    let before = from === 0 ? 0 : text.charCodeAt(from - 1);
    for (let at = from; at < length; at += 1) {
      const code = text.charCodeAt(at);
      // Of digits in a row only the first one counts: a number begins there or nowhere.
      const isOne = code < 128 && (singles[code] as number) !== 0;
      if (isOne && !(isDigit(code) && isDigit(before))) return at;
      before = code;
    }
    return length;
  }

  #tell(list: number, text: string, at: number, visit: (item: T, at: number) => void): void {
    for (const { codes, item } of this.#lists[list] as Anchored<T>[]) {
      if (at + codes.length > text.length) continue;
      let same = 0;
      while (same < codes.length && folded(text, at + same) === codes[same]) same += 1;
      if (same === codes.length) visit(item, at);
    }
  }
}

interface Anchored<T> {
  /** Of the anchor's characters, in lower case. */
  codes: readonly number[];
  item: T;
}

const bothCases = (code: number): number[] => {
  if (code === 32) return [32, 9, 10, 13];
  return code >= 97 && code <= 122 ? [code, code - 32] : [code];
};

/** All of them where an anchor has no third character. */
const thirdBits = <T>(anchored: readonly Anchored<T>[]): number =>
  anchored.reduce((bits, { codes: [, , third] }) => {
    if (third === undefined) return -1;
    return bothCases(third).reduce((all, code) => all | (1 << (code & 31)), bits);
  }, 0);

const isDigit = (code: number): boolean => code >= 48 && code <= 57;

function folded(text: string, at: number): number {
  const code = text.charCodeAt(at);
  if (code >= 65 && code <= 90) return code + 32;
  return code === 10 || code === 9 || code === 13 ? 32 : code;
}
