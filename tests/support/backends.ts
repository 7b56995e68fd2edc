import { randomUUID } from "node:crypto";
import { createRedisBackend } from "../../adapters/redis/backend.ts";
import { createSqliteBackend } from "../../adapters/sqlite/backend.ts";
import { systemClock } from "../../actors/runtime.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { startTestRedis, type TestRedis } from "./redis.ts";

/** Makes backends that share one store, private to the test: as many workers as the test likes. */
export interface BackendFactory {
  name: string;
  start(): Promise<void>;
  /** Another worker's view of the same store; `room` keeps tests apart. */
  backend(room: string): Promise<StepBackend>;
  stop(): Promise<void>;
}

export function redisBackends(): BackendFactory & { server(): TestRedis } {
  let redis: TestRedis | undefined;
  const server = () => {
    if (redis === undefined) throw new Error("the test's Redis was not started");
    return redis;
  };
  return {
    name: "Redis",
    server,
    start: async () => {
      redis = await startTestRedis();
    },
    backend: (room) => {
      const consumer = `test-${randomUUID()}`;
      return createRedisBackend({ url: server().url, prefix: `${room}:`, consumer });
    },
    stop: async () => {
      await redis?.stop();
    },
  };
}

export function sqliteBackends(): BackendFactory {
  return {
    name: "SQLite",
    start: async () => {},
    backend: (room) =>
      createSqliteBackend({
        path: `file:${room}?mode=memory&cache=shared`,
        consumer: `test-${randomUUID()}`,
        clock: systemClock,
      }),
    stop: async () => {},
  };
}
