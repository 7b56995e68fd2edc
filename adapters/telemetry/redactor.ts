import { redacted, redactText } from "../../machines/contracts/domain/redact.ts";

/** Shorter values are not replaced: they would take half the words of a text with them. */
const leastLength = 6;

/** Knows the secrets that this process holds, and takes them out of texts literally, whatever stands around them. */
export interface Redactor {
  /** More secrets: keys, passwords, headers. What is too short, or already known, is passed over. */
  add(values: Iterable<string | null | undefined>): void;
  /** The text without any of them, as they are or encoded for a URL, for JSON or in base64. */
  hide(text: string): string;
  /** The text without them, and without whatever else looks like a secret. */
  redact(text: string): string;
}

export function createRedactor(values: Iterable<string | null | undefined> = []): Redactor {
  const forms = new Set<string>();
  let pattern: RegExp | null = null;
  const redactor: Redactor = {
    add(more) {
      for (const value of more) {
        const trimmed = value?.trim() ?? "";
        if (trimmed.length >= leastLength) for (const form of formsOf(trimmed)) forms.add(form);
      }
      // The longest first: of two secrets where one begins the other, the whole one goes.
      const all = [...forms].sort((a, b) => b.length - a.length).map((form) => escapePattern(form));
      pattern = all.length === 0 ? null : new RegExp(all.join("|"), "giu");
    },
    hide: (text) => (pattern === null ? text : text.replaceAll(pattern, redacted)),
    redact: (text) => redactText(redactor.hide(text)),
  };
  redactor.add(values);
  return redactor;
}

/** `RegExp.escape` is newer than the oldest Node we run on. */
const escapePattern = (text: string) => text.replaceAll(/[\\^$.*+?()[\]{}|/]/gu, String.raw`\$&`);

function formsOf(value: string): string[] {
  const bytes = Buffer.from(value);
  const url = encodeURIComponent(value.toWellFormed());
  const json = JSON.stringify(value).slice(1, -1);
  return [value, url, url.replaceAll("%20", "+"), json, ...inBase64(bytes)];
}

/**
 * Base64 of a text that holds the value somewhere (`user:password` in a header) depends on where it begins: three
 * bytes make four characters. So, for each of three beginnings, the characters that depend on the value alone.
 */
function inBase64(bytes: Buffer): string[] {
  return [0, 1, 2].flatMap((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), bytes])
      .toString("base64")
      .replace(/=+$/u, "");
    const from = Math.ceil((offset * 8) / 6);
    const to = Math.floor(((offset + bytes.length) * 8) / 6);
    const own = text.slice(from, to);
    return own.length < leastLength ? [] : [own, own.replaceAll("+", "-").replaceAll("/", "_")];
  });
}
