/** An option that is written in this project's code, never one that came from a caller. */
export type Flag = `-${string}`;

/**
 * A command line by the role of each word, so that a word from a caller can't become an option: flags are literals of
 * ours, a value is bound to its option by `=`, and what stands alone is checked and set apart by a separator.
 */
export interface CommandLine {
  /** Words of ours before everything else: a subcommand, say. */
  command: readonly string[];
  flags?: readonly Flag[];
  /** Each as one word, `--name=value`: whatever the value begins with, it is this option's. */
  values?: readonly (readonly [name: `--${string}`, value: string | number])[];
  /** What stands before `separator` without being an option: revisions, test files. Never begins with a dash. */
  operands?: readonly string[];
  /** False where the program does not know the word that ends its options: then the dash alone is what counts. */
  endOfOptions?: false;
  /** What stands after `--`, whatever it begins with. Given and empty, the `--` is there all the same. */
  paths?: readonly string[];
}

/**
 * The words of a command line.
 *
 * @param endOfOptions - the word that ends the options before `operands`, if the program has one
 * @throws TypeError - an operand looks like an option, or a word has a NUL: its caller should have refused it
 */
export function commandWords(line: CommandLine, endOfOptions?: string): string[] {
  const { command, flags = [], values = [], operands = [], paths } = line;
  const dashed = operands.find((word) => word.startsWith("-"));
  if (dashed !== undefined) throw new TypeError(`${JSON.stringify(dashed)} looks like an option`);
  const words = [
    ...command,
    ...flags,
    ...values.map(([name, value]) => `${name}=${value}`),
    ...(endOfOptions === undefined || line.endOfOptions === false || operands.length === 0
      ? []
      : [endOfOptions]),
    ...operands,
    ...(paths === undefined ? [] : ["--", ...paths]),
  ];
  if (words.some((word) => word.includes("\0"))) throw new TypeError("a word has a NUL in it");
  return words;
}
