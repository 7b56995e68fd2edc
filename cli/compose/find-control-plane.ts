import type { Log } from "../../machines/contracts/ports/clock.ts";
import { openApi } from "../commands/with-control-plane.ts";
import type { Config } from "../config/load-config.ts";
import { CliError } from "../output/errors.ts";
import { awaitControlPlane } from "./await-control-plane.ts";

/**
 * What a worker can't do without: silently standing in for any of it would lose somebody's jobs.
 *
 * @throws CliError naming what is missing
 */
export function requireControlPlane({ settings }: Pick<Config, "settings">): {
  url: string;
  apiKey: string;
} {
  const { redisUrl, store, controlPlaneUrl: url, apiKey } = settings;
  const missing = [
    ...(redisUrl === null && store === "auto"
      ? ["REDIS_URL (the stream of the control plane; or --store redis or sqlite, for one machine)"]
      : []),
    ...(url === null ? ["CONTROL_PLANE_URL (such as http://localhost:8080)"] : []),
    ...(apiKey === null ? ["FD_API_KEY (the control plane's key)"] : []),
  ];
  if (missing.length === 0 && url !== null && apiKey !== null) return { url, apiKey };
  throw new CliError(2, `the worker needs ${missing.join(", and ")} to be set`);
}

/**
 * Waits for the control plane of a worker.
 *
 * @throws InvalidSetting when it refuses our key, and the signal's reason when told to stop
 */
export async function findControlPlane(
  config: Config,
  target: { url: string; apiKey: string },
  log: Log,
  signal: AbortSignal,
): Promise<{ url: string; apiKey: string }> {
  const api = openApi({ ...target, timeoutMs: config.settings.requestTimeoutMs }, config);
  try {
    await awaitControlPlane(api, config.sources.apiKey, log, signal);
  } finally {
    await api.close();
  }
  signal.throwIfAborted();
  return target;
}
