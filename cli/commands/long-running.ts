import { once } from "node:events";
import { createLog } from "../../adapters/telemetry/log.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import type { Context } from "../command.ts";
import type { Worker } from "../compose/start-worker.ts";
import { CliError } from "../output/errors.ts";
import { type LoopWatch, releaseOnFall } from "../nets.ts";
import { secrets } from "../secrets.ts";
import type { Stopping } from "../stopping.ts";

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
  // No worker is there whose name a line could bear; a name that somebody chose stays.
  const isPlane = invocation.command === "control-plane" && sources.workerName === "default";
  const isPerson = process.stderr.isTTY === true && !invocation.isJson;
  const log = createLog({
    level: sources.logLevel === "default" ? standard : settings.logLevel,
    name: isPlane ? "control-plane" : settings.workerName,
    hide: secrets.hide,
    stacks: invocation.isDebug,
    pretty: logFormat === "pretty" || (logFormat === "auto" && isPerson),
  });
  for (const text of config.misspelt) log.warn({}, text);
  return log;
}

/** Whether the inspector's page was asked for. @throws CliError for a port of one that was not */
export function asksForInspector({ invocation }: Pick<Context, "invocation">): boolean {
  const isAsked = invocation.flags["inspect"] === true;
  if (isAsked || invocation.settings["inspect-port"] === undefined) return isAsked;
  throw new CliError(
    2,
    `${invocation.command}: --inspect-port is the port of the inspector, which only --inspect starts: give --inspect too`,
  );
}

/**
 * Lets the worker work until the first signal, then lets its steps finish; at the second they are released.
 *
 * @param watch over the event loop; ended with the worker
 * @throws CliError when the worker gave up by itself
 */
export async function workUntilStopped(
  worker: Pick<Worker, "runtime" | "close" | "hurry">,
  { stopping, watch }: { stopping: Stopping; watch: LoopWatch },
  onStopping: () => void,
): Promise<void> {
  const { signal, now } = stopping;
  const release = async () => {
    await worker.runtime.stop();
    await worker.close();
  };
  const keep = releaseOnFall(release);
  const asked = signal.aborted ? Promise.resolve(null) : once(signal, "abort").then(() => null);
  const ended = await Promise.race([asked, worker.runtime.ended]);
  if (ended === null) onStopping();
  if (now.aborted) worker.hurry();
  now.addEventListener("abort", () => worker.hurry(), { once: true });
  await worker.close();
  keep();
  watch.end();
  const fault = ended?.fault ?? null;
  if (fault !== null) throw new CliError(3, `the worker gave up: ${fault}`);
}
