const deepest = 12;

/** Of one text, characters: a log is no place for more, and the patterns stay quick. */
const longest = 10_000;

/**
 * A copy without secrets, for a log: what stands under a secret's name is replaced whole, every text goes through
 * {@link redactText}, errors become plain objects. Counts stay: `tokens: 12` is no secret, nor is `token: null`.
 */
export function redact(value: unknown): unknown {
  return copy(value, 0, []);
}

function copy(value: unknown, depth: number, above: readonly object[]): unknown {
  if (typeof value === "string") return redactText(cut(value));
  if (typeof value !== "object" || value === null) return value;
  if (above.includes(value)) return "[circular]";
  if (depth >= deepest) return "[too deep]";
  const inside = [...above, value];
  if (Array.isArray(value)) return value.map((item) => copy(item, depth + 1, inside));
  if (value instanceof Error) return copy(plainError(value), depth, inside);
  if ("toJSON" in value && typeof value.toJSON === "function") {
    return copy(value.toJSON(), depth + 1, inside);
  }
  if (value instanceof Map || value instanceof Set) return copy([...value], depth + 1, inside);
  const entries = Object.entries(value).map(([key, item]): [string, unknown] => [
    redactText(key),
    hides(key, item) ? redacted : copy(item, depth + 1, inside),
  ]);
  return Object.fromEntries(entries);
}

function cut(text: string): string {
  const over = text.length - longest;
  return over > 0 ? `${text.slice(0, longest)}… (${over} more)` : text;
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

/** What secrets look like wherever they stand, and what is left of them. */
const patterns: readonly [RegExp, string][] = [
  // PEM private keys, whole or cut short; line ends may be escaped.
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/gu, redacted],
  // user:password@host
  [/\b([a-z][a-z0-9+.-]{0,30}:\/\/[^\s:/?#@"']*):[^\s/?#"']*@/giu, `$1:${redacted}@`],
  // ?api_key=…, &token=…
  [
    /([?&](?:api[_-]?key|(?:access_)?token|secret|password|signature)=)[^&\s"'#]+/giu,
    `$1${redacted}`,
  ],
  // Authorization: Basic …
  [/\b(authorization["']?\s*[:=]\s*["']?(?:[a-z]+\s+)?)[^\s"',;]{6,}/giu, `$1${redacted}`],
  [/\b(bearer\s+)[\w.~+/=-]{6,}/giu, `$1${redacted}`],
  // JSON Web Tokens
  [/\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?/gu, redacted],
  // OpenAI, Anthropic and others; a digit tells a key from hyphenated words
  [/\bsk-(?=[\w-]*\d)[\w-]{8,}/gu, redacted],
  // AWS access key ids
  [/\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/gu, redacted],
  // GitHub, Slack
  [/\b(?:gh[opsru]_|github_pat_)\w{20,}/gu, redacted],
  [/\bxox[abeoprs]-[\w-]{10,}/gu, redacted],
  // FerrumDeck API keys
  [/\bfd_(?:\w+_)?key_\w{4,}/gu, redacted],
];

/** The text with everything that looks like a secret replaced. */
export function redactText(text: string): string {
  return patterns.reduce((left, [pattern, rest]) => left.replaceAll(pattern, rest), text);
}

const secretWords = new Set([
  "apikey",
  "auth",
  "authorization",
  "bearer",
  "cookie",
  "credential",
  "credentials",
  "passphrase",
  "passwd",
  "password",
  "pwd",
  "secret",
  "secrets",
  "token",
]);

/** Words that make a secret of the `key` after them. */
const keyKinds = new Set(["access", "api", "encryption", "private", "signing"]);

/**
 * True for the name of something secret, compared by whole words of camelCase, snake_case or kebab-case:
 * `accessToken`, `x-api-key` and `DB_PASSWORD` are; `input_tokens`, `author` and `idempotency_key` are not.
 */
export function isSecretKey(key: string): boolean {
  const words = key
    .replaceAll(/([a-z0-9])([A-Z])/gu, "$1 $2")
    .replaceAll(/([A-Z])([A-Z][a-z])/gu, "$1 $2")
    .toLowerCase()
    .split(/[^a-z0-9]+/u);
  return words.some(
    (word, at) =>
      secretWords.has(word) ||
      ((word === "key" || word === "keys") && keyKinds.has(words[at - 1] ?? "")),
  );
}
