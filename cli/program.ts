import { Command, CommanderError, Help as Helper } from "commander";
import { settingSources } from "./config/setting-sources.ts";
import { type CommandName, type CommandSpec, type FlagSpec, groups, specs } from "./specs.ts";

/** What a command line asks for, read and not yet done. */
export interface Invocation {
  command: CommandName;
  /** As many as the command names; those that may be left out, may be missing. */
  args: string[];
  /** The command's own flags that were given. */
  flags: Record<string, string | true>;
  /** Settings given as flags, by flag name. */
  settings: Record<string, string>;
  isJson: boolean;
  isDebug: boolean;
  /** `--config FILE`. */
  configFile: string | null;
}

export type Parsed =
  | { kind: "run"; invocation: Invocation }
  | { kind: "help"; text: string }
  | { kind: "version" }
  /** `of` is the command that was meant, or null for the program. */
  | { kind: "usage"; problem: string; of: string | null };

/** Flags that every command takes, before or after its name. */
export const commonFlags: Readonly<Record<string, FlagSpec>> = {
  config: { type: "text", value: "file", help: "use this file, not stateplane.config.*" },
  json: { type: "switch", help: "answer in JSON" },
  debug: { type: "switch", help: "show the stack of an error" },
};

/**
 * What a command line asks for. Pure: nothing is read and nothing is done.
 *
 * @param columns the width that help is wrapped to
 * @param program what a person types to start us, for the help
 */
export function parseCommand(
  argv: readonly string[],
  columns = 80,
  program = "stateplane",
): Parsed {
  let invocation: Invocation | null = null;
  let help = "";
  const commander = buildProgram(
    { columns, program },
    {
      print: (text) => (help += text),
      run: (found) => (invocation = found),
    },
  );
  try {
    commander.parse(argv.length === 0 ? ["--help"] : spelledOut(argv), { from: "user" });
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const { code, message } = error.error;
    if (code === "commander.version") return { kind: "version" };
    if (code === "commander.helpDisplayed") return { kind: "help", text: help.trimEnd() };
    return { kind: "usage", problem: problem(error.command, code, message), of: error.command };
  }
  if (invocation === null) throw new Error("the command line was neither run nor refused");
  return { kind: "run", invocation };
}

/** `help runs get` is `runs get --help`; `version` is `--version`. */
function spelledOut(argv: readonly string[]): string[] {
  const [first, ...rest] = argv;
  if (first === "version") return ["--version"];
  if (first !== "help") return [...argv];
  const [word = ""] = rest;
  const isKnown = word === "" || Object.hasOwn(groups, word) || Object.hasOwn(specs, word);
  return isKnown ? [...rest, "--help"] : rest;
}

/** Commander's refusal, and the command that refused. */
class UsageError extends Error {
  override readonly name = "UsageError";
  readonly command: string | null;
  readonly error: CommanderError;

  constructor(command: string | null, error: CommanderError) {
    super(error.message);
    this.command = command;
    this.error = error;
  }
}

/** One line, in lower case, its suggestion included. */
function problem(command: string | null, code: string, message: string): string {
  const start = command === null ? "" : `${command}: `;
  if (code === "commander.help") return `${start}expected ${verbs(command ?? "")}`;
  const said = message
    .replace(/^error: /u, "")
    .replace(/\s*\n\(Did you mean (.*)\?\)$/su, "; did you mean $1?");
  const hint = code === "commander.excessArguments" ? " Quote a text that has spaces." : "";
  const isStranger = code === "commander.unknownCommand" && !said.includes("did you mean");
  const known = isStranger && command !== null ? `; expected ${verbs(command)}` : "";
  return `${start}${said}${known}${hint}`;
}

/** `list, get, watch or cancel`. */
function verbs(group: string): string {
  return Object.keys(specs)
    .filter((name) => name.startsWith(`${group} `))
    .map((name) => name.split(" ")[1])
    .join(", ")
    .replace(/, (?=[^,]*$)/u, " or ");
}

interface Hooks {
  print(text: string): void;
  run(invocation: Invocation): void;
}

/** How help is written: how wide, and with what name of ours. */
interface Help {
  columns: number;
  program: string;
}

