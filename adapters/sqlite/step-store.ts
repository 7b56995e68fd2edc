import { toEnvelope } from "../../machines/contracts/job.ts";
import type { Clock } from "../../machines/contracts/ports/clock.ts";
import type { Lease, StepStore, Write } from "../../machines/contracts/ports/step-store.ts";
import { readRecordText } from "../../machines/contracts/record-text.ts";
import type { Database } from "./database.ts";
import type { Letters } from "./dead-letters.ts";
import { type Entries, handedBack, type PendingEntry } from "./entries.ts";
import { type StepRows, toRecordText } from "./step-rows.ts";
import type { Waiters } from "./waiters.ts";

/** How long a reported step is remembered, so that a late duplicate of its job is not run again. */
const rememberedMs = 24 * 60 * 60 * 1000;

/** Records, journals and timers as tables; every write is one transaction that looks at the lease first. */
export function createStepStore(
  parts: {
    database: Database;
    entries: Entries;
    steps: StepRows;
    letters: Letters;
    waiters: Waiters;
    clock: Clock;
  },
  consumer: string,
): StepStore {
  const { database, entries, steps, letters, waiters, clock } = parts;

  function leased(lease: Lease, write: (entry: PendingEntry) => void): Write {
    return database.alone(() => {
      const entry = entries.pending(lease.entryId);
      if (entry?.owner !== consumer || steps.find(lease)?.fence !== lease.fence) return "lost";
      write(entry);
      return "written";
    });
  }

  function isLeased(entryId: string, leaseMs: number): boolean {
    const entry = entries.pending(entryId);
    if (entry === undefined || entry.owner === handedBack) return false;
    return clock.now() - entry.deliveredAt < leaseMs;
  }

  return {
    async open(entryId, { runId, stepId }, leaseMs) {
      const key = { runId, stepId };
      return database.alone(() => {
        const now = clock.now();
        if (entries.pending(entryId)?.owner !== consumer) return { kind: "lost" };
        steps.expire(now);
        const kept = steps.find(key);
        if (kept?.phase === "reported") {
          steps.remember(key, now + rememberedMs);
          return { kind: "reported", lease: { ...key, entryId, fence: kept.fence } };
        }
        const other = kept?.entry ?? entryId;
        if (other !== entryId && isLeased(other, leaseMs)) {
          steps.markNews(key);
          entries.remove(entryId);
          return { kind: "duplicate" };
        }
        entries.renew(entryId, consumer, now);
        const fence = steps.open(key, entryId);
        const record =
          kept === undefined
            ? null
            : readRecordText(key, toRecordText({ ...kept, fence }), steps.journal(key));
        return { kind: "opened", lease: { ...key, entryId, fence }, record };
      });
    },
    async append(lease, journal) {
      const lines = journal.map((entry) => JSON.stringify(entry));
      return leased(lease, () => steps.append(lease, lines));
    },
    async record(lease, result, path) {
      const texts = [JSON.stringify(result), JSON.stringify(path)] as const;
      return leased(lease, () => steps.record(lease, ...texts));
    },
    async park(lease, parking) {
      const job = toEnvelope(parking.job);
      const snapshot = JSON.stringify(parking.snapshot);
      const path = JSON.stringify(parking.path);
      const write = leased(lease, () => {
        const awake = steps.find(lease)?.news === 1;
        const wakeAt = awake ? null : parking.wakeAt;
        steps.park(lease, { job, snapshot, path, wakeAt });
        entries.remove(lease.entryId);
        if (awake) entries.add({ data: job }, clock.now());
      });
      waiters.wake();
      return write;
    },
    async settle(lease, { path, deadLetter }) {
      return leased(lease, ({ deliveries }) => {
        if (steps.find(lease)?.phase !== "reported") {
          steps.settle(lease, JSON.stringify(path), clock.now() + rememberedMs);
          if (deadLetter !== null) letters.add({ ...deadLetter, path, deliveries });
        }
        entries.remove(lease.entryId);
      });
    },
    async wakeDue(now, limit) {
      const jobs = database.alone(() => {
        steps.expire(clock.now());
        const due = steps.wake(now, limit);
        for (const job of due) entries.add({ data: job }, clock.now());
        return due;
      });
      if (jobs.length > 0) waiters.wake();
      return jobs.length;
    },
    async find({ runId, stepId }) {
      const row = steps.find({ runId, stepId });
      const journal = row === undefined ? [] : steps.journal({ runId, stepId });
      return row === undefined
        ? null
        : readRecordText({ runId, stepId }, toRecordText(row), journal);
    },
  };
}
