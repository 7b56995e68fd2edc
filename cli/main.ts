import { commands } from "./commands/commands.ts";
import { loadConfig } from "./config/load-config.ts";
import { help } from "./help.ts";
import { createOutput } from "./output/output.ts";
import { plain } from "./output/plain.ts";
import { toTrouble } from "./output/to-trouble.ts";
import { type Invocation, parseCommand } from "./program.ts";
import { listenForStop } from "./stopping.ts";
import { version } from "./version.ts";

/**
 * Runs one command line in this process: its folder, its environment, its standard streams.
 *
 * @returns the exit code: 0 done, 1 the run failed, 2 bad usage or configuration, 3 a service can't be reached,
 *   130 called off by a signal
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
      say(`${parsed.problem} (see: ${see})`);
      return 2;
    }
    case "run":
      return run(parsed.invocation);
  }
}

async function run(invocation: Invocation): Promise<number> {
  const { env } = process;
  const folder = process.cwd();
  const { isJson, isDebug } = invocation;
  const output = createOutput({ out: process.stdout, remarks: process.stderr, isJson, env });
  const stopping = listenForStop();
  try {
    const file = invocation.configFile;
    const config = await loadConfig({ flags: invocation.settings, env, folder, file });
    const context = { invocation, config, env, folder, output, stopping };
    return await commands[invocation.command](context);
  } catch (error) {
    if (stopping.signal.aborted) return 130;
    const trouble = toTrouble(error);
    if (trouble !== null) say(trouble.message);
    else say(`unexpected: ${String(error)}; --debug shows where`);
    if (isDebug && error instanceof Error) process.stderr.write(`${error.stack}\n`);
    return trouble?.exitCode ?? 1;
  } finally {
    stopping.release();
  }
}

function say(problem: string): void {
  process.stderr.write(`stateplane: ${plain(problem)}\n`);
}
