import { help } from "./help.ts";
import { printError } from "./output/errors.ts";
import { parseCommand } from "./program.ts";
import manifest from "../package.json" with { type: "json" };

/** Of this package. */
export const version: string = manifest.version;

/**
 * Runs one command line in this process.
 *
 * @returns the exit code: 0 done, 1 the run failed, 2 bad usage or configuration, 3 a service can't be reached,
 *   130 cancelled by a signal
 */
export async function main(argv: readonly string[]): Promise<number> {
  const parsed = parseCommand(argv);
  switch (parsed.kind) {
    case "version":
      process.stdout.write(`stateplane ${version}\n`);
      return 0;
    case "help":
      process.stdout.write(`${help(parsed.of)}\n`);
      return 0;
    case "usage": {
      const see = `stateplane ${parsed.of === null ? "" : `${parsed.of} `}--help`;
      printError(`${parsed.problem} (see: ${see})`);
      return 2;
    }
    case "run": {
      // Only now: help and usage answer at once, without loading what works.
      const { run } = await import("./run.ts");
      return run(parsed.invocation);
    }
  }
}
