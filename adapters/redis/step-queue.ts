import { setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";
import type { Delivery, StepQueue } from "../../machines/contracts/ports/step-backend.ts";
import { createDeadLetters } from "./dead-letters.ts";
import { endConnection } from "./connect.ts";
import { fieldsOf, group, ourConsumers, releasedConsumer, type Keys, bindScript } from "./keys.ts";
import {
  claimStale,
  forgetConsumers,
  release,
  leaveGroup,
  makeGroup,
  renewLeases,
} from "./queue-scripts.ts";
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
  options: {
    foreignLeaseMs: number;
    maxDeadLetters: number;
    rememberMs: number;
    /** Told when the group that this consumer was in is gone, and all that was noted of it. */
    onEmptied: () => void;
  },
): StepQueue {
  const { stream, position } = keys;
  const { foreignLeaseMs } = options;
  const claim = bindScript(redis, claimStale);
  const forget = bindScript(redis, forgetConsumers);
  const give = bindScript(redis, release);
  const leave = bindScript(redis, leaveGroup);
  const renew = bindScript(redis, renewLeases);
  const make = bindScript(redis, makeGroup);
  let isInGroup = false;
  const createGroup = async () => {
    const made = await make(stream, position, group);
    if (made === 2 && isInGroup) options.onEmptied();
    isInGroup = true;
  };

  const giveBack = async (entryIds: string[]) => {
    if (entryIds.length > 0) await give(stream, group, consumer, releasedConsumer, ...entryIds);
  };

  /** The value of `move`, or of `otherwise` when the group was gone; it is there again then. */
  async function healing<T>(move: () => Promise<T>, otherwise: T): Promise<T> {
    try {
      const moved = await move();
      isInGroup = true;
      return moved;
    } catch (error) {
      if (!isGroupGone(error)) throw error;
      await createGroup();
      return otherwise;
    }
  }

  return {
    consumer,
    async publish(fields) {
      const entryId = await redis.xadd(stream, "*", ...Object.entries(fields).flat());
      return entryId ?? "";
    },
    read: createStreamReader(reader, redis, stream, { consumer, createGroup, release: giveBack }),
    async claimStale(leaseMs, count) {
      const bound = Math.max(deadAfter.leases * leaseMs, deadAfter.atLeastMs);
      const [taken] = await healing(
        async () =>
          (await Promise.all([
            claim(
              stream,
              position,
              group,
              consumer,
              Math.ceil(leaseMs),
              count,
              Math.max(foreignLeaseMs, leaseMs),
              ourConsumers,
            ),
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
    ...createDeadLetters(redis, keys, consumer, options),
    async stats() {
      // Makes the stream and the group where they are gone: the rest would not find them.
      const [pending] = await healing(() => redis.xpending(stream, group), [0]);
      const [length, deadLetters, dropped, parked, groups, consumers] = await Promise.all([
        redis.xlen(stream),
        redis.xlen(keys.letters),
        redis.get(keys.droppedLetters),
        redis.get(keys.parked),
        redis.xinfo("GROUPS", stream),
        redis.xinfo("CONSUMERS", stream, group),
      ]);
      const all = (consumers as string[][]).map(fieldsOf);
      const own = (groups as string[][]).map(fieldsOf).find(({ name }) => name === group);
      return {
        length,
        pending: Number(pending),
        deadLetters,
        droppedLetters: Number(dropped ?? 0),
        parked: Math.max(0, Number(parked ?? 0)),
        waitingMs: await waitingMs(redis, stream, own?.["last-delivered-id"]),
        consumers: all
          .filter(({ name }) => name !== releasedConsumer)
          .map(({ name = "", pending: taken }) => ({ name, taken: Number(taken) })),
      };
    },
    async close() {
      endConnection(reader);
      // A server that is away is not waited for: others forget this consumer in time.
      const leaving = redis.status === "ready" && leave(stream, group, consumer).catch(() => {});
      await Promise.race([leaving, sleep(leaveMs, undefined, { ref: false })]);
    },
  };
}

/** The age of the first entry after the last that was delivered, by the server's own time. */
async function waitingMs(redis: Redis, stream: string, after = "0-0"): Promise<number | null> {
  const [[next], [seconds = 0, micros = 0]] = await Promise.all([
    redis.xrange(stream, `(${after}`, "+", "COUNT", 1),
    redis.time(),
  ]);
  if (next === undefined) return null;
  const now = Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
  return Math.max(0, now - Number.parseInt(next[0], 10));
}

type Taken = [entryId: string, deliveries: number, flat: string[]];

function toDelivery([entryId, deliveries, flat]: Taken): Delivery {
  return { entryId, fields: fieldsOf(flat), deliveries };
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
