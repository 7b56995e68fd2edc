/** Text from elsewhere as one line that can do nothing to a terminal: no control characters, no escapes. */
export function plain(text: string): string {
  return text.replaceAll(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]+/gu, " ");
}
