import type { Config } from "./config/load-config.ts";
import type { Output } from "./output/output.ts";
import type { Invocation } from "./program.ts";
import type { Stopping } from "./stopping.ts";

/** What a command works with. */
export interface Context {
  invocation: Invocation;
  config: Config;
  env: Readonly<Record<string, string | undefined>>;
  /** The working directory. */
  folder: string;
  output: Output;
  stopping: Stopping;
}

/**
 * Does what was asked.
 *
 * @returns the exit code
 * @throws CliError, InvalidSetting or StoreUnreachable for what a person can fix
 */
export type Command = (context: Context) => Promise<number>;
