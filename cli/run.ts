import { commands } from "./commands/commands.ts";
import { loadConfig } from "./config/load-config.ts";
import { createOutput } from "./output/output.ts";
import { printError } from "./output/errors.ts";
import { toCliError } from "./output/errors.ts";
import type { Invocation } from "./program.ts";
import { listenForStop } from "./stopping.ts";

/** Runs one command with this process's folder, environment and streams; returns the exit code. */
export async function run(invocation: Invocation): Promise<number> {
  const { env } = process;
  const folder = process.cwd();
  const { isJson, isDebug } = invocation;
  const output = createOutput({ out: process.stdout, remarks: process.stderr, isJson, env });
  const stopping = listenForStop();
  try {
    const file = invocation.configFile;
    const config = await loadConfig({ flags: invocation.settings, env, folder, file });
    const command = await commands[invocation.command]();
    return await command({ invocation, config, env, folder, output, stopping });
  } catch (error) {
    if (stopping.signal.aborted) return 130;
    const cliError = toCliError(error);
    printError(cliError?.message ?? `unexpected: ${String(error)}; --debug shows where`);
    if (isDebug && error instanceof Error) process.stderr.write(`${error.stack}\n`);
    return cliError?.exitCode ?? 1;
  } finally {
    stopping.release();
  }
}
