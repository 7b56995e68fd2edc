import { isSecretKey } from "../secret-names.ts";
import {
  harmlessName,
  isLetter,
  isOfName,
  looksGenerated,
  placeholder,
  saysSomething,
} from "./named-secrets.ts";
import { type Form, matchAt, redacted } from "./spans.ts";

/*
 * Secrets that stand beside their name without a colon or an equals sign between: a tag's text, a flag of a command, a
 * line below, a call. There a word is mostly a word, so what is taken must look like no word of any language.
 */

const nameAt = /[A-Za-z][\w.-]{0,63}/uy;
const value = `((?:\\\\{0,3}["'\`]){0,3})([^\\s"'\`<>\\\\,;&|]{6,400})`;

/** What may stand between a name and its value, by what stands before the name. */
const anywhere = new RegExp(
  `\\\\{0,3}["'\`]?(?:\\s{0,4}(?:=>|:=|%3[ad]|,(?=\\s{0,4}["'])|\\((?=["'])|[:=]\\s{0,4}(?=\\\\{0,3}["'\`]))|:[ \\t]{0,4}(?:[|>][+-]?|!!str)?(?:\\r?\\n|\\\\{1,3}n)?[ \\t]{1,40}| (?:is|was|to)(?: now)? )\\s{0,4}${value}`,
  "iuy",
);
const afterFlag = new RegExp(`[ \\t]{1,8}${value}`, "uy");
const inTag = new RegExp(`(?:[^<>"']{0,80}>|[^<>]{0,80}?\\bvalue\\s{0,4}=)\\s{0,40}${value}`, "uy");

/** A digit or a sign among letters: `hunter22x`, `pa$$word`. */
const isNoWord = (text: string): boolean =>
  /[a-z]/iu.test(text) && looksGenerated(text) && /\d/u.test(text);

/** Whether a value may follow on the word that stands there, by one look at what stands after it: mostly none does. */
function isFollowed(text: string, at: number): boolean {
  let end = at;
  while (end - at < 64 && isOfName(text.charCodeAt(end))) end += 1;
  const code = text.charCodeAt(end);
  // After a blank another one, a flag's value, a sign, or `is`, `was`, `to`.
  if (code !== 32) return end < text.length && "\t\"'`\\=:%>,(".includes(text.charAt(end));
  return (
    hasFlag.test(text.slice(Math.max(0, at - 24), at)) || afterBlank.test(text.slice(end, end + 5))
  );
}
const hasFlag = /(?:--|<|\bENV[ \t])[\w.-]*$/u;
const afterBlank = /^ (?:[ \t=:<]|is |was |to )/iu;

export const spelledSecret: Form = {
  kind: "named-secret",
  anchors: ["key", "pass", "pwd", "secret", "token"],
  find(text, at) {
    if (!isFollowed(text, at)) return null;
    let start = at;
    while (at - start < 64 && isOfName(text.charCodeAt(start - 1))) start -= 1;
    while (start < at && !isLetter(text.charCodeAt(start))) start += 1;
    const name = matchAt(nameAt, text, start)?.[0] ?? "";
    const nameEnd = start + name.length;
    if (nameEnd <= at || !isSecretKey(name) || harmlessName.test(name)) return null;
    const before = text.slice(Math.max(0, start - 5), start);
    const pattern = before.endsWith("<")
      ? inTag
      : /--$|\bENV[ \t]$/u.test(before)
        ? afterFlag
        : anywhere;
    const match = matchAt(pattern, text, nameEnd) ?? matchAt(anywhere, text, nameEnd);
    if (match === null) return null;
    const [whole, , held = ""] = match;
    const end = nameEnd + whole.length;
    const secret = held.replace(/[)\]}.!?:]+$/u, "");
    if (held.includes(redacted) || placeholder.test(secret)) return null;
    if (!isNoWord(secret) || saysSomething(secret)) return null;
    const from = end - held.length;
    return { span: { start: from, end: from + secret.length }, next: end };
  },
};
