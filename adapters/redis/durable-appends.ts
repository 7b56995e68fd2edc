import type { Redis } from "ioredis";
import { StoreError } from "../../machines/contracts/domain/errors.ts";
import { endConnection } from "./connect.ts";
import { type BoundScript, bindScript } from "./keys.ts";
import { appendJournal } from "./step-scripts.ts";

/** How long a server may take to write its append-only file to the disk; `appendfsync everysec` takes up to two seconds. */
const fsyncMs = 10_000;

export interface DurableAppends {
  append: BoundScript;
  close(): void;
}

/**
 * Appends to journals that are on the server's disk when they resolve: each group of them is followed by
 * `WAITAOF 1 0`, on a connection of their own, since that command blocks it. What comes while a group is waited for
 * goes together in the next, as databases commit: an append waits for two turns of the disk at most.
 *
 * @param connect makes that connection when the first append asks for it
 */
export function createDurableAppends(connect: () => Promise<Redis>): DurableAppends {
  let connected: Promise<{ redis: Redis; append: BoundScript }> | null = null;
  let queued: { inputs: (string | number)[]; reply: PromiseWithResolvers<unknown> }[] = [];
  let isRunning = false;

  async function commit(group: typeof queued): Promise<void> {
    try {
      connected ??= connect().then((redis) => ({
        redis,
        append: bindScript(redis, appendJournal),
      }));
      const { redis, append } = await connected;
      const replies = await Promise.allSettled(group.map(({ inputs }) => append(...inputs)));
      if (!(await isOnDisk(redis))) {
        throw new StoreError("passing", `Redis did not sync its file within ${fsyncMs} ms`);
      }
      replies.forEach((reply, n) => {
        if (reply.status === "fulfilled") group[n]?.reply.resolve(reply.value);
        else group[n]?.reply.reject(reply.reason);
      });
    } catch (error) {
      for (const { reply } of group) reply.reject(error);
    }
  }

  async function commitAll(): Promise<void> {
    isRunning = true;
    while (queued.length > 0) {
      const group = queued;
      queued = [];
      await commit(group);
      // One that could not be made is tried again by the next append.
      await connected?.catch(() => (connected = null));
    }
    isRunning = false;
  }

  return {
    append: (...inputs) => {
      const reply = Promise.withResolvers<unknown>();
      queued.push({ inputs, reply });
      if (!isRunning) void commitAll();
      return reply.promise;
    },
    close: () => void connected?.then(({ redis }) => endConnection(redis)).catch(() => {}),
  };
}

async function isOnDisk(redis: Redis): Promise<boolean> {
  try {
    const [synced] = (await redis.call("WAITAOF", 1, 0, fsyncMs)) as [number, number];
    return synced >= 1;
  } catch (error) {
    // A server that refuses the question (its append-only file was switched off since) can't say.
    if (error instanceof Error && error.name === "ReplyError") return true;
    throw error;
  }
}
