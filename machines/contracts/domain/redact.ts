import { isSecretKey } from "./secret-names.ts";
import { cutText } from "./text.ts";

const deepest = 12;

/** Of one text, characters: a log is no place for more, and the patterns stay quick. */
const longest = 10_000;

/**
 * A copy without secrets, for a log: what stands under a secret's name is replaced whole, every text goes through
 * {@link redactText}, errors become plain objects. Counts stay: `tokens: 12` is no secret, nor is `token: null`.
 *
 * @param hide sees every text first: a {@link Redactor}'s, which knows this process's own secrets
 */
export function redact(value: unknown, hide: (text: string) => string = (text) => text): unknown {
  return copyOf(value, (text) => redactText(cut(hide(text))));
}

function copyOf(value: unknown, safe: (text: string) => string): unknown {
  return copy(value, 0, [], safe);
}

function copy(
  value: unknown,
  depth: number,
  above: readonly object[],
  safe: (text: string) => string,
): unknown {
  if (typeof value === "string") return safe(value);
  if (typeof value !== "object" || value === null) return value;
  if (above.includes(value)) return "[circular]";
  if (depth >= deepest) return "[too deep]";
  const inside = [...above, value];
  try {
    return copyObject(value, depth, inside, safe);
  } catch {
    // A getter that throws, a proxy that was revoked: what a user's code threw may be anything, and a log line fails nobody.
    return "[can't be read]";
  }
}

function copyObject(
  value: object,
  depth: number,
  inside: readonly object[],
  safe: (text: string) => string,
): unknown {
  if (Array.isArray(value)) return value.map((item) => copy(item, depth + 1, inside, safe));
  if (value instanceof Error) return copy(plainError(value), depth, inside, safe);
  if ("toJSON" in value && typeof value.toJSON === "function") {
    return copy(value.toJSON(), depth + 1, inside, safe);
  }
  if (value instanceof Map || value instanceof Set)
    return copy([...value], depth + 1, inside, safe);
  const entries = Object.entries(value).map(([key, item]): [string, unknown] => [
    safe(key),
    hides(key, item) ? redacted : copy(item, depth + 1, inside, safe),
  ]);
  return Object.fromEntries(entries);
}

/** Not longer than a log or a span has place for. */
export function cut(text: string): string {
  const over = text.length - longest;
  return over > 0 ? `${cutText(text, longest)}… (${over} more)` : text;
}

function hides(key: string, item: unknown): boolean {
  const says = typeof item === "string" || (typeof item === "object" && item !== null);
  return says && isSecretKey(key);
}

function plainError(error: Error): object {
  const { name, message, stack, cause } = error;
  return { ...error, type: name, message, stack, ...(cause === undefined ? {} : { cause }) };
}

export const redacted = "[redacted]";

/** Hides a value, but for the closing brackets of the text around it. */
function hideAfter(before: string, value: string): string {
  let end = value.length;
  const start = value.startsWith(redacted) ? redacted.length : 0;
  while (end > start && ")]}".includes(value[end - 1] ?? "-")) end -= 1;
  return `${before}${redacted}${value.slice(end)}`;
}

/** How a sentence goes on after one of its words: with another one, which is no name of a value. */
const goesOn = /^[,;]? [a-z]{1,20}(?=[\s.,;!?()]|$)/u;

/** Whether what follows a name and its colon is a sentence: `Authorization: expected a header` says no secret. */
function isSentence(between: string, text: string): boolean {
  const first = /^[A-Za-z][a-z]{0,20}(?:'[a-z]{1,2})?(?![\w'])/u.exec(text)?.[0];
  const isWord = first !== undefined && !schemes.has(first.toLowerCase());
  return isWord && between.endsWith(": ") && goesOn.test(text.slice(first.length));
}

const ofBearers = /^(?:tokens?|auth|authentication|credentials|certificates?|scheme|header)$/u;

/** What stands before the secret in a header. */
const schemes = new Set(
  "apikey aws basic bearer digest dpop hawk hmac hoba key mac mutual negotiate ntlm signature token vapid".split(
    " ",
  ),
);

/**
 * What secrets look like wherever they stand, and what is left of them. Texts are foreign and may be long, so that each
 * takes time in proportion to the text: what a pattern reads in one attempt it also takes, or it is bounded. A condition
 * on all of it is therefore looked at afterwards, by a function; a lookahead would read the same again at every start.
 */
