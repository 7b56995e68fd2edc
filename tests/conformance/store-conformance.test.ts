import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect } from "vitest";
import { systemClock } from "../../actors/runtime.ts";
import { createRedisBackend } from "../../adapters/redis/backend.ts";
import { createSqliteBackend } from "../../adapters/sqlite/backend.ts";
import { maxDeadLetters } from "./store-conformance/stage.ts";
import { storeConformance } from "./store-conformance.ts";
import { startTestRedis, type TestRedis } from "../support/redis.ts";

let server: TestRedis;
let rooms = 0;

beforeAll(async () => {
  server = await startTestRedis();
});
afterAll(async () => {
  await server.stop();
});

storeConformance("Redis [store.conformance]", async () => {
  rooms += 1;
  const prefix = `room${rooms}:`;
  return {
    open: (consumer) => createRedisBackend({ url: server.url, prefix, consumer, maxDeadLetters }),
    clean: async () => {
      const redis = new Redis(server.url);
      // A closed backend leaves the server no connection of its own.
      const clients = String(await redis.client("LIST"))
        .trim()
        .split("\n");
      const keys = await redis.keys(`${prefix}*`);
      if (keys.length > 0) await redis.del(keys);
      await redis.quit();
      expect(clients).toHaveLength(1);
    },
  };
});

storeConformance("SQLite in a file", async () => {
  const directory = await mkdtemp(join(tmpdir(), "stateplane-sqlite-"));
  const path = join(directory, "deep", "steps.db");
  return {
    open: (consumer) => createSqliteBackend({ path, consumer, clock: systemClock, maxDeadLetters }),
    clean: async () => {
      const left = await readdir(join(directory, "deep"));
      await rm(directory, { recursive: true, force: true });
      expect(left).toEqual(["steps.db"]);
    },
  };
});

storeConformance("SQLite in memory", async () => {
  rooms += 1;
  const path = `file:room${rooms}?mode=memory&cache=shared`;
  return {
    open: (consumer) => createSqliteBackend({ path, consumer, clock: systemClock, maxDeadLetters }),
    clean: async () => {},
  };
});
