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
const keyKinds = new Set([
  "access",
  "account",
  "api",
  "auth",
  "client",
  "encryption",
  "master",
  "private",
  "secret",
  "shared",
  "signing",
  "storage",
]);

/** Written as one word: `PGPASSWORD`, `dbpassword`. */
const joined = /^[a-z0-9]{1,12}(?:password|passwd|passphrase|apikey)$/u;

/** What one logs into: `DB_PASS` is a password, and `first_pass` none. */
const loggedInto = new Set(
  "admin auth basic broker database db ftp http imap keystore ldap login mail mongo mysql pg postgres proxy rabbitmq redis root smtp ssh sudo user".split(
    " ",
  ),
);

/**
 * True for the name of something secret, compared by whole words of camelCase, snake_case or kebab-case:
 * `accessToken`, `x-api-key` and `DB_PASSWORD` are; `input_tokens`, `author` and `idempotency_key` are not.
 */
export function isSecretKey(key: string): boolean {
  const known = judgedKeys.get(key);
  if (known !== undefined) return known;
  const isSecret = hasSecretWord(key);
  // The same few names come again and again; names from outside must not fill the memory.
  if (judgedKeys.size < 1_000) judgedKeys.set(key, isSecret);
  return isSecret;
}

/** `{"user": "me", "pass": "…"}`; by itself `pass` says of a test how it ended. */
export const isPassBesideLogin = (key: string, object: object): boolean =>
  /^pass$/iu.test(key) && Object.keys(object).some((name) => loginKey.test(name));
const loginKey = /^(?:user|user_?name|login|e-?mail|account)$/iu;

const judgedKeys = new Map<string, boolean>();

function hasSecretWord(key: string): boolean {
  const words = key
    .replaceAll(/([a-z0-9])([A-Z])/gu, "$1 $2")
    .replaceAll(/([A-Z])([A-Z][a-z])/gu, "$1 $2")
    .toLowerCase()
    .split(/[^a-z0-9]+/u);
  return words.some(
    (word, at) =>
      secretWords.has(word) ||
      joined.test(word) ||
      (word === "pass" && at === words.length - 1 && loggedInto.has(words[at - 1] ?? "")) ||
      ((word === "key" || word === "keys") && keyKinds.has(words[at - 1] ?? "")),
  );
}