const patterns: readonly [RegExp, string | ((found: string, ...groups: string[]) => string)][] = [
  // PEM private keys, whole or cut short; line ends may be escaped.
  [
    /-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|$)/gu,
    redacted,
  ],
  // user:password@host; what is masked already stays
  [/\b([a-z][a-z0-9+.-]{0,30}:\/\/[^\s:/?#@"']*):(?!\*\*\*@)[^\s/?#"']*@/giu, `$1:${redacted}@`],
  // ?api_key=…, &token=…
  [
    /([?&](?:api[_-]?key|(?:access_)?token|secret|password|signature)=)([^&\s"'#]+)/giu,
    (_, before, value) => hideAfter(before, value),
  ],
  // Authorization: Basic …
  [
    /\b(authorization["']?\s*[:=]\s*["']?)((?:[a-z]+\s+)?)([^\s"',;]{6,})(?=([^\r\n]{0,40}))/giu,
    (found, before, scheme, value, rest) =>
      isSentence(before, `${scheme}${value}${rest}`)
        ? found
        : hideAfter(`${before}${scheme}`, value),
  ],
  [
    /\b(bearer\s+)([\w.~+/=-]{6,})(?=([^\r\n]{0,40}))/giu,
    (found, before, value, rest) =>
      ofBearers.test(value) && goesOn.test(rest) ? found : `${before}${redacted}`,
  ],
  // Cookie: a=b; c=d
  [
    /\b((?:set-)?cookie\s*:\s*)([^\r\n"'\\]+)/giu,
    (found, before, value) => (value.includes("=") ? hideAfter(before, value) : found),
  ],
  // JSON Web Tokens
  [
    /\beyJ[\w-]{8,}(\.[\w-]+(?:\.[\w-]*)?)?/gu,
    (found, payload?: string) => (payload === undefined ? found : redacted),
  ],
  // OpenAI, Anthropic and others; a digit tells a key from hyphenated words
  [/\bsk-[\w-]{8,}/gu, (found) => (/\d/u.test(found) ? redacted : found)],
  // AWS access key ids
  [/\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/gu, redacted],
  // GitHub, Slack
  [/\b(?:gh[opsru]_|github_pat_)\w{20,}/gu, redacted],
  [/\bxox[abeoprs]-[\w-]{10,}/gu, redacted],
  [/\bxapp-[\w-]{10,}/gu, redacted],
  [/(hooks\.slack\.com\/services\/)[\w/]{8,}/gu, `$1${redacted}`],
  // Stripe
  [/\b(?:[rsp]k_(?:live|test)_|whsec_)\w{8,}/gu, redacted],
  // Google: API keys, access tokens, client secrets
  [/\bAIza[\w-]{30,}/gu, redacted],
  [/\bya29\.[\w-]{8,}/gu, redacted],
  [/\bGOCSPX-[\w-]{8,}/gu, redacted],
  // GitLab, npm, Hugging Face, SendGrid, PyPI, DigitalOcean, Shopify, Groq, xAI
  [/\bgl(?:pat|dt|rt|cbt|ptt|soat|ft|imt|agent)-[\w-]{16,}/gu, redacted],
  [/\bnpm_[A-Za-z0-9]{20,}/gu, redacted],
  [/\bhf_[A-Za-z0-9]{20,}/gu, redacted],
  [/\bSG\.[\w-]{12,}\.[\w-]{12,}/gu, redacted],
  [/\bpypi-[\w-]{16,}/gu, redacted],
  [/\bdo[opr]_v1_[a-f0-9]{20,}/gu, redacted],
  [/\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{16,}/gu, redacted],
  [/\b(?:gsk_|xai-)[A-Za-z0-9]{20,}/gu, redacted],
  // FerrumDeck API keys
  [/\bfd_(?:\w+_)?key_\w{4,}/gu, redacted],
];

/**
 * How each of the patterns above, and a named value, must begin somewhere. Most texts of a log hold none of it, and
 * cost one look instead of thirty.
 */
const maybe =
  /[:=]|-----BEGIN|bearer|eyJ|sk-|AKIA|ASIA|gh[opsru]_|github_pat_|xox|xapp-|hooks\.slack|[rsp]k_|whsec_|AIza|ya29\.|GOCSPX|gl[a-z]+-|npm_|hf_|SG\.|pypi-|do[opr]_v1|shp[a-z]{2}_|gsk_|xai-|fd_/iu;

/** The text with everything that looks like a secret replaced. */
export function redactText(text: string): string {
  if (!maybe.test(text)) return text;
  const known = patterns.reduce(
    (left, [pattern, rest]) => left.replaceAll(pattern, rest as () => string),
    text,
  );
  return redactNamed(known);
}

/**
 * `name = value`, `name: value` and `"name": "value"`, also in JSON that stands in a JSON string, its quotes escaped.
 * The value is a quoted text, or what stands up to the next space or delimiter.
 */
const named =
  /(?<![\w.-])([A-Za-z][\w.-]{0,63})((?:\\{0,3}["'])?[ \t]{0,4}[:=][ \t]{0,4})(\\{0,3}"(?:[^"\\]|\\[^"])*\\{0,3}"|'[^'\r\n]*'|[^\s"'\\,;&#{}[\]()]+)/gu;

/** What is plainly no secret, whatever it is called: counts, `null`, the scheme of a header. */
const harmless = /^(?:basic|bearer|digest|token|-?\d+(?:\.\d+)?|null|true|false|undefined|none)$/iu;
const wordOfSentence = /^[a-z]+(?:'[a-z]+)?[.!?]?$/u;

type Named = [name: string, between: string, value: string, at: number];

function redactNamed(text: string): string {
  return text.replaceAll(named, (whole, ...[name, between, value, at]: Named) => {
    if (!isSecretKey(name) || value.includes("[redacted") || harmless.test(value)) return whole;
    if (between.endsWith(": ") && wordOfSentence.test(value)) return whole;
    const from = at + whole.length - value.length;
    if (isSentence(between, text.slice(from, from + 64))) return whole;
    const quote = /^\\{0,3}["']/u.exec(value)?.[0] ?? "";
    if (quote !== "" && value.length <= 2 * quote.length) return whole;
    return `${name}${between}${quote}${redacted}${quote}`;
  });
}
