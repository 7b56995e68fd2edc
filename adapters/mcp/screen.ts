import type { Tool } from "@modelcontextprotocol/client";
import { cutText } from "../../machines/contracts/domain/text.ts";

/**
 * Looks for what a tool's texts may say to a model that no person would see or approve of: hidden characters and words
 * that give orders. A finding is a reason to read the text, not a proof of anything; and a clean text proves nothing.
 */

/** Characters of one text that are looked at, and of what is quoted from it. */
const most = { text: 50_000, quote: 80 };

/**
 * Characters without a picture of their own, controls but tabs and line ends. A joiner between letters that need it, and
 * one variation selector after a picture, are as they should be.
 */
const invisible =
  /(?![\u200c\u200d]|\p{Variation_Selector})\p{Default_Ignorable_Code_Point}|\p{Variation_Selector}{2,}|(?<=\p{ASCII})[\u200c\u200d]|[\u200c\u200d](?=\p{ASCII})|(?![\t\n\r])\p{Cc}/gu;

/** Each bounded in what it may pass over: the texts are foreign. */
const orders: readonly [string, RegExp][] = [
  [
    "asks to set instructions aside",
    /\b(?:ignore|disregard|forget|override|bypass)\b[^.\n]{0,40}\b(?:instructions?|prompts?|rules|guidelines|polic(?:y|ies)|messages?)\b/iu,
  ],
  [
    "asks to keep something from the user",
    /\b(?:do not|don't|never|without)\b[^.\n]{0,20}\b(?:tell|telling|inform|informing|mention|mentioning|reveal|notify|notifying|show|alert|ask|asking)\b[^.\n]{0,40}\b(?:user|human|person|anyone|anybody|them)\b/iu,
  ],
  [
    "poses as a system's message",
    /<\s*\/?\s*(?:important|system|instructions?|secret|hidden|admin|critical|assistant)\s*>|\[\/?INST\]|<\|[a-z_]{2,20}\|>|\b(?:system prompt|developer message)\b/iu,
  ],
  [
    "asks to be called before or in place of other tools",
    /\b(?:before|instead of)\b[^.\n]{0,20}\b(?:using|calling|invoking|running)\b[^.\n]{0,20}\b(?:any|other|another|every|all)\b[^.\n]{0,20}\btools?\b|\b(?:always|must)\b[^.\n]{0,30}\b(?:call|use|run|invoke)\b[^.\n]{0,10}\bthis tool\b[^.\n]{0,20}\b(?:first|instead|before|every)\b/iu,
  ],
  [
    "asks for secrets",
    /(?<!\b(?:not|never|don't|without)\s{1,3})\b(?:read|send|include|pass|attach|upload|provide|copy|cat|contents? of)\b[^\n]{0,60}(?:~\/\.|\.ssh\b|id_rsa|\.aws\/|\/etc\/passwd|\bmcp\.json|\bprivate keys?\b|\bapi keys?\b|\bpasswords?\b|\bcredentials\b|\bcookies\b)/iu,
  ],
  [
    "asks to send something to an address",
    /\b(?:send|post|forward|e-?mail|upload|exfiltrate)\b[^\n]{0,60}\bto\b[^\n]{0,20}(?:https?:\/\/|[\w.+-]{1,40}@[\w-]{1,40}\.)/iu,
  ],
];

/** What a person should look at in a tool, a sentence each; empty for most. */
export function screenTool(tool: Tool): string[] {
  const findings = new Set<string>();
  for (const [path, text] of textsOf(tool)) {
    for (const said of screenText(text)) findings.add(`${path} ${said}`);
  }
  return [...findings];
}

function screenText(whole: string): string[] {
  const text = cutText(whole, most.text);
  const hidden = text.match(invisible) ?? [];
  const found: string[] = [];
  if (hidden.length > 0) {
    const codes = [...new Set(hidden.flatMap((match) => [...match]))].slice(0, 3).map(codeOf);
    found.push(`has characters that nobody sees (${hidden.length}: ${codes.join(", ")})`);
  }
  if (/\s{60}\S/u.test(text)) found.push("has text after a long blank");
  // Read as a model reads it: without what is hidden, and letters of any form as the usual ones.
  const read = text.replaceAll(invisible, "").normalize("NFKC");
  for (const [what, pattern] of orders) {
    const said = pattern.exec(read)?.[0];
    if (said !== undefined) found.push(`${what}: "${oneLine(said)}"`);
  }
  return found;
}

const codeOf = (character: string): string =>
  `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;

const oneLine = (text: string): string => {
  const line = text.replaceAll(/\s+/gu, " ").trim();
  return line.length > most.quote ? `${cutText(line, most.quote)}…` : line;
};

/** Every text of a value by its path, keys too: a model is shown the schema whole. */
function textsOf(value: unknown): [string, string][] {
  const texts: [string, string][] = [];
  const waiting: [string, unknown][] = [["", value]];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const [path, item] = next;
    if (typeof item === "string") texts.push([path, item]);
    if (typeof item !== "object" || item === null) continue;
    for (const [key, part] of Object.entries(item)) {
      const place = path === "" ? key : `${path}.${key}`;
      if (invisible.test(key)) texts.push([`a key of ${path || "the tool"}`, key]);
      invisible.lastIndex = 0;
      waiting.push([place, part]);
    }
  }
  return texts.toReversed();
}
