import { AnchorScanner } from "./anchors.ts";
import { asRead, isPlain, removeHidden } from "./hidden-characters.ts";
import { once } from "../once.ts";
import { type InjectionRule, injectionRules } from "./injection-rules.ts";

/** From here on a text is flagged. */
export const flaggedFrom = 0.5;

export interface InjectionFound {
  /** 0 for nothing, 1 at most. */
  score: number;
  /** What of it, each way once. */
  kinds: string[];
}

/** Characters before and after an anchor in which its rule is looked for. */
const around = { before: 200, after: 320 };

/** Hidden characters of which so many are a message and no accident. */
const message = 8;

/** How words are written that shall not be read as such: with digits for letters, with blanks between them. */
const disguises = {
  digits: "1gn0r 1gnor ign0r ignor3 1nstr instruct10 d1sreg disr3g pr0mpt pr3v sy5tem syst3m".split(
    " ",
  ),
  blanks: "i g n,i.g.n,i-g-n,i_g_n,d i s r,f o r g,s y s t,p r o m,i n s t,r e v e".split(","),
};
const asDigits = injectionRules.length;
const asBlanks = asDigits + 1;

const scanner = once(
  () =>
    new AnchorScanner([
      ...injectionRules.flatMap(({ anchors }, index) =>
        anchors.map((anchor): [string, number] => [anchor, index]),
      ),
      ...disguises.digits.map((anchor): [string, number] => [anchor, asDigits]),
      ...disguises.blanks.map((anchor): [string, number] => [anchor, asBlanks]),
    ]),
);

/**
 * Looks for orders to a model in a text that is only to be read. It is a heuristic: what is flagged is a reason to look,
 * and a text that is not flagged may be an attack all the same. The time it takes grows with the text's length.
 */
export function findInjection(text: string): InjectionFound {
  const found = new Map<string, number>();
  const disguised = look(text, found);
  if (disguised === null && isPlain(text)) return nothing;
  if (!isPlain(text)) {
    if (removeHidden(text).removed >= message) {
      found.set("hides a message in characters that nobody sees", 0.6);
    }
    look(text.toLowerCase(), found);
    look(asRead(text), found);
  }
  if (disguised?.has(asDigits) === true) {
    look(
      asRead(text).replaceAll(/[013457@$]/gu, (one) => digitsAsLetters[one] ?? one),
      found,
    );
  }
  if (disguised?.has(asBlanks) === true) look(withoutBlanks(text), found);
  const score = [...found.values()].reduce((sum, weight) => sum + weight, 0);
  return { score: Math.min(1, Math.round(score * 100) / 100), kinds: [...found.keys()] };
}

/**
 * Tries one rule after the other on next to nothing. A pattern is compiled when it is first tried, and for all of them
 * together the first long text would wait some 70 ms.
 */
export function* compileRules(): Generator<void, void> {
  scanner();
  for (const { pattern, anchors } of injectionRules) {
    // Of one byte a character and of two: each is compiled for itself.
    for (const text of [`${anchors[0]}`, `${anchors[0]} \u2019`]) pattern.exec(text);
    yield;
  }
}

const nothing: InjectionFound = { score: 0, kinds: [] };

/** @returns the rules and disguises whose anchors stand in the text; null for none */
function look(text: string, found: Map<string, number>): ReadonlySet<number> | null {
  /** Of each rule, the stretches of the text that it is tried on: apart, so that all together are no longer than it. */
  const stretches = new Map<number, [from: number, to: number][]>();
  scanner().scan(text, (index, at) => {
    const own = stretches.get(index);
    const from = Math.max(0, at - around.before);
    const to = at + around.after;
    const last = own?.at(-1);
    if (own === undefined) stretches.set(index, [[from, to]]);
    else if (last !== undefined && from <= last[1]) last[1] = to;
    else own.push([from, to]);
  });
  if (stretches.size === 0) return null;
  for (const [index, own] of stretches) {
    const rule = injectionRules[index];
    if (rule === undefined) continue;
    for (const [from, to] of own) {
      const stretch = text.slice(from, to);
      const weight = weigh(rule, rule.raw === true ? stretch : stretch.replaceAll(/\s+/gu, " "));
      if (weight > 0) found.set(rule.kind, Math.max(found.get(rule.kind) ?? 0, weight));
      if (weight === rule.weight) break;
    }
  }
  return new Set(stretches.keys());
}

function weigh({ pattern, weight }: InjectionRule, stretch: string): number {
  const match = pattern.exec(stretch);
  if (match === null) return 0;
  return isMentioned(stretch, match) ? weight * 0.4 : weight;
}

const quotes = /["'`“”‘’«»„]/u;
const spokenOf =
  /\b(?:prompt[- ]injections?|injections?|attack(?:er|s|ers)?|adversar\w+|malicious|jailbreaks?|phrases?|patterns?|strings? (?:like|such)|such as|e\.g\.|for example|example|detect(?:s|ed|or|ion)?|scann?(?:er|s|ing)|classifier|payloads?|red[- ]team\w*|test case|vulnerab\w+|OWASP|mitigat\w+|untrusted)\b/iu;

/** Whether the words are quoted in a text about such words: a manual of security, a test, a changelog. */
function isMentioned(stretch: string, match: RegExpExecArray): boolean {
  const before = stretch.slice(Math.max(0, match.index - 12), match.index);
  const end = match.index + match[0].length;
  const isQuoted = quotes.test(before) && quotes.test(stretch.slice(end, end + 60));
  const rest = stretch.slice(0, match.index) + stretch.slice(end);
  return spokenOf.test(rest) && (isQuoted || /prompt[- ]injection|jailbreak/iu.test(rest));
}

const digitsAsLetters: Readonly<Record<string, string>> = {
  "0": "o",
  "1": "i",
  "3": "e",
  "4": "a",
  "5": "s",
  "7": "t",
  "@": "a",
  $: "s",
};

/** Words that are written with a blank, point or hyphen after each letter, as words. */
const withoutBlanks = (text: string): string =>
  text.replaceAll(/\b([a-z])[ ._-](?=[a-z]\b)/giu, "$1");
