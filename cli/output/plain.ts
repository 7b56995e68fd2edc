/** Text from elsewhere as one line that can do nothing to a terminal: no control characters, no escapes. */
export function plain(text: string): string {
  return text.replaceAll(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]+/gu, " ");
}

/** As {@link plain}, with every character that nobody would see written as its code. */
export function visible(text: string): string {
  return text
    .replaceAll(
      /\p{Default_Ignorable_Code_Point}|(?![\n\t])\p{Cc}|[\u2028\u2029]/gu,
      (character) => {
        const code = (character.codePointAt(0) ?? 0).toString(16).toUpperCase();
        return `\\u{${code}}`;
      },
    )
    .replaceAll("\t", "  ");
}

/**
 * JSON that can do nothing to a terminal: the control characters that `JSON.stringify` leaves as they are, and
 * those that turn the direction of text, are written as escapes.
 */
export function safeJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replaceAll(
    /[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
