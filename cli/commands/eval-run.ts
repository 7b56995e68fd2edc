import type { Command } from "../command.ts";
import { CliError } from "../output/errors.ts";

/** Of the commands of evals whose work is not there yet. */
export const notYet: Command = ({ invocation }) => {
  throw new CliError(2, `${invocation.command} can't be used in this version yet`);
};
