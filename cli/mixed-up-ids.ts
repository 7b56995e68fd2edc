import { commandLine, word } from "./called-as.ts";
import { CliError } from "./output/errors.ts";
import { type CommandName, type CommandSpec, specs } from "./specs.ts";

/** What ids that begin so are of, and what shows it. */
const kinds = [
  { begins: "run_", takenAs: "run", what: "a run", shownBy: (id: string) => `runs get ${id}` },
  { begins: "stp_", takenAs: "step", what: "a step", shownBy: (id: string) => `steps show ${id}` },
  { begins: "apr_", takenAs: "approval", what: "an approval", shownBy: () => "approvals list" },
];

/** @throws CliError for an id of one kind where another's is taken: the control plane would only say that there is none */
export function refuseMixedUpIds(command: CommandName, args: readonly string[]): void {
  const { args: names }: CommandSpec = specs[command];
  // Alone, what stands first in `RUN STEP` is a step.
  const taken = names.includes("step?") && args.length === 1 ? ["step"] : names;
  for (const [at, id] of args.entries()) {
    const wanted = kinds.find(({ takenAs }) => takenAs === taken[at]?.replace("?", ""));
    const kind = kinds.find(({ begins }) => id.startsWith(begins));
    if (wanted === undefined || kind === undefined || kind === wanted) continue;
    const shown = commandLine(kind.shownBy(word(id)));
    const what = kind.what === "a run" && wanted.takenAs === "step" ? ", with its steps," : "";
    throw new CliError(
      2,
      `${command}: ${id} is ${kind.what}, where ${wanted.what} was expected; it is shown${what} by: ${shown}`,
    );
  }
}
