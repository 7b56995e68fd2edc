import { isUtf8 } from "node:buffer";

/**
 * Git's names are bytes. Git must get the very same ones again, and text can't carry all of them;
 * so they travel a character each (`latin1`) until somebody is to read them.
 */
export const toBytes = (text: string): string => Buffer.from(text).toString("latin1");

/** The text of such a name, or null when it is not UTF-8. */
export function exactText(bytes: string): string | null {
  const raw = Buffer.from(bytes, "latin1");
  return isUtf8(raw) ? raw.toString("utf8") : null;
}

/** Well-formed UTF-8 (RFC 3629, section 4), or one byte that is none. */
const sequences =
  /(?:[\0-\x7f]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2})|[\x80-\xff]/g;

/** Bytes as a person reads them: text, and `\xNN` for each byte that is not UTF-8. */
export function shownBytes(bytes: string): string {
  return (
    exactText(bytes) ??
    bytes.replaceAll(sequences, (part) =>
      part.length === 1 && part > "\x7f"
        ? `\\x${part.charCodeAt(0).toString(16)}`
        : Buffer.from(part, "latin1").toString("utf8"),
    )
  );
}

/** The same without a character that was cut in two at the end. */
export function withoutCutCharacter(bytes: string): string {
  const lead = /[\xc2-\xdf]$|[\xe0-\xef][\x80-\xbf]?$|[\xf0-\xf4][\x80-\xbf]{0,2}$/.exec(bytes);
  return lead === null ? bytes : bytes.slice(0, lead.index);
}

/** Names in a sentence: the first of them, and how many there are beside. */
export function someOf(names: readonly string[]): string {
  const more = names.length - 20;
  return more > 0 ? `${names.slice(0, 20).join(", ")} and ${more} more` : names.join(", ");
}
