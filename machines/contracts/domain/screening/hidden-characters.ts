import { cutText } from "../text.ts";
import { noSpans, type Span } from "./spans.ts";

/**
 * Characters without a picture of their own, controls but tabs and line ends. A joiner between letters that need it, and
 * one variation selector after a picture, are as they should be.
 */
const invisible =
  /(?![\u200c\u200d]|\p{Variation_Selector})\p{Default_Ignorable_Code_Point}|\p{Variation_Selector}{2,}|(?<=\p{ASCII})[\u200c\u200d]|[\u200c\u200d](?=\p{ASCII})|(?![\t\n\r])\p{Cc}/gu;

/** Letters that are easily taken for Latin ones, each before the one it looks like. */
const pairs =
  "АA ВB ЕE ЅS ІI ЈJ КK МM НH ОO РP СC ТT УY ХX ԌG ԜW аa еe оo рp сc уy хx ѕs іi јj һh ԁd ԛq ԝw ӏl ьb " +
  "ΑA ΒB ΕE ΖZ ΗH ΙI ΚK ΜM ΝN ΟO ΡP ΤT ΥY ΧX αa οo ρp νv ιi κk υu հh օo սu ոn ցg ɑa ɡg ıi ɩi ⅼl";
const looksLike = new Map(pairs.split(" ").map((pair) => [pair.charAt(0), pair.charAt(1)]));
const lookAlikes = new RegExp(`[${[...looksLike.keys()].join("")}]`, "gu");

/** Anything that a text of plain characters does not have: such a text is not looked at twice. */
const unusual = /[^\t\n\r\u0020-\u007e]/u;
export const isPlain = (text: string): boolean => !unusual.test(text);

/** How many characters of a text nobody sees, and the first few of them, `U+200B`. */
export function hiddenIn(text: string): { count: number; codes: string[] } {
  if (isPlain(text)) return { count: 0, codes: [] };
  const hidden = text.match(invisible) ?? [];
  const codes = [...new Set(hidden.flatMap((match) => [...match]))].slice(0, 3).map(codeOf);
  return { count: hidden.length, codes };
}

/** As a model reads it: without what is hidden, letters of any form as the usual ones, on one line. */
export function asRead(text: string, most = Number.POSITIVE_INFINITY): string {
  const usual = (decomposed: string): string =>
    decomposed
      .replaceAll(/\p{M}/gu, "")
      .replaceAll(lookAlikes, (letter) => looksLike.get(letter) ?? letter);
  const read = isPlain(text)
    ? cutText(text, most)
    : usual(cutText(text.replaceAll(invisible, "").normalize("NFKD"), most));
  return read.replaceAll(/\s+/gu, " ");
}

/**
 * Characters in which a message can be hidden from people and not from a model: tags (U+E0000), directions of writing,
 * blanks without width, controls. Flags of parts of countries are written in tags, after a black flag; a byte order mark
 * at the beginning, and marks that languages written from right to left need, are no message.
 */
const smuggled =
  /(?<!\u{1f3f4}[\u{e0020}-\u{e007e}]{0,8})[\u{e0000}-\u{e007f}]|[\u{e0100}-\u{e01ef}]{2,}|[\u202a-\u202e\u2066-\u2069]|[\u200b\u2060-\u2064\u180e\u115f\u1160\u3164\uffa0]|(?<!^)\ufeff|(?<=\p{ASCII})[\u200c\u200d]|[\u200c\u200d](?=\p{ASCII})/gu;

/** The text without characters in which a message can be hidden, and how many those were. */
export function removeHidden(text: string): { text: string; removed: number } {
  if (isPlain(text)) return { text, removed: 0 };
  const clear = text.replaceAll(smuggled, "");
  return { text: clear, removed: [...text.matchAll(smuggled)].length };
}

/**
 * Controls but tabs, line ends and form feeds; a terminal obeys them. Colours (`ESC [ 31 m`) change nothing but what is
 * seen, and are in what most programs print.
 */
const controls = /(?![\t\n\f\r])\p{Cc}/gu;
/** The same written as ranges and without the flag `u`, in which it is read four times as fast. */
// oxlint-disable-next-line no-control-regex, require-unicode-regexp
const anyControl = /[\0-\x08\x0b\x0e-\x1f\x7f-\x9f]/;
const colour = /^\[[\d;]{0,20}m/u;

/** Where controls stand that a terminal or a page would obey. */
export function controlsIn(text: string): readonly Span[] {
  if (!anyControl.test(text)) return noSpans;
  return [...text.matchAll(controls)].flatMap(({ index, 0: found }): Span[] => {
    const end = index + found.length;
    const isColour = found === "\u001b" && colour.test(text.slice(end, end + 22));
    return isColour ? [] : [{ start: index, end, kind: "control-character" }];
  });
}

const codeOf = (character: string): string =>
  `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
