import tab, { type RootCommand, script } from "@bomb.sh/tab";
import fromCommander from "@bomb.sh/tab/commander";
import { runStatuses } from "../../machines/contracts/domain/status.ts";
import { calledAs, word } from "../called-as.ts";
import type { Command } from "../command.ts";
import { CliError } from "../output/errors.ts";
import { consoleTo } from "../output/standard-output.ts";
import { buildProgram, commonFlags } from "../program.ts";

const shells = ["bash", "zsh", "fish"] as const;

/** `completion SHELL`: the shell's script, which asks `complete` at each Tab. */
export const completion: Command = async ({ invocation, output }) => {
  const named = invocation.args[0] ?? "";
  const shell = shells.find((known) => known === named);
  if (shell === undefined) {
    throw new CliError(2, `completion: expected bash, zsh or fish, not ${JSON.stringify(named)}`);
  }
  // Written out where we are not on the PATH: a shell's start is in another folder.
  const isOnPath = calledAs() === "stateplane";
  const program = isOnPath
    ? "stateplane"
    : [process.execPath, process.argv[1] ?? ""].map(word).join(" ");
  if (output.isJson) throw new CliError(2, "completion: a script can't be printed as JSON");
  // It prints by the console.
  consoleTo(process.stdout);
  script(shell, "stateplane", program);
  return 0;
};

/** Values of flags that are words of ours. */
const known: Readonly<Record<string, readonly string[]>> = {
  store: ["auto", "redis", "sqlite"],
  machine: ["step", "supervisor"],
  status: runStatuses,
  "log-level": ["debug", "info", "warn", "error", "silent"],
};

/**
 * Prints what may stand next, a line each, as the script of `completion` reads it. Needs no configuration, and fails for
 * none.
 *
 * @param words those after the program's name, the one to complete last
 */
export function complete(words: string[]): void {
  const commander = buildProgram({ columns: 80, program: "stateplane" }, { print() {}, run() {} });
  const root = fromCommander(commander) as RootCommand;
  // The adapter's own command, which asks for what is asked here.
  root.commands.delete("complete");
  for (const [name, command] of root.commands) {
    if (name.endsWith(" help")) root.commands.delete(name);
    // A candidate is a line: the notes of the help are not for here.
    command.description = command.description.split("\n")[0] ?? "";
  }
  for (const command of [root, ...root.commands.values()]) {
    for (const [name, { type, help }] of Object.entries(commonFlags)) {
      if (type === "switch") command.option(name, help);
      else command.option(name, help, () => {});
    }
    for (const [name, values] of Object.entries(known)) {
      const option = command.options.get(name);
      if (option === undefined) continue;
      command.option(name, option.description, (add) => values.forEach((value) => add(value, "")));
    }
  }
  root.commands
    .get("completion")
    ?.argument("shell", (add) => shells.forEach((name) => add(name, "")));
  tab.parse(words);
}
