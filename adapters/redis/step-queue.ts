import { setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";
import type { Delivery, StepQueue } from "../../machines/contracts/ports/step-backend.ts";
import { createDeadLetters } from "./dead-letters.ts";
import { fieldsOf, group, releasedConsumer, type Keys, bindScript } from "./keys.ts";
import { claimStale, forgetConsumers, release, leaveGroup, renewLeases } from "./queue-scripts.ts";
import { createStreamReader } from "./stream-reader.ts";

/** A consumer without entries that was not seen for this many leases, and this many ms at least, has died. */
const deadAfter = { leases: 10, atLeastMs: 60_000 };

/** How long a closing consumer waits to be taken out of the group. */
const leaveMs = 1_000;

/** The gateway's stream and its group. `reader` blocks, `redis` never does. */
export function createStepQueue(
  redis: Redis,
  reader: Redis,
  keys: Keys,
  consumer: string,
): StepQueue {
  const { stream } = keys;
  const claim = bindScript(redis, claimStale);
  const forget = bindScript(redis, forgetConsumers);
  const give = bindScript(redis, release);
  const leave = bindScript(redis, leaveGroup);
  const renew = bindScript(redis, renewLeases);

  const giveBack = async (entryIds: string[]) => {
    if (entryIds.length > 0) await give(stream, group, consumer, releasedConsumer, ...entryIds);
  };

  /** The value of `move`, or of `otherwise` when the group was gone; it is there again then. */
  async function healing<T>(move: () => Promise<T>, otherwise: T): Promise<T> {
    try {
      return await move();
    } catch (error) {
      if (!isGroupGone(error)) throw error;
      await createGroup(redis, stream);
      return otherwise;
    }
  }

  return {
    consumer,
    async publish(fields) {
      const entryId = await redis.xadd(stream, "*", ...Object.entries(fields).flat());
      return entryId ?? "";
    },
    read: createStreamReader(reader, redis, stream, { consumer, release: giveBack }),
    async claimStale(leaseMs, count) {
      const bound = Math.max(deadAfter.leases * leaseMs, deadAfter.atLeastMs);
      const [taken] = await healing(
        async () =>
          (await Promise.all([
            claim(stream, group, consumer, leaseMs, count),
            forget(stream, group, consumer, bound),
          ])) as [Taken[], number],
        [[], 0],
      );
      return taken.map(toDelivery);
    },
    async renew(entryIds) {
      if (entryIds.length === 0) return [];
      return (await renew(stream, group, consumer, ...entryIds)) as string[];
    },
    release: giveBack,
    ...createDeadLetters(redis, keys, consumer),
    async stats() {
      const [length, summary, deadLetters] = await Promise.all([
        redis.xlen(stream),
        healing(() => redis.xpending(stream, group), [0]),
        redis.xlen(keys.letters),
      ]);
      return { length, pending: Number(summary[0]), deadLetters, droppedLetters: 0 };
    },
    async close() {
      reader.disconnect();
      // A server that is away is not waited for: others forget this consumer in time.
      const leaving = redis.status === "ready" && leave(stream, group, consumer).catch(() => {});
      await Promise.race([leaving, sleep(leaveMs, undefined, { ref: false })]);
    },
  };
}

type Taken = [entryId: string, deliveries: number, flat: string[]];

function toDelivery([entryId, deliveries, flat]: Taken): Delivery {
  return { entryId, fields: fieldsOf(flat), deliveries };
}

/** Creates the stream and its group, from the stream's beginning, where they are missing. */
export async function createGroup(redis: Redis, stream: string): Promise<void> {
  try {
    await redis.xgroup("CREATE", stream, group, "0", "MKSTREAM");
  } catch (error) {
    if (!says(error, "BUSYGROUP")) throw error;
  }
}

/**
 * True for what a server says when the group or the stream is gone, flushed say. `UNBLOCKED` is what Redis 7.0
 * tells a reader that was waiting at the time.
 */
export function isGroupGone(error: unknown): boolean {
  return says(error, "NOGROUP") || says(error, "UNBLOCKED");
}

function says(error: unknown, code: string): boolean {
  return error instanceof Error && error.message.includes(code);
}
