import { createLog } from "../../adapters/telemetry/log.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import type { Context } from "../command.ts";

/**
 * The program's log, on standard error: for people where a person looks at it, else one JSON object a line.
 *
 * @param standard the level where nobody chose one
 */
export function openLog(
  { config, invocation }: Pick<Context, "config" | "invocation">,
  standard: "info" | "warn",
): Log {
  const { settings, sources } = config;
  const { logFormat } = settings;
  const isPerson = process.stderr.isTTY === true && !invocation.isJson;
  return createLog({
    level: sources.logLevel === "default" ? standard : settings.logLevel,
    name: settings.workerName,
    pretty: logFormat === "pretty" || (logFormat === "auto" && isPerson),
  });
}
