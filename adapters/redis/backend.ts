import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { connectRedis, parseRedisUrl } from "./connect.ts";
import { keysOf } from "./keys.ts";
import { createStepEntities } from "./step-entities.ts";
import { createStepQueue } from "./step-queue.ts";
import { createStepStore } from "./step-store.ts";

/**
 * Queue and store in Redis or Valkey, 6.2 or later.
 *
 * @param options.prefix stands before every key: FerrumDeck's `REDIS_QUEUE_PREFIX`, `fd:queue:`
 * @param options.consumer unique to this process's life
 * @param options.source where the URL came from, for the error that says it is malformed
 * @throws InvalidSetting for a malformed URL, StoreUnreachable when nobody fit answers there
 */
export async function createRedisBackend(options: {
  url: string;
  prefix: string;
  consumer: string;
  source?: string;
}): Promise<StepBackend> {
  const { prefix, consumer } = options;
  const target = parseRedisUrl(options.url, options.source ?? "the environment");
  const commands = await connectRedis(target, {
    enableAutoPipelining: true,
    // No move takes long: a server silent for so long is gone, and its connection is made anew.
    socketTimeout: 10_000,
  });
  const reader = await connectRedis(target, {
    // A read that is not answered is over: sent again later, it would take entries for nobody.
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    disconnectTimeout: 100,
  }).catch((error: unknown) => {
    commands.disconnect();
    throw error;
  });
  const keys = keysOf(prefix);
  const entities = createStepEntities(target, prefix);
  const queue = createStepQueue(commands, reader, keys, consumer);
  return {
    queue,
    store: createStepStore(commands, entities, keys, consumer),
    describe: `Redis at ${target.shown}`,
    warnings: [],
    close: async () => {
      await Promise.all([queue.close(), entities.close()]);
      commands.disconnect();
    },
  };
}
