import { parseArgs, type ParseArgsConfig } from "node:util";
import { settingSources } from "./config/setting-sources.ts";
import { type CommandName, type CommandSpec, type FlagSpec, specs } from "./specs.ts";

export interface Invocation {
  command: CommandName;
  /** As many as the command names. */
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
  /** `of` is a command, a group such as `runs`, or null for the program. */
  | { kind: "help"; of: string | null }
  | { kind: "version" }
  | { kind: "usage"; problem: string; of: string | null };

/** Flags that every command takes. */
export const commonFlags: Readonly<Record<string, FlagSpec>> = {
  config: { type: "text", value: "FILE", help: "in place of stateplane.config.{ts,js,json,yaml}" },
  json: { type: "switch", help: "answer in JSON" },
  debug: { type: "switch", help: "show the stack of an error" },
  help: { type: "switch", help: "show this help" },
};

const names = Object.keys(specs) as CommandName[];
const groups = new Set(names.filter((name) => name.includes(" ")).map(groupOf));

/** What a command line asks for. Pure: nothing is read and nothing is done. */
export function parseCommand(argv: readonly string[]): Parsed {
  const [first, second] = argv;
  if (first === undefined) return { kind: "usage", problem: "no command was given", of: null };
  if (first === "--version" || first === "version") return { kind: "version" };
  if (first === "--help" || first === "-h") return { kind: "help", of: null };
  if (first === "help") return helpOf(argv.slice(1).join(" "));
  if (groups.has(first)) {
    if (second === undefined || second === "--help" || second === "-h") {
      if (second !== undefined) return { kind: "help", of: first };
      return { kind: "usage", problem: `${first}: expected ${verbs(first)}`, of: first };
    }
    const name = find(`${first} ${second}`);
    if (name === null) {
      const problem = `unknown command "${first} ${second}": expected ${first} ${verbs(first)}`;
      return { kind: "usage", problem, of: first };
    }
    return parseFlags(name, argv.slice(2));
  }
  const name = find(first);
  if (name !== null) return parseFlags(name, argv.slice(1));
  const known = [...new Set(names.map(groupOf))].join(", ");
  const what = first.startsWith("-") ? "flag before a command" : "command";
  return { kind: "usage", problem: `unknown ${what} "${first}": expected ${known}`, of: null };
}

function helpOf(words: string): Parsed {
  if (words === "") return { kind: "help", of: null };
  if (groups.has(words) || find(words) !== null) return { kind: "help", of: words };
  return { kind: "usage", problem: `no help for "${words}": no such command`, of: null };
}

function groupOf(name: string): string {
  return name.split(" ")[0] ?? name;
}

/** `list, get, watch or cancel`. */
function verbs(group: string): string {
  const all = names
    .filter((name) => name.startsWith(`${group} `))
    .map((name) => name.split(" ")[1]);
  return all.join(", ").replace(/, (?=[^,]*$)/, " or ");
}

function find(words: string): CommandName | null {
  return names.find((name) => name === words) ?? null;
}

/** Every flag that a command takes, by name, in the order of its help. */
export function flagsOf(name: CommandName): Readonly<Record<string, FlagSpec>> {
  const spec: CommandSpec = specs[name];
  const settings = spec.settings.map((key): [string, FlagSpec] => {
    const { flag = key, env = [], fallback = null, help = "" } = settingSources[key];
    const origin = [env[0], fallback].filter((part) => part != null && part !== "");
    const text = `${help} (${origin.join(", else ")})`;
    return [flag, { type: "text", value: "VALUE", help: text }];
  });
  return { ...spec.flags, ...Object.fromEntries(settings), ...commonFlags };
}

function parseFlags(command: CommandName, argv: readonly string[]): Parsed {
  const spec: CommandSpec = specs[command];
  const known = flagsOf(command);
  const usage = (problem: string): Parsed => ({ kind: "usage", problem, of: command });
  const options: ParseArgsConfig["options"] = { help: { type: "boolean", short: "h" } };
  for (const [name, { type }] of Object.entries(known)) {
    options[name] ??= { type: type === "switch" ? "boolean" : "string" };
  }
  // Not strict: the messages are ours, and name what would have been right.
  const { tokens } = parseArgs({
    args: [...argv],
    options,
    strict: false,
    tokens: true,
    allowPositionals: true,
  });
  const args: string[] = [];
  const given: Record<string, string | true> = {};
  for (const token of tokens) {
    if (token.kind === "positional") args.push(token.value);
    if (token.kind !== "option") continue;
    const flag = Object.hasOwn(known, token.name) ? known[token.name] : undefined;
    if (flag === undefined) {
      const all = Object.keys(known).map((name) => `--${name}`);
      return usage(`${command}: unknown flag ${token.rawName}; it takes ${all.join(", ")}`);
    }
    const { value } = token;
    if (flag.type === "switch" && value !== undefined) {
      return usage(`${command}: ${token.rawName} takes no value`);
    }
    if (flag.type === "text" && (value === undefined || isSwallowed(value, token.inlineValue))) {
      return usage(`${command}: ${token.rawName} needs a value: ${token.rawName} ${flag.value}`);
    }
    given[token.name] = value ?? true;
  }
  if (given["help"] === true) return { kind: "help", of: command };
  const [extra] = args.slice(spec.args.length);
  if (extra !== undefined) {
    const quote = spec.args.length > 0 ? "; quote a text that has spaces" : "";
    return usage(`${command}: unexpected "${extra}"${quote}`);
  }
  const missing = spec.args[args.length];
  if (missing !== undefined) return usage(`${command}: ${missing} is missing`);
  return { kind: "run", invocation: invocation(command, args, given) };
}

/** A flag where a value should be: `--task --json` has no task. */
function isSwallowed(value: string, isInline: boolean | undefined): boolean {
  return isInline !== true && /^--[a-z]/.test(value);
}

function invocation(
  command: CommandName,
  args: string[],
  given: Record<string, string | true>,
): Invocation {
  const own: Record<string, string | true> = {};
  const settings: Record<string, string> = {};
  const spec: CommandSpec = specs[command];
  for (const [name, value] of Object.entries(given)) {
    if (Object.hasOwn(commonFlags, name)) continue;
    if (spec.flags !== undefined && Object.hasOwn(spec.flags, name)) own[name] = value;
    else if (value !== true) settings[name] = value;
  }
  const { config } = given;
  return {
    command,
    args,
    flags: own,
    settings,
    isJson: given["json"] === true,
    isDebug: given["debug"] === true,
    configFile: typeof config === "string" ? config : null,
  };
}
