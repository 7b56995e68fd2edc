import { calledAs, commandLine } from "./called-as.ts";
import manifest from "../package.json" with { type: "json" };

/** Of this package. */
export const version: string = manifest.version;

const versionWords = new Set(["--version", "-v", "version"]);

/**
 * Runs one command line in this process.
 *
 * @returns the exit code, as docs/configuration.md lists them
 */
export async function main(argv: readonly string[]): Promise<number> {
  // What each answer needs is loaded when it is known which one is wanted.
  const isVersion = argv.length === 1 && versionWords.has(argv[0] ?? "");
  if (argv[0] === "complete") {
    const { complete } = await import("./commands/completion.ts");
    complete(argv.slice(argv[1] === "--" ? 2 : 1));
    return 0;
  }
  const { parseCommand } = isVersion ? { parseCommand: null } : await import("./program.ts");
  const parsed = parseCommand?.(argv, terminalColumns() ?? 80, calledAs()) ?? { kind: "version" };
  switch (parsed.kind) {
    case "version":
      return print(`stateplane ${version}\n`);
    case "help":
      return print(`${parsed.text}\n`);
    case "usage": {
      const { printError } = await import("./output/errors.ts");
      const see = commandLine(`${parsed.of === null ? "" : `${parsed.of} `}--help`);
      printError(`${parsed.problem} (see: ${see})`);
      return 2;
    }
    case "run": {
      // Before anything loads arktype: compiling its own validators takes a third of a start, and no process checks enough
      // to win that back.
      const { configure } = await import("arktype/config");
      configure({ jitless: true });
      const { run } = await import("./run.ts");
      return run(parsed.invocation);
    }
  }
}

async function print(text: string): Promise<number> {
  const { watchStandardOutput } = await import("./output/standard-output.ts");
  const standard = watchStandardOutput();
  process.stdout.write(text);
  return standard.end(0, false);
}

/** The width of the terminal, or what COLUMNS says where there is none; null where neither does. */
export function terminalColumns(): number | null {
  if (process.stdout.isTTY) return process.stdout.columns || null;
  const said = Number(process.env["COLUMNS"] ?? "");
  return Number.isInteger(said) && said >= 20 ? said : null;
}
