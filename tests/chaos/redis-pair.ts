import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import {
  freePort,
  type RedisProcess,
  startRedisProcess,
} from "../../adapters/redis/redis-process.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { requireRedisServer } from "../support/needs-redis.ts";

export interface RedisPair {
  /** The address that stays, whichever of the two is the primary. */
  url: string;
  /** Kills the primary (SIGKILL), and starts it again on the same port with what its append-only file has. */
  restart(awayMs: number): Promise<void>;
  /**
   * The replica becomes the primary and the primary a replica, without loss. New connections lead to the new
   * primary; old ones stay where they are, and hear READONLY from now on.
   */
  demote(): Promise<void>;
  stop(): Promise<void>;
}

interface Server {
  port: number;
  directory: string;
  process: RedisProcess;
}

/**
 * Two real servers of our own, a primary and its replica, behind one stable address: what was acknowledged is on
 * disk (appendfsync always) and, when the two change places, on the other.
 */
export async function startRedisPair(directory: string): Promise<RedisPair> {
  const binary = requireRedisServer("chaos");
  const start = async (name: string, port: number): Promise<Server> => {
    const own = join(directory, name);
    await mkdir(own, { recursive: true });
    const host = "127.0.0.1";
    return { port, directory: own, process: await startRedisProcess(binary, own, { host, port }) };
  };
  let primary = await start("one", await freePort());
  let replica = await start("two", await freePort());
  await command(replica, "REPLICAOF", "127.0.0.1", String(primary.port));
  const way = await startTcpProxy(primary.port);
  return {
    url: `redis://127.0.0.1:${way.port}`,
    async restart(awayMs) {
      process.kill(primary.process.pid, "SIGKILL");
      // Waits for its end.
      await primary.process.stop();
      await sleep(awayMs);
      primary = { ...primary, process: await startAgain(binary, primary) };
    },
    async demote() {
      await replicaOnline(primary);
      await command(primary, "FAILOVER", "TO", "127.0.0.1", String(replica.port));
      while (!(await command(replica, "INFO", "replication")).includes("role:master")) {
        await sleep(10);
      }
      [primary, replica] = [replica, primary];
      way.leadTo(primary.port);
    },
    async stop() {
      await way.stop();
      await Promise.all([primary.process.stop(), replica.process.stop()]);
    },
  };
}

const startAgain = (binary: string, { directory, port }: Server): Promise<RedisProcess> =>
  startRedisProcess(binary, directory, { host: "127.0.0.1", port });

async function command({ port }: Server, name: string, ...args: string[]): Promise<string> {
  const redis = new Redis(port, "127.0.0.1");
  try {
    return String(await redis.call(name, ...args));
  } finally {
    redis.disconnect();
  }
}

/**
 * Waits until the primary counts its replica as online, which is what FAILOVER asks for: the replica calls its link up
 * a moment before the primary hears of it.
 */
async function replicaOnline(primary: Server): Promise<void> {
  while (!(await command(primary, "INFO", "replication")).includes("state=online")) {
    await sleep(50);
  }
}
