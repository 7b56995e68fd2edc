import { cutText } from "../text.ts";
import {
  type Unescaped,
  withoutBackslashes,
  withoutCssEscapes,
  withoutEntities,
  withoutJsonEscapes,
} from "./escapes.ts";
import { matchAt } from "./spans.ts";

/*
 * Where in a text an address stands that is followed: Markdown, HTML, styles, and JSON that has one of these in its
 * strings. Whoever shows the text may read it as any of them and may begin anywhere, so every place is tried: a tag in an
 * attribute of another one, in a comment and in a code block is a tag.
 *
 * The time is in proportion to the text all the same. Tags are read as the HTML standard says; two of them that come to
 * the beginning of the same attribute go on alike, so the second one stops there. A value in quotation marks ends at the
 * next one, which begins no other value of its kind; of what ends at the next blank that place is kept.
 */

/** An address, as whoever follows it reads it. */
export interface Target {
  /** From `start` up to `end` it is written. */
  start: number;
  end: number;
  address: string;
  /** `asked`: a person follows it; `loaded`: whoever shows the text does, unasked; `base`: the others begin with it. */
  use: "asked" | "loaded" | "base" | "set";
  /** Whether it goes on, and only its beginning was read. */
  isCut?: boolean;
}

export const linkAnchors: readonly string[] = [
  "](",
  "]:",
  ..."abcdefghijklmnopqrstuvwxyz".split("").map((letter) => `<${letter}`),
  "\\u003c",
  "url(",
  "@import",
  "image-set(",
];
const anchors = /\](?=[(:])|<(?=[a-z])|\\(?=u003c)|url(?=\()|@import|image-set(?=\()/giu;
const styleAnchors = /url(?=\()|@import|image-set(?=\()/giu;

/** Texts in texts in texts are read so deep. */
const deepest = 3;

/** Of an address that ends nowhere, so much is read; less where all of them together are longer than the text. */
const lengths = { usual: 600, least: 64 };

/** Reads the places of one text, in their order. */
export class LinkReader {
  readonly #text: string;
  readonly #visit: (target: Target) => void;
  readonly #depth: number;
  readonly #endOfName: EndsAt;
  readonly #endOfValue: EndsAt;
  readonly #endOfString: EndsAt;
  readonly #endOfAddress: EndsAt;
  readonly #brackets: Brackets;
  /** By where an attribute begins: for which kinds of tags it was read. */
  readonly #read = new Map<number, number>();
  #endOfStyle = 0;
  #endOfDocument = 0;
  /** Characters of addresses that may still be read. */
  #left: number;
  #isReadAsJson = false;

  constructor(text: string, visit: (target: Target) => void, depth = 0) {
    this.#text = text;
    this.#left = text.length + 10_000;
    this.#visit = visit;
    this.#depth = depth;
    this.#endOfName = new EndsAt(text, /[\s/>]/gu);
    this.#endOfValue = new EndsAt(text, /[\s>]/gu);
    this.#endOfString = new EndsAt(text, /"/gu);
    this.#endOfAddress = new EndsAt(text, /[\s)]/gu);
    this.#brackets = new Brackets(text);
  }

  /** @param at where one of the anchors stands; none before the last one that was given */
  readAt(at: number): void {
    const first = this.#text[at];
    if (first === "]") this.#readMarkdown(at);
    else if (first === "<") this.#readTag(at);
    else if (first === "\\") this.#readAsJson();
    else this.#readStyle(at);
  }

  /** Up to where an address is read that would end there. */
  #cut(from: number, end: number): number {
    const cut = Math.min(end, from + (this.#left > 0 ? lengths.usual : lengths.least));
    this.#left -= cut - from;
    return cut;
  }

  #readAll(): void {
    for (const { index } of this.#text.matchAll(anchors)) this.readAt(index);
  }

  /** The same places in what a part of the text means. */
  #readInside({ text, placeOf }: Unescaped, from: number): void {
    if (this.#depth >= deepest) return;
    const visit = (target: Target): void =>
      this.#visit({
        ...target,
        start: from + placeOf(target.start),
        end: from + placeOf(target.end),
      });
    new LinkReader(text, visit, this.#depth + 1).#readAll();
  }

  /** Where something would be a link if it were not written as a string of JSON. */
  #readAsJson(): void {
    if (this.#isReadAsJson) return;
    this.#isReadAsJson = true;
    this.#readInside(withoutJsonEscapes(this.#text), 0);
  }

  #readMarkdown(at: number): void {
    const text = this.#text;
    const isReference = text[at + 1] === ":";
    const isImage = isReference ? this.#brackets.hasImage() : this.#brackets.closeAt(at);
    const start = matchAt(/\s*/uy, text, at + 2)?.[0].length ?? 0;
    const from = at + 2 + start;
    if (jsonBlank.test(text.slice(from, from + 3))) return this.#readAsJson();
    const use = isImage ? "loaded" : "asked";
    if (text[from] === "<") {
      const inside = matchAt(/[^<>\n]*/uy, text, from + 1)?.[0] ?? "";
      return this.#tell(from + 1, from + 1 + inside.length, use, markdownAddress);
    }
    const last = this.#endOfAddress.after(from);
    const end = this.#cut(from, last);
    const written = text.slice(from, end);
    // Quotation marks end it where the text around is JSON or a program, but for those in front of the host.
    const quoted = /["'<>]/u.exec(written);
    const isWhole = quoted === null || /^[^/?#\\]*@/u.test(written.slice(quoted.index));
    const length = isWhole ? written.length : quoted.index;
    const escape = /\\+$/u.exec(written.slice(0, length))?.[0].length ?? 0;
    this.#tell(
      from,
      from + length - escape,
      use,
      markdownAddress,
      isWhole && end < last ? last : null,
    );
  }

  #tell(
    start: number,
    end: number,
    use: Target["use"],
    read: (written: string) => string,
    /** Where it would end, if only its beginning is read. */
    last: number | null = null,
  ): void {
    if (end <= start) return;
    const written = this.#text.slice(start, end);
    if (jsonEscape.test(written)) this.#readAsJson();
    const address = read(written);
    this.#give({ start, end: last ?? end, use, isCut: last !== null, address });
  }

  /** A text of JSON around it ends where a quotation mark stands, and is to be JSON afterwards. */
  #give(target: Target): void {
    const { start } = target;
    let end = Math.min(target.end, this.#endOfString.after(start));
    while (end > start && end < target.end && this.#text[end - 1] === "\\") end -= 1;
    this.#visit(end > start ? { ...target, end } : target);
  }

  #readTag(at: number): void {
    const text = this.#text;
    const nameEnd = this.#endOfName.after(at + 1);
    const name = text.slice(at + 1, Math.min(nameEnd, at + 64)).toLowerCase();
    if (jsonEscape.test(name)) return this.#readAsJson();
    const autolink = matchAt(/<[a-z][a-z\d+.-]{1,31}:[^\s<>]{1,2000}(?=>)/iuy, text, at);
    if (autolink !== null) this.#tell(at + 1, at + autolink[0].length, "asked", plainAddress);
    if (name === "style") this.#readStyleSheet(nameEnd);
    const kind = kindsOfTags.get(name) ?? 1;
    for (let next = nameEnd; ;) {
      while (next < text.length && /[\s/]/u.test(text.charAt(next))) next += 1;
      if (next >= text.length || text[next] === ">") return;
      const known = this.#read.get(next) ?? 0;
      if ((known & kind) === kind) return;
      this.#read.set(next, known | kind);
      next = this.#readAttribute(next, kind);
    }
  }

  /** @returns where it ends */
  #readAttribute(start: number, kind: number): number {
    const text = this.#text;
    const name = matchAt(/[\s\S][^\s/>=]*/uy, text, start)?.[0] ?? "";
    const nameEnd = start + name.length;
    const sign = matchAt(/\s*=\s*/uy, text, nameEnd)?.[0];
    if (sign === undefined) return nameEnd;
    const from = nameEnd + sign.length;
    // A string of JSON has its quotation marks escaped, and one in another string twice.
    const quote = matchAt(/\\{0,8}["']/uy, text, from)?.[0] ?? "";
    const begin = from + quote.length;
    if (quote.length > 1 || jsonEscape.test(name)) this.#readAsJson();
    const close = quote === "" ? this.#endOfValue.after(from) : text.indexOf(quote, begin);
    const end = close === -1 ? this.#cut(begin, text.length) : close;
    this.#readValue(name, begin, end, quote !== "", kind);
    return close === -1 ? text.length : end + quote.length;
  }

  #readValue(attribute: string, start: number, last: number, isQuoted: boolean, kind: number) {
    const name = cutText(attribute, 40).toLowerCase().replace(/^.*:/u, "");
    if (name === "srcdoc") {
      // Without quotation marks one value may begin in another, and both end at the same place.
      if (!isQuoted && last <= this.#endOfDocument) return;
      if (!isQuoted) this.#endOfDocument = last;
      this.#readInside(withoutEntities(this.#text.slice(start, last)), start);
      return;
    }
    const use = useOf(name, kind);
    if (use === null) return;
    const end = isQuoted ? last : this.#cut(start, last);
    if (!readers.has(name))
      return this.#tell(start, end, use, attributeAddress, end < last ? last : null);
    const written = this.#text.slice(start, end);
    if (jsonEscape.test(written)) this.#readAsJson();
    const value = attributeAddress(written);
    for (const address of readers.get(name)?.(value) ?? []) {
      this.#give({ start, end, address, use });
    }
  }

  #readStyle(at: number): void {
    const most = this.#left > 0 ? lengths.usual : lengths.least;
    const match = addressOfStyle(this.#text, at, most);
    if (match === null) return;
    this.#left -= match.end - match.start;
    this.#visit({ ...match, use: "loaded" });
  }

  /** What has no escapes in it is found anyway. */
  #readStyleSheet(from: number): void {
    if (from < this.#endOfStyle) return;
    const close = /<\/style/giu;
    close.lastIndex = from;
    const end = close.exec(this.#text)?.index ?? this.#text.length;
    this.#endOfStyle = end;
    const sheet = this.#text.slice(from, end);
    if (!sheet.includes("\\")) return;
    if (sheet.includes("\\\\")) this.#readAsJson();
    const { text, placeOf } = withoutCssEscapes(sheet);
    for (const { index } of text.matchAll(styleAnchors)) {
      const found = addressOfStyle(text, index);
      if (found === null) continue;
      const [start, last] = [from + placeOf(found.start), from + placeOf(found.end)];
      this.#visit({ start, end: last, address: found.address, use: "loaded" });
    }
  }
}

const jsonBlank = /^\\[nrtu]/u;
const jsonEscape = /\\["nrtu]/u;

const plainAddress = (written: string): string =>
  /\\u00/iu.test(written) ? withoutJsonEscapes(written).text : written;
const attributeAddress = (written: string): string =>
  written.includes("&") ? withoutEntities(plainAddress(written)).text : plainAddress(written);
const markdownAddress = (written: string): string => withoutBackslashes(attributeAddress(written));

/** Kinds of tags as bits: all of them, those whose `href` is loaded, the base, and what sends a reader on. */
const kindsOfTags = new Map<string, number>([
  ...["link", "image", "use", "feimage", "script", "svg:image", "svg:use"].map(
    (name): [string, number] => [name, 3],
  ),
  ["base", 5],
  ["meta", 9],
]);

const loaded = new Set(
  "src poster background data lowsrc dynsrc manifest codebase archive classid srcset imagesrcset style".split(
    " ",
  ),
);
const asked = new Set("href action formaction ping cite".split(" "));
/** What an animation sets an attribute to, which may be a link's. */
const set = new Set("to from by values".split(" "));

/** Of what is no address itself: those in it. */
const readers = new Map<string, (value: string) => string[]>([
  ...["srcset", "imagesrcset", "values", "ping"].map((name): [string, typeof listed] => [
    name,
    listed,
  ]),
  [
    "content",
    (value) => [/^[\s\d.]*[;,\s]\s*(?:url\s*=\s*)?["']?([\s\S]*)/iu.exec(value)?.[1] ?? ""],
  ],
  ["style", addressesOfStyle],
]);
function listed(value: string): string[] {
  return value.split(/[\s,;]+/u);
}

function useOf(attribute: string, kind: number): Target["use"] | null {
  if (loaded.has(attribute)) return "loaded";
  if (attribute === "content") return (kind & 8) === 0 ? null : "loaded";
  if (set.has(attribute)) return "set";
  if (!asked.has(attribute)) return null;
  if (attribute === "href" && (kind & 4) !== 0) return "base";
  return attribute === "href" && (kind & 2) !== 0 ? "loaded" : "asked";
}

/** The address after `url(`, `@import` or in `image-set(`. */
function addressOfStyle(
  text: string,
  at: number,
  most = lengths.usual,
): { start: number; end: number; address: string } | null {
  const opens =
    /(?:url\(|@import(?:\s|\/\*[^*]{0,200}\*\/)*(?:url\()?|image-set\((?:\s*url\()?)\s*(\\{0,8}["'])?/iuy;
  const open = matchAt(opens, text, at);
  if (open === null) return null;
  const start = at + open[0].length;
  const inside = open[1] === undefined ? /[^\s"'<>)]+/u : /[^"'\n]+/u;
  const read = inside.exec(text.slice(start, start + most));
  const written = read?.index === 0 ? read[0].replace(/\\+$/u, "") : "";
  if (written === "") return null;
  return { start, end: start + written.length, address: withoutCssEscapes(written).text };
}

function addressesOfStyle(style: string): string[] {
  const { text } = style.includes("\\") ? withoutCssEscapes(style) : { text: style };
  return [...text.matchAll(styleAnchors)].flatMap(
    ({ index }) => addressOfStyle(text, index)?.address ?? [],
  );
}

/** Where the next of some characters stands; asked again for a place before that, it does not look again. */
class EndsAt {
  readonly #text: string;
  readonly #pattern: RegExp;
  #from = 0;
  #end = -1;

  constructor(text: string, pattern: RegExp) {
    this.#text = text;
    this.#pattern = pattern;
  }

  after(from: number): number {
    if (from >= this.#from && from <= this.#end) return this.#end;
    this.#pattern.lastIndex = from;
    this.#from = from;
    this.#end = this.#pattern.exec(this.#text)?.index ?? this.#text.length;
    return this.#end;
  }
}

/**
 * Whether a link's bracket closes an image's description, `![…](`. A bracket in a description may be code or escaped, so
 * one that is open in the same paragraph is taken for the image's own.
 */
class Brackets {
  readonly #text: string;
  readonly #pattern = /\[|\](?=[([])|\n[ \t\r]*\n/gu;
  /** Of the brackets that are open: whether each is an image's. */
  #open: boolean[] = [];
  #images = 0;
  #hasImage: boolean | null = null;

  constructor(text: string) {
    this.#text = text;
  }

  hasImage(): boolean {
    this.#hasImage ??= this.#text.includes("![");
    return this.#hasImage;
  }

  closeAt(at: number): boolean {
    for (let match = this.#pattern.exec(this.#text); match !== null;) {
      const [found] = match;
      if (found.startsWith("]")) {
        const isImage = this.#images > 0;
        if (this.#open.pop() === true) this.#images -= 1;
        if (match.index >= at) return isImage;
      } else if (found.startsWith("\n")) {
        [this.#open, this.#images] = [[], 0];
      } else {
        const isImage = this.#text[match.index - 1] === "!";
        this.#open.push(isImage);
        if (isImage) this.#images += 1;
      }
      match = this.#pattern.exec(this.#text);
    }
    return false;
  }
}
