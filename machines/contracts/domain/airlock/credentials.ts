/** Kinds of secrets that are known by their form alone, wherever they stand. */
const forms: readonly (readonly [string, RegExp])[] = [
  ["a private key", /-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\\]{1,8}[A-Za-z0-9+/=]{16}/u],
  ["an AWS access key id", /\b(?:AKIA|ASIA)[A-Z2-7]{16}\b/u],
  ["a GitHub token", /\b(?:gh[opsru]_[A-Za-z0-9]{36}|github_pat_\w{50})/u],
  ["a GitLab token", /\bgl(?:pat|dt|rt|cbt|ptt|soat|ft|agent)-[\w-]{20}/u],
  ["a Slack token", /\bxox[abeoprs]-\d[\w-]{20}|\bxapp-\d-[\w-]{20}/u],
  ["an Anthropic key", /\bsk-ant-[\w-]{24}/u],
  ["an OpenAI key", /\bsk-(?:proj-|svcacct-)?(?=[\w-]{0,80}\d)[A-Za-z0-9_-]{32}/u],
  ["a Stripe key", /\b[rs]k_live_[A-Za-z0-9]{16}/u],
  ["a Google API key", /\bAIza[\w-]{35}(?![\w-])/u],
  ["a Google access token", /\bya29\.[\w-]{24}/u],
  ["an npm token", /\bnpm_[A-Za-z0-9]{36}\b/u],
  ["a PyPI token", /\bpypi-AgE[\w-]{32}/u],
  ["a Hugging Face token", /\bhf_[A-Za-z0-9]{34}\b/u],
  ["a SendGrid key", /\bSG\.[\w-]{22}\.[\w-]{43}/u],
  ["a DigitalOcean token", /\bdo[opr]_v1_[a-f0-9]{64}\b/u],
  ["a FerrumDeck API key", /\bfd_(?:live|prod)_key_\w{8}/u],
  ["a JSON Web Token", /(?<![\w-])eyJ[\w-]{16,2000}\.eyJ[\w-]{16,8000}\.[\w-]{20}/u],
  [
    "a password in an address",
    /\b[a-z][a-z0-9+.-]{1,20}:\/\/[^\s:/?#@"'{}$<>]{1,64}:(?![^@]{0,8}(?:\*\*\*|pass|secret|\$|<|\{))[^\s/?#@"']{6,128}@[\w.-]{3}/iu,
  ],
];

/** Numbers of the card schemes' own test cards, which stand in every test of a shop. */
const testCards = new Set(
  "4111111111111111 4242424242424242 4000056655665556 4012888888881881 5555555555554444 5105105105105100 2223003122003222 378282246310005 371449635398431 6011111111111117 6011000990139424".split(
    " ",
  ),
);
const card =
  /(?<![\d.-])(?:(?:4\d{3}|5[1-5]\d{2}|6011|65\d{2}|2[2-7]\d{2})([ -]?)\d{4}\1\d{4}\1\d{4}|3[47]\d{2}([ -]?)\d{6}\2\d{5})(?![\d.-])/gu;
const iban = /\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b/gu;

/** How long an account's number is, by its country: ISO 13616's registry, where most payments go. */
const lengths: Readonly<Record<string, number>> = Object.fromEntries(
  "AT20 BE16 BG22 CH21 CY28 CZ24 DE22 DK18 EE20 ES24 FI18 FR27 GB22 GR27 HR21 HU28 IE22 IT27 LI21 LT20 LU20 LV21 MC27 MT31 NL18 NO15 PL28 PT25 RO24 SA24 SE24 SI19 SK24 TR26 AE23 IL23"
    .split(" ")
    .map((entry) => [entry.slice(0, 2), Number(entry.slice(2))]),
);

/** What kind of credential a text holds, in words that do not tell it; null for none. */
export function credentialIn(text: string): string | null {
  const known = forms.find(([, form]) => form.test(text));
  if (known !== undefined) return known[0];
  for (const [found] of text.matchAll(card)) {
    const digits = found.replaceAll(/\D/gu, "");
    if (!testCards.has(digits) && isLuhn(digits)) return "a payment card's number";
  }
  for (const [found] of text.matchAll(iban)) {
    if (isIban(found.replaceAll(" ", ""))) return "an account's number (IBAN)";
  }
  return null;
}

/** ISO/IEC 7812-1, annex B. */
function isLuhn(digits: string): boolean {
  const sum = [...digits].toReversed().reduce((total, digit, at) => {
    const doubled = Number(digit) * (at % 2 === 0 ? 1 : 2);
    return total + (doubled > 9 ? doubled - 9 : doubled);
  }, 0);
  return sum % 10 === 0;
}

/** ISO 13616: the rest of 97 is 1. */
function isIban(text: string): boolean {
  if (text.length !== lengths[text.slice(0, 2)]) return false;
  const moved = text.slice(4) + text.slice(0, 4);
  let rest = 0;
  for (const letter of moved) {
    const value = Number.parseInt(letter, 36);
    rest = (rest * (value > 9 ? 100 : 10) + value) % 97;
  }
  return rest === 1;
}
