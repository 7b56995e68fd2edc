import { toEnvelope } from "../../machines/contracts/domain/job.ts";
import type { Clock } from "../../machines/contracts/ports/clock.ts";
import type { Lease, StepStore, Write } from "../../machines/contracts/ports/step-backend.ts";
import {
  readRecordText,
  recordId,
  type RecordText,
} from "../../machines/contracts/wire/record-text.ts";
import type { Database } from "./database.ts";
import type { Letters } from "./dead-letters.ts";
import { type Entries, releasedConsumer, type PendingEntry, type Waiters } from "./step-queue.ts";
import type { StepKey } from "../../machines/contracts/domain/record.ts";

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
      if (entry?.owner !== consumer || steps.find(lease)?.fence !== lease.fence)
        return "lease-lost";
      write(entry);
      return "written";
    });
  }

  function isLeased(entryId: string, leaseMs: number): boolean {
    const entry = entries.pending(entryId);
    if (entry === undefined || entry.owner === releasedConsumer) return false;
    return clock.now() - entry.deliveredAt < leaseMs;
  }

  return {
    async open(entryId, { runId, stepId }, leaseMs) {
      const key = { runId, stepId };
      return database.alone(() => {
        const now = clock.now();
        if (entries.pending(entryId)?.owner !== consumer) return { kind: "lease-lost" };
        steps.expire(now);
        const kept = steps.find(key);
        if (kept?.phase === "reported") {
          steps.remember(key, now + rememberedMs);
          return { kind: "reported", lease: { ...key, entryId, fence: kept.fence } };
        }
        const other = kept?.entry ?? entryId;
        if (other !== entryId && isLeased(other, leaseMs)) {
          steps.markWakePending(key);
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
    async record(lease, result, stateHistory) {
      const texts = [JSON.stringify(result), JSON.stringify(stateHistory)] as const;
      return leased(lease, () => steps.record(lease, ...texts));
    },
    async park(lease, parking) {
      const job = toEnvelope(parking.job);
      const snapshot = JSON.stringify(parking.snapshot);
      const stateHistory = JSON.stringify(parking.stateHistory);
      const write = leased(lease, () => {
        const awake = steps.find(lease)?.wake_pending === 1;
        const wakeAt = awake ? null : parking.wakeAt;
        steps.park(lease, { job, snapshot, stateHistory, wakeAt });
        entries.remove(lease.entryId);
        if (awake) entries.add({ data: job }, clock.now());
      });
      waiters.wake();
      return write;
    },
    async settle(lease, { stateHistory, deadLetter }) {
      return leased(lease, ({ deliveries }) => {
        if (steps.find(lease)?.phase !== "reported") {
          steps.settle(lease, JSON.stringify(stateHistory), clock.now() + rememberedMs);
          if (deadLetter !== null) letters.add({ ...deadLetter, stateHistory, deliveries });
        }
        entries.remove(lease.entryId);
      });
    },
    async wakeDue(limit) {
      const now = clock.now();
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

export interface StepRow {
  phase: string;
  fence: number;
  entry: string | null;
  job: string | null;
  snapshot: string | null;
  result: string | null;
  state_history: string | null;
  wake_at: number | null;
  wake_pending: number;
  expires_at: number | null;
}

export type StepRows = ReturnType<typeof prepareSteps>;

/** The statements over step records and their journals. None checks a lease: that is the store's. */
export function prepareSteps({ sql }: Database) {
  const find = sql.prepare("SELECT * FROM steps WHERE id = ?");
  const lines = sql.prepare("SELECT entry FROM journal WHERE step = ? ORDER BY position");
  const open = sql.prepare(`
    INSERT INTO steps (id, phase, fence, entry) VALUES (:id, 'open', 1, :entry)
    ON CONFLICT (id) DO UPDATE SET
      phase = iif(result IS NULL, 'open', 'recorded'),
      fence = fence + 1, entry = :entry, wake_at = NULL
    RETURNING fence`);
  const markWakePending = sql.prepare("UPDATE steps SET wake_pending = 1 WHERE id = ?");
  const remember = sql.prepare("UPDATE steps SET expires_at = ? WHERE id = ?");
  const append = sql.prepare(`
    INSERT INTO journal (step, position, entry)
    VALUES (:step, (SELECT coalesce(max(position), 0) + 1 FROM journal WHERE step = :step), :entry)`);
  const record = sql.prepare(
    "UPDATE steps SET phase = 'recorded', result = ?, state_history = ? WHERE id = ?",
  );
  const park = sql.prepare(`
    UPDATE steps SET phase = 'parked', job = :job, snapshot = :snapshot, state_history = :stateHistory,
      wake_at = :wakeAt, entry = NULL, wake_pending = 0
    WHERE id = :id`);
  const settle = sql.prepare(`
    UPDATE steps SET phase = 'reported', state_history = :stateHistory, expires_at = :expiresAt,
      entry = NULL, job = NULL, snapshot = NULL, result = NULL, wake_at = NULL, wake_pending = 0
    WHERE id = :id`);
  const forgetJournal = sql.prepare("DELETE FROM journal WHERE step = ?");
  const wake = sql.prepare(`
    UPDATE steps SET wake_at = NULL
    WHERE id IN (
      SELECT id FROM steps WHERE wake_at <= ? AND phase = 'parked' ORDER BY wake_at LIMIT ?)
    RETURNING job`);
  const expire = sql.prepare("DELETE FROM steps WHERE expires_at <= ?");

  return {
    find: (key: StepKey) => find.get(recordId(key)) as StepRow | undefined,
    journal: (key: StepKey) => lines.all(recordId(key)).map((row) => String(row["entry"])),
    /** Raises the fence, calls the timer off, and returns the fence. */
    open: (key: StepKey, entry: string) =>
      Number(open.get({ id: recordId(key), entry })?.["fence"]),
    markWakePending: (key: StepKey) => void markWakePending.run(recordId(key)),
    /** Until then a late duplicate is recognised. */
    remember: (key: StepKey, expiresAt: number) => void remember.run(expiresAt, recordId(key)),
    append(key: StepKey, entries: string[]) {
      for (const entry of entries) append.run({ step: recordId(key), entry });
    },
    record: (key: StepKey, result: string, stateHistory: string) =>
      void record.run(result, stateHistory, recordId(key)),
    park(
      key: StepKey,
      parts: { job: string; snapshot: string; stateHistory: string; wakeAt: number | null },
    ) {
      park.run({ id: recordId(key), ...parts });
    },
    settle(key: StepKey, stateHistory: string, expiresAt: number) {
      settle.run({ id: recordId(key), stateHistory, expiresAt });
      forgetJournal.run(recordId(key));
    },
    /** The envelopes of parked steps whose timers were due; each timer is gone with it. */
    wake: (now: number, limit: number) => wake.all(now, limit).map((row) => String(row["job"])),
    expire: (now: number) => void expire.run(now),
  };
}

/** The row as the text that every store's records are read from. */
export function toRecordText(row: StepRow): RecordText {
  const { phase, fence, job, snapshot, result, state_history: stateHistory, wake_at } = row;
  return {
    phase,
    fence: String(fence),
    job: job ?? "",
    snapshot: snapshot ?? "",
    result: result ?? "",
    stateHistory: stateHistory ?? "",
    wakeAt: wake_at === null ? "" : String(wake_at),
  };
}
