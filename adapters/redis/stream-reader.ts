import { once } from "node:events";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";
import type { Delivery, StepQueue } from "../../machines/contracts/ports/step-backend.ts";
import { isGroupGone } from "./step-queue.ts";
import { fieldsOf, group } from "./keys.ts";

/** How much longer than its BLOCK a read may take before its connection counts as hung. */
const watchdogMs = 2_000;
/** How long an aborted read waits to hear that the server lets it go. */
const unblockMs = 300;
/** How long a read on a connection that just broke waits before it returns. */
const pauseMs = 50;

/**
 * The blocking read, on a connection of its own (`reader`) since it holds it. A read is given up when its
 * signal aborts or when it hangs, as one can after a reconnect; what the server delivers to a read that was
 * given up is released, so that no entry is left behind with a lease nobody renews. While the server is
 * away a read returns nothing.
 */
export function createStreamReader(
  reader: Redis,
  commands: Redis,
  stream: string,
  queue: Pick<StepQueue, "consumer" | "release"> & { createGroup: () => Promise<unknown> },
): StepQueue["read"] {
  async function request(count: number, blockMs: number): Promise<Delivery[]> {
    const deadline = performance.now() + blockMs;
    for (;;) {
      const left = Math.ceil(deadline - performance.now());
      // BLOCK 0 would wait for ever.
      const block = left > 0 ? ["BLOCK", left] : [];
      const start = ["GROUP", group, queue.consumer, "COUNT", count, ...block];
      try {
        return deliveries(await reader.call("XREADGROUP", [...start, "STREAMS", stream, ">"]));
      } catch (error) {
        if (isGroupGone(error)) {
          await queue.createGroup();
        } else if (error instanceof Error && error.name === "ReplyError") {
          throw error;
        } else {
          // The connection broke; the next read waits for it. A pause, since ioredis goes on calling a
          // connection ready that it is closing.
          await sleep(Math.min(blockMs, pauseMs));
          return [];
        }
      }
    }
  }

  // Asked for once a connection: a command before every read would be a third of what an idle worker sends.
  let connectionId: Promise<number | null> | null = null;
  reader.on("close", () => (connectionId = null));

  return async (count, blockMs, signal) => {
    if (!(await isReady(reader, blockMs, signal))) return [];
    const connection = (connectionId ??= reader.client("ID").catch(() => (connectionId = null)));
    // What the read before this one brought is sent on first: a job that waits for its step to be opened gains nothing
    // from the next one's being asked for.
    await nextTurn();
    if (signal.aborted) return [];
    const reply = request(count, blockMs);
    const { promise: givenUp, resolve } = Promise.withResolvers<null>();
    const giveUp = () => resolve(null);
    const watchdog = lateTimer(blockMs + watchdogMs, giveUp);
    // A reply that was under way when the connection closed never comes, nor does an error.
    reader.once("close", giveUp);
    signal.addEventListener("abort", giveUp, { once: true });
    try {
      const read = await Promise.race([reply, givenUp]);
      if (read !== null) return read;
    } finally {
      clearTimeout(watchdog);
      reader.off("close", giveUp);
      signal.removeEventListener("abort", giveUp);
    }

    const release = reply
      .then((late) => queue.release(late.map((delivery) => delivery.entryId)))
      .catch(() => {});
    let isReleased = false;
    if (signal.aborted) {
      const unblocked = connection.then((id) =>
        id === null
          ? Promise.reject(new Error("nobody to unblock"))
          : commands.client("UNBLOCK", id),
      );
      // A server that answers this answers the read, too: what that brings is not left behind with the connection.
      const isHeard = await isDone(Promise.any([release, unblocked]), unblockMs);
      isReleased = isHeard && (await isDone(release, watchdogMs));
    }
    if (!isReleased && reader.status === "ready") reader.disconnect(true);
    return [];
  };
}

/**
 * As `setTimeout`. While the process stood still, what came in the meantime is read first: Node looks at its timers
 * before it reads, and a server that answered in time would count as hung.
 */
const lateTimer = (ms: number, callback: () => void): NodeJS.Timeout =>
  setTimeout(() => setImmediate(callback), ms);

async function isDone(work: Promise<unknown>, withinMs: number): Promise<boolean> {
  const { promise: isLate, resolve } = Promise.withResolvers<false>();
  const timer = lateTimer(withinMs, () => resolve(false));
  try {
    return await Promise.race([work.then(() => true), isLate]);
  } finally {
    clearTimeout(timer);
  }
}

async function isReady(reader: Redis, waitMs: number, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return false;
  if (reader.status === "ready") return true;
  try {
    await once(reader, "ready", { signal: AbortSignal.any([signal, AbortSignal.timeout(waitMs)]) });
    return true;
  } catch {
    return false;
  }
}

/** `[[stream, [[id, [name, value, ...]], ...]]]`, or null when the wait was over. */
function deliveries(reply: unknown): Delivery[] {
  const streams = reply as [string, [string, string[] | null][]][] | null;
  const entries = streams?.[0]?.[1] ?? [];
  return entries.map(([entryId, flat]) => ({ entryId, fields: fieldsOf(flat), deliveries: 1 }));
}
