import { createLog } from "../../adapters/telemetry/log.ts";
import { type Config, loadConfig } from "../config/load-config.ts";
import type { UsersConfig } from "../config/settings.ts";
import { secrets } from "../secrets.ts";
import { findControlPlane, requireControlPlane } from "./find-control-plane.ts";
import { type Dev, startDev } from "./start-dev.ts";
import { startWorker, type Worker, type WorkerHooks } from "./start-worker.ts";

/** What a program may add to its configuration. */
export interface StartHooks extends Partial<WorkerHooks> {
  /** Ends the waiting for a control plane that is not there yet. */
  signal?: AbortSignal;
}

/** A worker of a configuration that a program made. */
export async function startGivenWorker(given: UsersConfig, hooks: StartHooks): Promise<Worker> {
  const { config, filled } = await read(given, hooks);
  const target = requireControlPlane(config);
  const { signal = new AbortController().signal } = hooks;
  return startWorker(config, filled, () => findControlPlane(config, target, filled.log, signal));
}

/** A whole data plane of a configuration that a program made. */
export async function startGivenDev(given: UsersConfig, hooks: StartHooks): Promise<Dev> {
  const { config, filled } = await read(given, hooks);
  return startDev(config, filled);
}

async function read(
  given: UsersConfig,
  { env = process.env, log, ...hooks }: StartHooks,
): Promise<{ config: Config; filled: WorkerHooks }> {
  const values = given as Record<string, unknown>;
  const config = await loadConfig({
    flags: {},
    env,
    folder: process.cwd(),
    file: null,
    given: { path: "the given configuration", values },
  });
  const { logLevel, workerName } = config.settings;
  const level = config.sources.logLevel === "default" ? "warn" : logLevel;
  const ownLog = log ?? createLog({ level, name: workerName, hide: secrets.hide });
  return { config, filled: { ...hooks, env, log: ownLog } };
}