export function buildProgram(help: Help, { print, run }: Hooks): Command {
  const { columns } = help;
  const program = named(new Command(help.program), null)
    .usage("[options] <command>")
    .description(
      "Stateplane runs the steps of AI agents: each a state machine, each reported once.",
    )
    .configureOutput({
      writeOut: print,
      writeErr: () => {},
      getOutHelpWidth: () => columns,
      getErrHelpWidth: () => columns,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .configureHelp({ minWidthToWrap: 16, showGlobalOptions: true })
    .helpOption("-h, --help", "show help")
    .helpCommand(false)
    // Only its flag is used: what the version is, is for whoever prints it to know.
    .version("", "-v, --version", "show the version")
    .addHelpText("after", () => startHere(help));
  for (const [name, spec] of Object.entries(commonFlags)) addFlag(program, name, spec);
  for (const name of Object.keys(specs) as CommandName[]) {
    addCommand(program, name, help).action(function act(this: Command) {
      run(invocationOf(name, this));
    });
  }
  return program;
}

function named(command: Command, name: string | null): Command {
  return command.exitOverride((error) => {
    throw new UsageError(name, error);
  });
}

function addCommand(program: Command, name: CommandName, help: Help): Command {
  const spec: CommandSpec = specs[name];
  const [first = "", second] = name.split(" ");
  const parent = second === undefined ? program : groupOf(program, first);
  const command = named(parent.command(second ?? first), name)
    .summary(spec.summary)
    .description(startable([sentence(spec.summary), ...(spec.notes ?? [])].join("\n"), help))
    .addHelpText("after", () => `\nExamples:\n${examples(spec.example, help)}`);
  if (spec.alias !== undefined) command.alias(spec.alias);
  if (spec.passesOn === true) command.allowUnknownOption().allowExcessArguments();
  for (const arg of spec.args) {
    command.argument(arg.endsWith("?") ? `[${arg.slice(0, -1)}]` : `<${arg}>`);
  }
  for (const [flag, flagSpec] of Object.entries(flagsOf(name))) addFlag(command, flag, flagSpec);
  return command;
}

/** The group's own command, made when its first verb is. */
function groupOf(program: Command, group: string): Command {
  const made = program.commands.find((command) => command.name() === group);
  if (made !== undefined) return made;
  const summary = groups[group] ?? "";
  return named(program.command(group), group).summary(summary).description(sentence(summary));
}

const sentence = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

function addFlag(command: Command, name: string, { type, value, short, help }: FlagSpec): void {
  const flags = `${short === undefined ? "" : `-${short}, `}--${name}`;
  command.option(type === "switch" ? flags : `${flags} <${value ?? "value"}>`, help);
}

/** The flags of a command: its own, then the settings it takes, in the order of its help. */
export function flagsOf(name: CommandName): Readonly<Record<string, FlagSpec>> {
  const spec: CommandSpec = specs[name];
  const settings = spec.settings.flatMap((key): [string, FlagSpec][] => {
    const source = settingSources[key];
    const { flag, env = [], fallback = null, shownFallback, help = "", mask } = source;
    const value = source.isPath ? "path" : mask === "url" ? "url" : "value";
    const standard = shownFallback ?? fallback;
    const origin = [env[0], standard === null ? undefined : `default ${standard}`];
    const text = `${help} (${origin.filter((part) => part !== undefined).join(", ")})`;
    // What has no flag is taken from the environment and the file alone.
    if (flag === undefined) return [];
    return [
      [flag, { type: "text", value: typeof fallback === "number" ? "n" : value, help: text }],
    ];
  });
  // A setting's flag that the command has too is the command's own: `--model` of a workflow's run is for every step.
  return { ...spec.flags, ...Object.fromEntries(settings), ...spec.flags };
}

function invocationOf(name: CommandName, command: Command): Invocation {
  const spec: CommandSpec = specs[name];
  const { config, json, debug, ...given } = command.optsWithGlobals<Record<string, unknown>>();
  const flags: Record<string, string | true> = {};
  const settings: Record<string, string> = {};
  for (const option of command.options) {
    const value = given[option.attributeName()];
    const flag = option.long?.slice(2) ?? "";
    if (value === undefined) continue;
    if (spec.flags !== undefined && Object.hasOwn(spec.flags, flag)) {
      flags[flag] = value === true ? true : String(value);
    } else settings[flag] = String(value);
  }
  return {
    command: name,
    args: command.args,
    flags,
    settings,
    isJson: json === true,
    isDebug: debug === true,
    configFile: typeof config === "string" ? config : null,
  };
}

function startHere(help: Help): string {
  const first = [
    "stateplane doctor",
    "stateplane dev",
    'stateplane submit assistant --task "Say hello" --watch',
  ];
  const codes =
    "Exit codes: 0 done; 1 a run, test, eval or check failed, or you said no; 2 bad usage or configuration, or something that is not there; 3 a service can't be reached; 4 a called tool asks a person first; 130 stopped by a signal.";
  return `\nStart here:\n${examples(first, help)}\n\n${new Helper().boxWrap(codes, help.columns)}`;
}

/** Command lines, indented, and continued by a backslash where one is wider than the terminal. */
function examples(lines: readonly string[], help: Help): string {
  return lines.flatMap((line) => continued(startable(line, help), help.columns)).join("\n");
}

/** Commands in a text under the name by which they can be started. */
function startable(text: string, { program }: Help): string {
  return text.replaceAll(/(?<=^|[\s`(])stateplane(?= [a-z])/gu, program);
}

function continued(line: string, columns: number): string[] {
  const words = line.match(/(?:[^\s"']|"[^"]*"|'[^']*')+/gu) ?? [];
  const lines: string[] = [];
  let current = " ";
  for (const word of words) {
    if (current.trim() !== "" && current.length + word.length + 3 > columns) {
      lines.push(`${current} \\`);
      current = "   ";
    }
    current += ` ${word}`;
  }
  return [...lines, current];
}
