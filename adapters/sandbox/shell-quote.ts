/** One word of POSIX shell, whatever it holds. NUL can't be quoted and must not be in it. */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
