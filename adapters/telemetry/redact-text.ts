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
