import type { Clock } from "../../machines/contracts/ports/clock.ts";
import type { StepQueue } from "../../machines/contracts/ports/step-queue.ts";
import type { Database } from "./database.ts";
import { type Letters, prepareRetry } from "./dead-letters.ts";
import type { Entries } from "./entries.ts";
import type { Waiters } from "./waiters.ts";

/** The stream and its group as a table. Each of its moves is one statement or one transaction. */
export function createStepQueue(
  parts: { database: Database; entries: Entries; letters: Letters; waiters: Waiters; clock: Clock },
  consumer: string,
): StepQueue {
  const { database, entries, letters, waiters, clock } = parts;
  const retry = prepareRetry(database, letters, entries);
  const closing = new AbortController();

  return {
    consumer,
    async publish(fields) {
      const entryId = entries.add(fields, clock.now());
      waiters.wake();
      return entryId;
    },
    async read(count, blockMs, signal) {
      const given = AbortSignal.any([signal, closing.signal]);
      const deadline = clock.monotonic() + blockMs;
      while (!given.aborted) {
        const taken = entries.takeNew(consumer, clock.now(), count);
        const left = deadline - clock.monotonic();
        if (taken.length > 0 || left <= 0) return taken;
        await waiters.wait(left, given);
      }
      return [];
    },
    async claimStale(leaseMs, count) {
      const now = clock.now();
      return entries.takeStale(consumer, now, now - leaseMs, count);
    },
    async renew(entryIds) {
      const now = clock.now();
      return database.alone(() => entryIds.filter((id) => !entries.renew(id, consumer, now)));
    },
    async handBack(entryIds) {
      database.alone(() => {
        for (const id of entryIds) entries.giveBack(id, consumer);
      });
    },
    async deadLetter(entryId, letter) {
      return database.alone(() => {
        if (entries.pending(entryId)?.owner !== consumer) return false;
        letters.add(letter);
        entries.remove(entryId);
        return true;
      });
    },
    deadLetters: async (limit) => letters.list(limit),
    findDeadLetter: async (id) => letters.find(id),
    async retryDeadLetter(id) {
      const retried = await retry(id, clock.now());
      if (retried) waiters.wake();
      return retried;
    },
    dropDeadLetter: async (id) => letters.remove(id),
    stats: async () => ({ ...entries.count(), deadLetters: letters.count() }),
    async close() {
      closing.abort();
    },
  };
}
