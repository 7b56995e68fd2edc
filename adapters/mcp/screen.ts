import type { Tool } from "@modelcontextprotocol/client";
import { asRead, hiddenIn } from "../../machines/contracts/domain/screening/hidden-characters.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import { type Place, pointerTo } from "./place.ts";

/**
 * Looks for what a tool's texts may say to a model that no person would see or approve of: hidden characters and words
 * that give orders. A finding is a reason to read the text, not a proof of anything; and a clean text proves nothing.
 */

/**
 * Characters of one text, characters of all texts and parts of one tool that are looked at; characters that are quoted,
 * and findings of one tool. More than that is itself a finding: nobody reads so much before saying yes to it.
 */
const most = { text: 50_000, all: 200_000, parts: 50_000, quote: 80, findings: 20 };

/** Each bounded in what it may pass over: the texts are foreign. They are read as one line. */
const orders: readonly [string, RegExp][] = [
  [
    "asks to set instructions aside",
    /\b(?:ignore|disregard|forget|override|bypass)\b[^.]{0,40}\b(?:instructions?|prompts?|rules|guidelines|polic(?:y|ies)|messages?)\b/iu,
  ],
  [
    "asks to keep something from the user",
    /\b(?:do not|don't|never|without)\b[^.]{0,20}\b(?:tell|telling|inform|informing|mention|mentioning|reveal|notify|notifying|show|alert|ask|asking)\b[^.]{0,40}\b(?:user|human|person|anyone|anybody|them)\b/iu,
  ],
  [
    "poses as a system's message",
    /<\s*\/?\s*(?:important|system|instructions?|secret|hidden|admin|critical|assistant)\s*>|\[\/?INST\]|<\|[a-z_]{2,20}\|>|\b(?:system prompt|developer message)\b/iu,
  ],
  [
    "asks to be called before or in place of other tools",
    /\b(?:before|instead of)\b[^.]{0,20}\b(?:using|calling|invoking|running)\b[^.]{0,20}\b(?:any|other|another|every|all)\b[^.]{0,20}\btools?\b|\b(?:always|must)\b[^.]{0,30}\b(?:call|use|run|invoke)\b[^.]{0,10}\bthis tool\b[^.]{0,20}\b(?:first|instead|before|every)\b/iu,
  ],
  [
    "asks for secrets",
    /(?<!\b(?:not|never|don't|without)\s{1,3})\b(?:read|send|include|pass|attach|upload|provide|copy|cat|contents? of)\b.{0,60}(?:~\/\.|\.ssh\b|id_rsa|\.aws\/|\/etc\/passwd|\bmcp\.json|\bprivate keys?\b|\bapi keys?\b|\bpasswords?\b|\bcredentials\b|\bcookies\b)/iu,
  ],
  [
    "asks to send something to an address",
    /\b(?:send|post|forward|e-?mail|upload|exfiltrate)\b.{0,60}\bto\b.{0,20}(?:https?:\/\/|[\w.+-]{1,40}@[\w-]{1,40}\.)/iu,
  ],
];

const ofOtherScripts =
  "[\\p{Script=Cyrillic}\\p{Script=Armenian}\\p{Script=Cherokee}ΑΒΕΖΗΙΚΜΝΟΡΤΥΧορν]";
/** A Latin letter beside one of a script that is easily taken for Latin. Greek ones only where they look like Latin. */
const mixedScripts = new RegExp(
  `\\p{Script=Latin}${ofOtherScripts}|${ofOtherScripts}\\p{Script=Latin}`,
  "u",
);

/** The word, or its middle, in which letters of two scripts stand side by side; null where there is none. */
function mixedWord(text: string): string | null {
  const at = mixedScripts.exec(text)?.index;
  if (at === undefined) return null;
  const [before = ""] = /[\p{L}\p{M}]*$/u.exec(text.slice(Math.max(0, at - 20), at)) ?? [];
  const [after = ""] = /^[\p{L}\p{M}]*/u.exec(text.slice(at, at + 22)) ?? [];
  return before + after;
}

/** What a person should look at in a tool, a sentence each, the first ones of many; empty for most. */
export function screenTool(tool: Tool): string[] {
  const findings = new Set<string>();
  let parts = 0;
  let left = most.all;
  const look = (text: string, where: () => string): void => {
    const shown = text.slice(0, Math.min(left, most.text));
    left -= shown.length;
    const found = screenText(shown);
    if (shown.length < text.length)
      found.push(`is longer than what is looked at (${text.length} characters)`);
    for (const said of found) {
      if (findings.size < most.findings) findings.add(`${where()} ${said}`);
    }
  };
  const waiting: [Place | null, unknown][] = [[null, tool]];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const [place, item] = next;
    parts += 1;
    if (parts > most.parts || left <= 0) {
      return [...findings, "the tool has more texts than are looked at"];
    }
    if (typeof item === "string") look(item, () => pointerTo(place));
    if (typeof item !== "object" || item === null) continue;
    for (const [key, part] of Object.entries(item).toReversed()) {
      const within = { within: place, key };
      // A model is shown the schema whole, keys too.
      if (!Array.isArray(item)) look(key, () => `the key at ${pointerTo(within)}`);
      waiting.push([within, part]);
    }
  }
  return [...findings];
}

function screenText(text: string): string[] {
  const { count, codes } = hiddenIn(text);
  const found: string[] = [];
  if (count > 0) found.push(`has characters that nobody sees (${count}: ${codes.join(", ")})`);
  if (/\s{60}\S/u.test(text)) found.push("has text after a long blank");
  const word = mixedWord(text);
  if (word !== null) found.push(`mixes letters that look alike: "${oneLine(word)}"`);
  const read = asRead(text, 2 * most.text);
  for (const [what, pattern] of orders) {
    const said = pattern.exec(read)?.[0];
    if (said !== undefined) found.push(`${what}: "${oneLine(said)}"`);
  }
  return found;
}

const oneLine = (text: string): string => {
  const line = text.replaceAll(/\s+/gu, " ").trim();
  return line.length > most.quote ? `${cutText(line, most.quote)}…` : line;
};
