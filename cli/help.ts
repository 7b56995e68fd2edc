import { commonFlags, flagsOf } from "./program.ts";
import { type CommandName, type CommandSpec, specs } from "./specs.ts";
import { table } from "./output/output.ts";

const names = Object.keys(specs) as CommandName[];
const isCommand = (words: string): words is CommandName => Object.hasOwn(specs, words);

/** The help of the program (null), of a group such as `runs`, or of one command; no trailing newline. */
export function help(of: string | null): string {
  if (of !== null && isCommand(of)) return commandHelp(of);
  const listed = of === null ? names : names.filter((name) => name.startsWith(`${of} `));
  const title =
    of === null
      ? ["Stateplane runs the steps of AI agents, each a state machine, each reported once.", ""]
      : [];
  const rows = listed.map((name) => [`  stateplane ${usage(name)}`, specs[name].summary]);
  const start =
    of === null
      ? [
          "",
          "Start here:",
          "  stateplane doctor",
          "  stateplane dev",
          '  stateplane submit assistant --task "Say hello" --watch     in another terminal',
          "",
          `Every command takes ${Object.keys(commonFlags)
            .map((flag) => `--${flag}`)
            .join(", ")}. Exit codes: 0 done, 1 the run failed, 2 bad usage or`,
          "configuration, 3 a service can't be reached.",
        ]
      : [];
  return [...title, ...table(rows), ...start].join("\n");
}

function usage(name: CommandName): string {
  return [name, ...specs[name].args].join(" ");
}

function commandHelp(name: CommandName): string {
  const spec: CommandSpec = specs[name];
  const flags = Object.entries(flagsOf(name)).map(([flag, { value, help: text }]) => [
    `  --${flag}${value === undefined ? "" : ` ${value}`}`,
    text,
  ]);
  return [
    `stateplane ${usage(name)} [flags]: ${spec.summary}`,
    "",
    ...(spec.notes ?? []),
    ...(spec.notes === undefined ? [] : [""]),
    ...table(flags),
    "",
    "For example:",
    ...spec.example.map((line) => `  ${line}`),
  ].join("\n");
}
