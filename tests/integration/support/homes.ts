import { randomUUID } from "node:crypto";
import { createRedisHome } from "../../../adapters/redis/backend.ts";
import { createSqliteHome } from "../../../adapters/sqlite/backend.ts";
import { systemClock } from "../../../actors/runtime.ts";
import type { Home } from "../../../machines/contracts/ports/step-backend.ts";
import { startTestRedis, type TestRedis } from "./redis.ts";

/** Makes homes that share one store, private to the test: as many workers as the test likes. */
export interface HomeFactory {
  name: string;
  start(): Promise<void>;
  /** Another worker's view of the same store; `room` keeps tests apart. */
  home(room: string): Promise<Home>;
  stop(): Promise<void>;
}

export function redisHomes(): HomeFactory & { server(): TestRedis } {
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
    home: (room) => {
      const consumer = `test-${randomUUID()}`;
      return createRedisHome({ url: server().url, prefix: `${room}:`, consumer });
    },
    stop: async () => {
      await redis?.stop();
    },
  };
}

export function sqliteHomes(): HomeFactory {
  return {
    name: "SQLite",
    start: async () => {},
    home: (room) =>
      createSqliteHome({
        path: `file:${room}?mode=memory&cache=shared`,
        consumer: `test-${randomUUID()}`,
        clock: systemClock,
      }),
    stop: async () => {},
  };
}
