import { mkdir } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import {
  findRedisServer,
  freePort,
  type RedisProcess,
  startRedisProcess,
} from "../../adapters/redis/redis-process.ts";

export interface DurableRedis {
  url: string;
  /** Kills it (SIGKILL), and starts it again on the same port with what its append-only file has. */
  restart(awayMs: number): Promise<void>;
  stop(): Promise<void>;
}

/**
 * A real Redis of our own in `directory`, with appendonly yes and appendfsync always: what it acknowledged
 * survives its death.
 */
export async function startDurableRedis(directory: string): Promise<DurableRedis> {
  const binary = findRedisServer(process.env["PATH"] ?? "");
  if (binary === null) throw new Error("chaos needs redis-server or valkey-server on the PATH");
  await mkdir(directory, { recursive: true });
  const port = await freePort();
  const url = `redis://127.0.0.1:${port}`;
  const start = async () => {
    const started = await startRedisProcess(binary, directory, { host: "127.0.0.1", port });
    const redis = new Redis(url);
    await redis.config("SET", "appendfsync", "always");
    redis.disconnect();
    return started;
  };
  let server: RedisProcess = await start();
  return {
    url,
    async restart(awayMs) {
      process.kill(server.pid, "SIGKILL");
      // Waits for its end.
      await server.stop();
      await sleep(awayMs);
      server = await start();
    },
    stop: () => server.stop(),
  };
}
