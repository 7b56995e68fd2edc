/*
 * Texts in other texts are written with escapes: JSON in a text, a document in an attribute, a style. Whoever shows them
 * reads the escapes first, so what is looked for is looked for in what they will read.
 */

/** A text without one kind of its escapes. */
export interface Unescaped {
  text: string;
  /** Where the character that stands there now began in the text as it was written. */
  placeOf(at: number): number;
}

type Read = (escape: string, ...groups: (string | undefined)[]) => string;

function unescaped(written: string, escapes: RegExp, read: Read): Unescaped {
  const parts: string[] = [];
  /** Where the stretches without an escape begin, in the text that is made and in the one that was written. */
  const made: number[] = [0];
  const origins: number[] = [0];
  let length = 0;
  let from = 0;
  for (const match of written.matchAll(escapes)) {
    const [escape, ...groups] = match;
    const stretch = written.slice(from, match.index);
    const meant = read(escape, ...groups);
    parts.push(stretch, meant);
    made.push(length + stretch.length);
    origins.push(match.index);
    length += stretch.length + meant.length;
    from = match.index + escape.length;
    made.push(length);
    origins.push(from);
  }
  parts.push(written.slice(from));
  return {
    text: parts.join(""),
    placeOf(at) {
      let low = 0;
      for (let high = made.length; high - low > 1;) {
        const middle = (low + high) >>> 1;
        if ((made[middle] ?? 0) <= at) low = middle;
        else high = middle;
      }
      // Within an escape that stands for several characters, and after the last of them, its end.
      const place = (origins[low] ?? 0) + at - (made[low] ?? 0);
      return Math.min(place, origins[low + 1] ?? written.length);
    },
  };
}

const characterOf = (code: number): string =>
  code > 0 && code <= 0x10_ffff ? String.fromCodePoint(code) : "\ufffd";

/** The named entities of HTML that stand for ASCII; the others are a part of no scheme and of no allowed host. */
const entities = new Map(
  (
    "Tab:9 NewLine:10 excl:33 quot:34 QUOT:34 num:35 dollar:36 percnt:37 amp:38 AMP:38 apos:39 lpar:40 rpar:41 ast:42 " +
    "midast:42 plus:43 comma:44 period:46 sol:47 colon:58 semi:59 lt:60 LT:60 equals:61 gt:62 GT:62 quest:63 commat:64 " +
    "lsqb:91 lbrack:91 bsol:92 rsqb:93 rbrack:93 Hat:94 lowbar:95 UnderBar:95 grave:96 DiacriticalGrave:96 lcub:123 " +
    "lbrace:123 verbar:124 vert:124 VerticalLine:124 rcub:125 rbrace:125"
  )
    .split(" ")
    .map((one) => one.split(":"))
    .map(([name = "", code]) => [name, characterOf(Number(code))]),
);

const htmlEscapes = /&(?:#x([\da-f]+)|#(\d+)|([a-z]{2,16}));?/giu;

/** As HTML and Markdown read it. Names without a semicolon too, of which browsers know but a few. */
export const withoutEntities = (written: string): Unescaped =>
  unescaped(written, htmlEscapes, (escape, hex, decimal, name) => {
    if (name !== undefined) return entities.get(name) ?? (name === "fjlig" ? "fj" : escape);
    return characterOf(hex === undefined ? Number(decimal) : Number.parseInt(hex, 16));
  });

const jsonEscapes = /\\(?:u([\da-f]{4})|(["\\/bfnrt]))/giu;
const jsonLetters: Readonly<Record<string, string>> = {
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

/** As it stands in the value, where the text is JSON. */
export const withoutJsonEscapes = (written: string): Unescaped =>
  unescaped(written, jsonEscapes, (_, code, letter = "") =>
    code === undefined
      ? (jsonLetters[letter] ?? letter)
      : String.fromCharCode(Number.parseInt(code, 16)),
  );

const cssEscapes = /\\(?:([\da-f]{1,6})\s?|\r?\n|([^\n]))/giu;

export const withoutCssEscapes = (written: string): Unescaped =>
  unescaped(written, cssEscapes, (_, code, letter = "") =>
    code === undefined ? letter : characterOf(Number.parseInt(code, 16)),
  );

/** As the address of a link in Markdown is read: punctuation may stand after a backslash. */
export const withoutBackslashes = (written: string): string =>
  written.replaceAll(/\\(?=[!-/:-@[-`{-~])/gu, "");
