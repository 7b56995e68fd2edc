import { isSecretKey } from "../secret-names.ts";
import { isSentence } from "./secret-forms.ts";
import { type Form, type Found, matchAt, redacted } from "./spans.ts";

/*
 * Secrets that are known by what they are called: `name = value`, `name: value` and `"name": "value"`, also in JSON that
 * stands in a JSON string, its quotes escaped; and the same as a pair of entries, `name: DB_PASSWORD, value: …`.
 */

/** Words of which one is in the name of every secret; see secret-names.ts. */
const words = [
  "apikey",
  "auth",
  "bearer",
  "cookie",
  "credential",
  "pass",
  "pwd",
  "secret",
  "token",
  "key",
];

/**
 * The value is a quoted text, or what stands up to the next space or delimiter. In a text of JSON an escaped quotation
 * mark is a part of the value; where the marks are escaped themselves, it is the value's end.
 */
const assignment =
  /([A-Za-z][\w.-]{0,63})((?:\\{0,3}["'])?[ \t]{0,4}[:=][ \t]{0,4})("(?:[^"\\]|\\[\s\S])*"|\\"(?:[^"\\]|\\\\(?:\\\\|\\"|[^"\\])|\\[^"\\])*\\"|\\{1,3}"(?:[^"\\]|\\[^"])*\\{0,3}"|'[^'\r\n]*'|[^\s"'\\,;&#{}[\]()]+)/uy;

/** What is plainly no secret, whatever it is called: counts, `null`, the scheme of a header. */
const harmless =
  /^(?:basic|bearer|digest|token|-?\d+(?:\.\d+)?|null|true|false|undefined|none|required|optional|missing|invalid|incorrect|wrong|expired|unknown|enabled|disabled|hidden|empty|string|text|object)$/iu;

/** What a program says of a field, and no passphrase: `must be at least 8 characters`. */
const ofFields =
  /\b(?:must|should|cannot|can't|required|invalid|missing|expected|incorrect|wrong|expired|please|characters?|contains?|too (?:short|long|weak|common)|not (?:valid|match|allowed|found)|(?:do|does) not|doesn't|don't)\b/iu;
export const saysSomething = (value: string): boolean =>
  /\s/u.test(value.trim()) && ofFields.test(value) && /^[A-Za-z]/u.test(value.trim());
const wordOfSentence = /^[a-z]+(?:'[a-z]+)?[.!?]?$/u;

export const isOfName = (code: number): boolean =>
  (code >= 97 && code <= 122) ||
  (code >= 65 && code <= 90) ||
  (code >= 48 && code <= 57) ||
  code === 95 ||
  code === 46 ||
  code === 45;

export const isLetter = (code: number): boolean =>
  (code >= 97 && code <= 122) || (code >= 65 && code <= 90);

const nameLength = 64;

/** Where the name begins that a word is a part of; null where it is none, or longer than a name is. */
function startOfName(text: string, at: number): number | null {
  let start = at;
  while (start > 0 && isOfName(text.charCodeAt(start - 1))) {
    start -= 1;
    if (at - start > nameLength) return null;
  }
  // As flags begin: `--password=`.
  while (start < at && !isLetter(text.charCodeAt(start))) start += 1;
  return isLetter(text.charCodeAt(start)) ? start : null;
}

/** Whether a name that ends here is followed by a colon or an equals sign; most words of a text are not. */
function isAssigned(text: string, end: number): boolean {
  let at = end;
  // A quotation mark, escaped up to three times, and a few blanks.
  for (const last = at + 12; at < last; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 58 || code === 61) return true;
    const isBetween = code === 34 || code === 39 || code === 92 || code === 32 || code === 9;
    if (!isBetween) return false;
  }
  return false;
}

function endOfName(text: string, at: number): number {
  let end = at;
  while (end < text.length && end - at <= nameLength && isOfName(text.charCodeAt(end))) end += 1;
  return end;
}

/** Whether a value that has a secret's name is one; what is not plain is taken for one. */
type Judge = (value: string, name: string, text: string, end: number) => boolean;

function namedForm(kind: string, isSecret: Judge): Form {
  return {
    kind,
    anchors: words,
    find(text, at) {
      const nameEnd = endOfName(text, at);
      if (!isAssigned(text, nameEnd)) return null;
      const start = startOfName(text, at);
      if (start === null || !isSecretKey(text.slice(start, nameEnd))) return null;
      const match = matchAt(assignment, text, start);
      if (match === null) return null;
      const [whole, name = "", between = "", value = ""] = match;
      const next = start + whole.length;
      const from = next - value.length;
      const harmlessly: Found = { span: null, next };
      if (value.includes("[redacted") || harmless.test(value)) return harmlessly;
      if (between.endsWith(": ") && wordOfSentence.test(value)) return harmlessly;
      if (isSentence(between, text.slice(from, from + 64))) return harmlessly;
      const quote = /^\\{0,3}["']/u.exec(value)?.[0] ?? "";
      if (quote !== "" && value.length <= 2 * quote.length) return harmlessly;
      const inside = value.slice(quote.length, value.length - quote.length);
      if (harmlessName.test(name) || saysSomething(inside) || harmless.test(inside)) {
        return harmlessly;
      }
      if (/^\\{0,3}["']/u.test(between) && isWordOf(name, inside)) return harmlessly;
      if (!isSecret(inside, name, text, next)) return harmlessly;
      return { span: { start: from + quote.length, end: next - quote.length }, next };
    },
  };
}

/** In a log: better one word too many is hidden than one too few. */
export const namedInLogs = namedForm("named-secret", () => true);

/**
 * Stands for a value, or says where one is: `process.env.TOKEN`, `${TOKEN}`, `<your key>`, `changeme`, `getToken()`. By
 * the whole of it: a generated password begins with any character, and a person's own with any word.
 */
export const placeholder =
  /^(?:<[a-z_. -]*>?$|\$[{(]|\$env:|\$[a-z_]\w*$|%(?:[a-z_]\w*%|[sd])$|%\(|#?\{[\w. -]*\}$|\{\{|\[[\w. -]*\]$|x{3,}$|\*{3,}$|\.{3}$|(?:your|change|example|placeholder|dummy|todo)(?:me)?(?:[-_ ][a-z_ -]*)?$|my[-_ ]?(?:secret|password|token|key)$|(?:process|os|env|import|self|this|config|settings|options|ctx|req|request|args|secrets?|vault|System)(?:\.[a-z_$]|[[(]))/iu;

/** As code writes names: `getToken`, `api.token`, `TOKEN_NAME`; a generated secret has digits, or letters of no word. */
const identifier = /^[A-Za-z_$][A-Za-z_]*(?:\.[A-Za-z_$][A-Za-z_]*)*[;,]?$/u;

export const looksGenerated = (value: string): boolean =>
  /\d/u.test(value) ? !/^[\d.:-]+$/u.test(value) : !identifier.test(value);

/** Of a value that a key of JSON names: whatever is written there, but for what stands for a value. */
export const isSecretValue = (value: string): boolean =>
  value.length >= 4 && !saysSomething(value) && !placeholder.test(value) && !harmless.test(value);

/** Names that hold no secret: tokens say how far a list was read, and other words say something about a secret. */
export const harmlessName =
  /(?:[pP]age|[nN]ext|[pP]revious|[pP]rev|[cC]ontinuation|cursor|sync|delta|resume|pagination|list|start|csrf|xsrf)[-_.]?[tT]oken$|(?:[-_.](?:urls?|uri|endpoint|types?|methods?|provider|scheme|policy|counts?|limit|usage|length|ttl|expir\w*|mode|status|fields?|rounds|hint|label|format|files?|path)|[a-z](?:Urls?|Uri|Endpoint|Types?|Methods?|Provider|Scheme|Policy|Counts?|Limit|Usage|Length|Ttl|Expir\w*|Mode|Status|Fields?|Rounds|Hint|Label|Format|Files?|Path))$/u;

/** `{"token": "world"}` of a text's words, `{"auth": "required"}`: plain words are passwords, and nothing else. */
const plainWords = /^[A-Z]?[a-z]{1,15}(?:[ -][A-Za-z]?[a-z]{0,15}){0,8}[.!?]?$/u;
const wordyName = /(?:token|auth|authorization|cookie)$/iu;
const ofScheme = /^(?:bearer|basic|digest|token|apikey)\b/iu;

const isWordOf = (name: string, value: string): boolean =>
  wordyName.test(name) && plainWords.test(value) && !ofScheme.test(value);

/** Of an entry of JSON, by its name and by its value. */
export function isSecretEntry(name: string, value: string): boolean {
  if (!isSecretKey(name) || harmlessName.test(name)) return false;
  return !isWordOf(name, value) && isSecretValue(value);
}

/**
 * In what a step gives on: code that reads `token = getToken()` must come through as it is, for it may be written back.
 * So a bare value has to look generated, or to stand where only values stand (`DB_PASSWORD=…`).
 */
export const namedInOutputs = namedForm("named-secret", (value, name, text, end) => {
  if (value.length < 6 || placeholder.test(value) || /\s/u.test(value)) return false;
  if (harmlessName.test(name)) return false;
  const isVariable = /^[A-Z][A-Z0-9_]*$/u.test(name) && !/[(.[]/u.test(text[end] ?? "");
  return isVariable || looksGenerated(value);
});

const entry =
  /(\\{0,3}["']?(?:name|key|value)\\{0,3}["']?\s{0,8}[:=]\s{0,8})(\\{0,3}["'][^"'\\\r\n]{0,400}\\{0,3}["']|[^\s"'\\,;&#{}[\]()]{1,400})/iuy;
const gap = /[\s,;{}-]{1,40}/uy;
const unquoted = /^\\{0,3}["']|\\{0,3}["']$/gu;

/** `{"name": "DB_PASSWORD", "value": "…"}` in either order, as lists of variables have it. */
export const pairedSecret: Form = {
  kind: "named-secret",
  anchors: ["name", "key", "value"],
  find(text, at) {
    const before = at === 0 ? 10 : text.charCodeAt(at - 1);
    if (isOfName(before) && before !== 45) return null;
    if (!isAssigned(text, endOfName(text, at))) return null;
    const start = before === 34 || before === 39 ? at - 1 : at;
    const one = matchAt(entry, text, start);
    if (one === null) return null;
    const between = matchAt(gap, text, start + one[0].length);
    if (between === null) return null;
    const middle = start + one[0].length + between[0].length;
    const two = matchAt(entry, text, middle);
    if (two === null) return null;
    const isNamedFirst = !/value/iu.test(one[1] ?? "");
    if (isNamedFirst !== /value/iu.test(two[1] ?? "")) return null;
    const name = ((isNamedFirst ? one : two)[2] ?? "").replaceAll(unquoted, "");
    const [from, given] = isNamedFirst
      ? [middle + (two[1] ?? "").length, two[2] ?? ""]
      : [start + (one[1] ?? "").length, one[2] ?? ""];
    const value = given.replaceAll(unquoted, "");
    const isHarmless = value.length < 4 || harmless.test(value) || placeholder.test(value);
    if (!isSecretKey(name) || isHarmless || value.includes(redacted)) return null;
    const begin = from + given.indexOf(value);
    return { span: { start: begin, end: begin + value.length }, next: begin + value.length };
  },
};
