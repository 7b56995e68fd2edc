import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  freePort,
  type RedisProcess,
  startRedisProcess,
} from "../../adapters/redis/redis-process.ts";
import { requireRedisServer } from "./needs-redis.ts";

export interface TestRedis {
  /** `redis://127.0.0.1:{port}`, no password. */
  url: string;
  port: number;
  /** Stops it where it is: it takes connections, and answers nothing. `stop` ends it all the same. */
  freeze(): void;
  /** Ends the server and removes its data. */
  stop(): Promise<void>;
  /** Ends the server and starts it again on the same port with the same data. */
  restart(): Promise<void>;
}

/** A real server of this test's own, on a free loopback port with its data in a temporary folder. */
export async function startTestRedis(): Promise<TestRedis> {
  const binary = requireRedisServer("this program");
  const directory = await mkdtemp(join(tmpdir(), "stateplane-redis-"));
  const port = await freePort();
  const start = () => startRedisProcess(binary, directory, { host: "127.0.0.1", port });
  let isFrozen = false;
  let server: RedisProcess = await start();
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    freeze: () => {
      process.kill(server.pid, "SIGSTOP");
      isFrozen = true;
    },
    stop: async () => {
      // A stopped one heeds no other signal.
      if (isFrozen) process.kill(server.pid, "SIGCONT");
      isFrozen = false;
      await server.stop();
      await rm(directory, { recursive: true, force: true });
    },
    restart: async () => {
      await server.stop();
      server = await start();
    },
  };
}

/** The servers on this machine whose title has these words, such as a private one's folder or `:PORT`. */
export async function redisServersOf(words: string): Promise<number[]> {
  const found = promisify(execFile)("pgrep", ["-f", `redis-server .*${words}`]);
  const { stdout } = await found.catch(() => ({ stdout: "" }));
  return stdout.trim().split("\n").filter(Boolean).map(Number);
}
