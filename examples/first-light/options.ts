import { parseArgs, type ParseArgsConfig } from "node:util";
import { nearest } from "../../machines/contracts/domain/nearest.ts";

type Options = NonNullable<ParseArgsConfig["options"]>;

/**
 * The options that this process was given.
 *
 * @throws Error that names the one that was probably meant
 */
export function readOptions<O extends Options>(options: O) {
  const loose = { options, strict: false, tokens: true, allowPositionals: true } as const;
  for (const token of parseArgs(loose).tokens) {
    if (token.kind !== "option" || token.name in options) continue;
    const names = Object.keys(options);
    const meant = nearest(token.name, names);
    const all = names.map((name) => `--${name}`).join(", ");
    const hint = meant === null ? `expected ${all}` : `did you mean --${meant}?`;
    throw new Error(`there is no option ${token.rawName}; ${hint}`);
  }
  return parseArgs({ options }).values;
}
