import { AnchorScanner } from "./anchors.ts";
import { redactText } from "./secrets.ts";
import { hideSpans, type Span } from "./spans.ts";

/** Shorter values are not replaced: they would take half the words of a text with them. */
const leastLength = 6;

/** Knows secrets by their values, and takes them out of texts literally, whatever stands around them. */
export interface Redactor {
  /** More secrets: keys, passwords, headers. What is too short, or already known, is passed over. */
  add(values: Iterable<string | null | undefined>): void;
  /** Where any of them stands, as it is or encoded for a URL, for JSON, in base64 or in hexadecimal digits. */
  find(text: string): Span[];
  /** The text without any of them. */
  hide(text: string): string;
  /** The text without them, and without whatever else looks like a secret. */
  redact(text: string): string;
}

export function createRedactor(values: Iterable<string | null | undefined> = []): Redactor {
  const forms = new Set<string>();
  let scanner: AnchorScanner<number> | null = null;
  const redactor: Redactor = {
    add(more) {
      const before = forms.size;
      for (const value of more) {
        const trimmed = value?.trim() ?? "";
        if (trimmed.length >= leastLength) for (const form of formsOf(trimmed)) forms.add(form);
      }
      if (forms.size === before) return;
      scanner = new AnchorScanner([...forms].map((form): [string, number] => [form, form.length]));
    },
    find(text) {
      const spans: Span[] = [];
      scanner?.scan(text, (length, at) => {
        const last = spans.at(-1);
        // Of what is made of one character again and again, each place would be a find of its own.
        if (last !== undefined && last.end > at) last.end = Math.max(last.end, at + length);
        else spans.push({ start: at, end: at + length, kind: "known-secret" });
      });
      return spans;
    },
    hide: (text) => (scanner === null ? text : hideSpans(text, redactor.find(text))),
    redact: (text) => redactText(redactor.hide(text)),
  };
  redactor.add(values);
  return redactor;
}

function formsOf(value: string): string[] {
  const bytes = new TextEncoder().encode(value);
  const url = encodeURIComponent(value.toWellFormed());
  // Strict encoders leave out fewer characters.
  const strict = url.replaceAll(/[!'()*]/gu, (one) => `%${hexOf([one.codePointAt(0) ?? 0])}`);
  const json = JSON.stringify(value).slice(1, -1);
  const again = JSON.stringify(json).slice(1, -1);
  // As encoders write that are careful of HTML, or escape slashes.
  const careful = json
    .replaceAll(/[<>&]/gu, (one) => `\\u00${hexOf([one.codePointAt(0) ?? 0])}`)
    .replaceAll("/", "\\/");
  const hex = hexOf(bytes);
  return [
    value,
    url,
    strict,
    url.replaceAll("%20", "+"),
    json,
    again,
    careful,
    hex,
    ...inBase64(bytes),
  ];
}

const hexOf = (bytes: Iterable<number>): string =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/**
 * Base64 of a text that holds the value somewhere (`user:password` in a header) depends on where it begins: three
 * bytes make four characters. So, for each of three beginnings, the characters that depend on the value alone.
 */
function inBase64(bytes: Uint8Array): string[] {
  return [0, 1, 2].flatMap((offset) => {
    const shifted = [...Array.from({ length: offset }, () => 0), ...bytes];
    const text = btoa(shifted.map((byte) => String.fromCharCode(byte)).join("")).replace(
      /=+$/u,
      "",
    );
    const from = Math.ceil((offset * 8) / 6);
    const to = Math.floor(((offset + bytes.length) * 8) / 6);
    const own = text.slice(from, to);
    return own.length < leastLength ? [] : [own, own.replaceAll("+", "-").replaceAll("/", "_")];
  });
}
