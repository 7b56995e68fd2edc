import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { createRedisBackend, type RedisBackendOptions } from "../../adapters/redis/backend.ts";
import { keysOf } from "../../adapters/redis/keys.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { startTestRedis, type TestRedis } from "./redis.ts";

export const prefix = "fd:queue:";
export const keys = keysOf(prefix);

/** Of the test under way; see {@link useRedisBackend}. */
export let server: TestRedis;
/** A client of its own, past the backend. */
export let redis: Redis;
export let backend: StepBackend;

/** One server for the tests of a file; emptied for each of them, with a backend of its own. */
export function useRedisBackend(): void {
  beforeAll(async () => {
    server = await startTestRedis();
    redis = new Redis(server.url);
  });
  afterAll(async () => {
    redis.disconnect();
    await server.stop();
  });
  beforeEach(async () => {
    await redis.flushall();
    backend = await openBackend();
  });
  afterEach(() => backend.close());
}

/** The test's backend anew, set up otherwise. */
export async function reopenBackend(options: Partial<RedisBackendOptions>): Promise<void> {
  await backend.close();
  backend = await openBackend(options);
}

/** Of the worker `worker-1` where nothing else is said. */
export const openBackend = (options: Partial<RedisBackendOptions> = {}): Promise<StepBackend> =>
  createRedisBackend({ url: server.url, prefix, consumer: "worker-1", ...options });
