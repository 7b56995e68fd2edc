import type { Redis } from "ioredis";
import { rejectingWith } from "../../machines/contracts/domain/errors.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { connectRedis, endConnection, parseRedisUrl } from "./connect.ts";
import { createDurableAppends } from "./durable-appends.ts";
import { keysOf, ourConsumers } from "./keys.ts";
import { checkPermissions } from "./permissions.ts";
import { examineServer } from "./server-facts.ts";
import { createStepEntities } from "./step-entities.ts";
import { createStepQueue } from "./step-queue.ts";
import { createStepStore } from "./step-store.ts";
import { createToolPins } from "./tool-pins.ts";
import { toStoreError } from "./trouble.ts";

export interface RedisBackendOptions {
  url: string;
  /** Stands before every key: FerrumDeck's `REDIS_QUEUE_PREFIX`, `fd:queue:`. */
  prefix: string;
  /** Unique to this process's life. */
  consumer: string;
  /** Where the URL came from, for the error that says it is malformed. */
  source?: string;
  /**
   * How long an ended step is remembered, milliseconds: as long as that, a late duplicate of its job is recognised and
   * not run again. An hour outlasts leases, retries and re-enqueued approvals, and bounds a busy server's memory.
   */
  rememberMs?: number;
  /** How long an entry is left to a consumer that is not ours, milliseconds: it may work without a heartbeat. */
  foreignLeaseMs?: number;
  /** Of more dead letters the oldest are dropped. */
  maxDeadLetters?: number;
  /** Told, in a whole sentence, when the server has lost what was in it. */
  warn?: (message: string) => void;
}

const defaults = {
  rememberMs: 60 * 60 * 1_000,
  foreignLeaseMs: 15 * 60 * 1_000,
  maxDeadLetters: 10_000,
};

const emptied = (shown: string) =>
  `the store (Redis at ${shown}) was emptied: the jobs that were in it are gone, and so is what was kept of their steps, so that effects may be repeated. The control plane of Stateplane sends a job again when it has heard nothing of its step for ten minutes; any other has to be told. Switch on the server's persistence (appendonly yes), and see who empties it`;

/**
 * Queue and store in Redis or Valkey, 6.2 or later.
 *
 * @throws InvalidSetting for a malformed URL, or a user who may not do what is needed; StoreUnreachable when nobody fit answers there
 */
export async function createRedisBackend(given: RedisBackendOptions): Promise<StepBackend> {
  const options = { ...defaults, ...given };
  const { prefix } = options;
  const source = options.source ?? "the environment";
  const target = parseRedisUrl(options.url, source);
  const connectForMoves = (): Promise<Redis> =>
    connectRedis(target, {
      // No move takes long: a server silent for so long is gone, and its connection is made anew.
      socketTimeout: 10_000,
    });
  const commands = await connectForMoves();
  const reader = await connectRedis(target, {
    // A read that is not answered is over: sent again later, it would take entries for nobody.
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    disconnectTimeout: 100,
  }).catch((error: unknown) => {
    endConnection(commands);
    throw error;
  });
  try {
    await checkPermissions(commands, { prefix, source, shown: target.shown });
  } catch (error) {
    for (const connection of [commands, reader]) endConnection(connection);
    throw error;
  }
  const { warnings, canWaitForDisk } = await examineServer(commands, prefix);
  const keys = keysOf(prefix);
  const consumer = ourConsumers + options.consumer;
  const entities = createStepEntities(target, prefix);
  // Where the commands' connection is made anew, another server may be the right one: a demoted one answers reads still.
  commands.on("close", () => entities.close());
  let isAbandoned = false;
  const connectAgain = async () => {
    if (isAbandoned) throw new Error("the store was closed");
    return connectForMoves();
  };
  const durable = canWaitForDisk ? createDurableAppends(connectAgain) : null;
  const onEmptied = () => options.warn?.(emptied(target.shown));
  const queue = createStepQueue(commands, reader, keys, consumer, { ...options, onEmptied });
  const appendDurably = durable?.append ?? null;
  const store = createStepStore(commands, entities, keys, consumer, { ...options, appendDurably });
  const abandon = () => {
    isAbandoned = true;
    durable?.close();
    for (const connection of [commands, reader]) endConnection(connection);
  };
  return {
    queue: rejectingWith(queue, (error) => toStoreError(error, "queue")),
    store: rejectingWith(store, (error) => toStoreError(error, "step")),
    pins: rejectingWith(createToolPins(commands, keys.toolPins), (error) =>
      toStoreError(error, "queue"),
    ),
    describe: `Redis at ${target.shown}`,
    warnings,
    abandon,
    close: async () => {
      entities.close();
      await queue.close();
      abandon();
    },
  };
}
