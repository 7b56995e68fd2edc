import { existsSync } from "node:fs";
import { join } from "node:path";
import { findRedisServer } from "../../adapters/redis/redis-process.ts";
import { systemClock } from "../../actors/runtime.ts";
import { InvalidSetting } from "../../machines/contracts/domain/errors.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import type { Config } from "../config/load-config.ts";
import { makeDataDir } from "../data-folder.ts";
import { readDevNote } from "../dev-note.ts";
import { CliError } from "../output/errors.ts";
import { consumerName } from "../supervise-processes.ts";

export interface ChosenStore {
  backend: StepBackend;
  kind: "redis" | "private-redis" | "sqlite";
  /** For a person: which, where and why. */
  describe: string;
  /** Resolves when it will never answer again: with why and what to do, in a sentence. */
  lost: Promise<string>;
  close(): Promise<void>;
}

const never = new Promise<never>(() => {});

/**
 * What `work` comes to, as long as there is a store to do it with.
 *
 * @throws CliError when the store is lost
 */
export function whileKept<T>({ lost }: ChosenStore, work: Promise<T>): Promise<T> {
  const failing = lost.then((why): never => {
    throw new CliError(3, why);
  });
  return Promise.race([work, failing]);
}

/**
 * The store of a configuration: `--store sqlite` is SQLite; else `REDIS_URL` where set; else a private
 * redis-server or valkey-server where there is one on the PATH; else SQLite, unless `--store redis` forbids it.
 * The last two live in the data folder, and any number of programs of this machine may share them.
 *
 * @param consumer unique to this process's life
 * @param hooks.isInMemory where it is SQLite, it is kept in no file
 * @param hooks.log told when a private server was started again, and when one was emptied
 * @throws StoreUnreachable, or InvalidSetting when `--store redis` can't be had
 */
export async function chooseStore(
  { settings, sources }: Pick<Config, "settings" | "sources">,
  consumer: string,
  { isInMemory = false, log }: { isInMemory?: boolean; log?: Log } = {},
): Promise<ChosenStore> {
  const { redisUrl: url, queuePrefix: prefix, dataDir, store, rememberMs } = settings;
  const kept = { prefix, consumer, rememberMs };
  if (store !== "sqlite" && url !== null) {
    const { createRedisBackend } = await import("../../adapters/redis/backend.ts");
    const warn = (message: string) => log?.warn({}, message);
    const backend = await createRedisBackend({ ...kept, url, source: sources.redisUrl, warn });
    return {
      backend,
      kind: "redis",
      describe: backend.describe,
      lost: never,
      close: () => backend.close(),
    };
  }
  await makeDataDir(dataDir);
  if (store !== "sqlite" && findRedisServer(process.env["PATH"] ?? "") !== null) {
    return openPrivate(join(dataDir, "redis"), kept, log);
  }
  if (store === "redis") {
    const expected = "REDIS_URL to be set, or redis-server or valkey-server on the PATH";
    throw new InvalidSetting("store", sources.store, expected);
  }
  const path = isInMemory ? ":memory:" : join(dataDir, "steps.sqlite");
  const { createSqliteBackend } = await import("../../adapters/sqlite/backend.ts");
  const backend = await createSqliteBackend({ ...kept, path, clock: systemClock });
  const why = store === "sqlite" ? "" : " (no REDIS_URL, and no redis-server on the PATH)";
  return {
    backend,
    kind: "sqlite",
    describe: backend.describe + why,
    lost: never,
    close: () => backend.close(),
  };
}

async function openPrivate(
  directory: string,
  kept: { prefix: string; consumer: string; rememberMs: number },
  log?: Log,
): Promise<ChosenStore> {
  const [{ startPrivateRedis }, { createRedisBackend }] = await Promise.all([
    import("../../adapters/redis/private-server.ts"),
    import("../../adapters/redis/backend.ts"),
  ]);
  const server = await startPrivateRedis({ directory, ...(log === undefined ? {} : { log }) });
  try {
    const source = `the private server in ${directory}`;
    const backend = await createRedisBackend({ ...kept, url: server.url, source });
    return {
      backend,
      kind: "private-redis",
      describe: `a private Redis in ${directory} (no REDIS_URL)`,
      lost: server.lost,
      close: async () => {
        await backend.close();
        await server.stop();
      },
    };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/**
 * Lends the store of the configuration, or that of a `stateplane dev` which runs with the same data folder, to a
 * command that looks into it.
 *
 * @param purpose part of the consumer's name
 * @throws CliError when there is none
 */
export async function withBackend<T>(
  { settings, sources }: Pick<Config, "settings" | "sources">,
  purpose: string,
  work: (backend: StepBackend) => Promise<T>,
): Promise<T> {
  const note = settings.redisUrl === null ? await readDevNote(settings.dataDir) : null;
  if (settings.redisUrl === null && note === null && !existsSync(settings.dataDir)) {
    throw new CliError(2, `no store: REDIS_URL is not set, and there is no ${settings.dataDir}`);
  }
  const isDefault = sources.store === "default";
  const store = note?.store === "sqlite" && isDefault ? "sqlite" : settings.store;
  const here = { settings: { ...settings, store }, sources };
  const chosen = await chooseStore(here, consumerName(`${settings.workerName}-${purpose}`));
  try {
    return await whileKept(chosen, work(chosen.backend));
  } finally {
    await chosen.close();
  }
}
