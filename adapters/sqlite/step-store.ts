import { randomBytes } from "node:crypto";
import { toEnvelope } from "../../machines/contracts/domain/job.ts";
import type { JournalEntry, StepKey } from "../../machines/contracts/domain/record.ts";
import type { Clock } from "../../machines/contracts/ports/clock.ts";
import type {
  DeadLetter,
  Lease,
  StepStore,
  Write,
} from "../../machines/contracts/ports/step-backend.ts";
import {
  readRecordText,
  recordId,
  stepOfRecordId,
  type RecordText,
} from "../../machines/contracts/wire/record-text.ts";
import { type Database, fieldsFrom } from "./database.ts";
import { type KeptOfStep, type Letters, stepOf } from "./dead-letters.ts";
import {
  type Entries,
  isLeaseOver,
  releasedConsumer,
  type PendingEntry,
  type Waiters,
} from "./step-queue.ts";

/**
 * Records, journals and timers as tables; every write is one transaction that looks at the lease first. A record's
 * phases, and who may move it from which to which, are those of the Redis store, at the head of
 * adapters/redis/step-scripts.ts; only an ended step stays a row here, `reported`, until it is forgotten.
 */
export function createStepStore(
  parts: {
    database: Database;
    entries: Entries;
    steps: StepRows;
    letters: Letters;
    waiters: Waiters;
    clock: Clock;
    rememberMs: number;
  },
  consumer: string,
): StepStore {
  const { database, entries, steps, letters, waiters, clock, rememberMs } = parts;
  const identify = identities();

  function leased(
    lease: Lease,
    write: (entry: PendingEntry) => void,
    options: { isDone?: (row: StepRow) => boolean; durable?: boolean } = {},
  ): Promise<Write> {
    return database.alone(() => {
      const row = steps.find(lease);
      if (row?.fence !== lease.fence) return "lease-lost";
      const entry = entries.pending(lease.entryId);
      // Run again after its first answer was lost: the fence is still ours, and the record says what we came to write.
      if (entry === undefined && options.isDone?.(row) === true) return "written";
      if (entry?.owner !== consumer) return "lease-lost";
      write(entry);
      return "written";
    }, options.durable);
  }

  function isLeased(entryId: string, leaseMs: number): boolean {
    const entry = entries.pending(entryId);
    if (entry === undefined || entry.owner === releasedConsumer) return false;
    return !isLeaseOver(entry.deliveredAt, clock.monotonic(), leaseMs);
  }

  /** As the Redis store does: of a record that does not say its job any more the step's ids alone are put back. */
  function putBack(id: string, job: string | null, now: number): void {
    const fields = fieldsFrom(job);
    const named = stepOf(fields);
    const step = stepOfRecordId(id);
    if (named !== null && recordId(named) === id) {
      steps.watchById(id, entries.add(fields, now), now);
    } else if (step !== null) {
      const ids = { run_id: step.runId, step_id: step.stepId, unreadable: job ?? "" };
      steps.watchById(id, entries.add(ids, now), now);
    } else {
      // Nobody would open it, and it would come back for ever.
      entries.add({ unreadable: job ?? "" }, now);
      steps.lookAgain(id, null);
    }
  }

  return {
    async open(entryId, { runId, stepId }, leaseMs, fields) {
      const key = { runId, stepId };
      return database.alone(() => {
        const now = clock.now();
        if (entries.pending(entryId)?.owner !== consumer) return { kind: "lease-lost" };
        steps.expire(now);
        const kept = steps.find(key);
        if (kept?.phase === "reported") {
          steps.remember(key, now + rememberMs);
          return { kind: "reported", lease: { ...key, entryId, fence: kept.fence } };
        }
        const other = kept?.entry ?? entryId;
        if (other !== entryId && isLeased(other, leaseMs)) {
          steps.markWakePending(key);
          entries.remove(entryId);
          return { kind: "duplicate" };
        }
        entries.renew(entryId, consumer, clock.monotonic());
        const lookAt = Math.ceil(now + leaseMs);
        const fence = steps.open(key, { entryId, leaseMs, lookAt, job: JSON.stringify(fields) });
        const journal = steps.journal(key);
        const record =
          kept === undefined && journal.length === 0
            ? null
            : readRecordText(key, toRecordText({ ...(kept ?? noRow), fence }), journal);
        return { kind: "opened", lease: { ...key, entryId, fence }, record, now };
      });
    },
    async append(lease, journal, durable = false) {
      const lines = journal.map((entry) => [identify(entry), JSON.stringify(entry)] as const);
      return leased(lease, () => steps.append(lease, lines), { durable });
    },
    async record(lease, result, stateHistory) {
      const texts = [JSON.stringify(result), JSON.stringify(stateHistory)] as const;
      return leased(lease, () => steps.record(lease, ...texts));
    },
    async park(lease, parking) {
      const job = { data: toEnvelope(parking.job) };
      const snapshot = JSON.stringify(parking.snapshot);
      const stateHistory = JSON.stringify(parking.stateHistory);
      const park = () => {
        const awake = steps.find(lease)?.wake_pending === 1;
        const wakeAt = awake ? null : parking.wakeAt;
        steps.park(lease, { job: JSON.stringify(job), snapshot, stateHistory, wakeAt });
        entries.remove(lease.entryId);
        if (awake) steps.watch(lease, entries.add(job, clock.now()), clock.now());
      };
      const write = await leased(lease, park, { isDone: ({ phase }) => phase === "parked" });
      waiters.wake();
      return write;
    },
    async settle(lease, { stateHistory, deadLetter }) {
      const given = deadLetter?.result === undefined ? null : JSON.stringify(deadLetter.result);
      const settle = ({ deliveries }: PendingEntry) => {
        const row = steps.find(lease);
        if (row !== undefined && row.phase !== "reported") {
          if (deadLetter !== null) {
            const { fence, result } = row;
            const kept = { fence, result: given ?? result, journal: steps.journal(lease) };
            letters.add(lease.entryId, { ...deadLetter, stateHistory, deliveries }, kept);
          }
          steps.settle(lease, clock.now() + rememberMs);
        }
        entries.remove(lease.entryId);
      };
      return leased(lease, settle, { isDone: ({ phase }) => phase === "reported" });
    },
    async wakeDue(limit) {
      const woken = await database.alone(() => {
        const now = clock.now();
        steps.expire(now);
        let count = 0;
        for (const { id, entry, job, lease_ms: leaseMs } of steps.due(now)) {
          if (count === limit) break;
          if (entry !== null && entries.exists(entry)) {
            steps.lookAgain(id, now + leaseMs);
          } else {
            putBack(id, job, now);
            count += 1;
          }
        }
        return count;
      });
      if (woken > 0) waiters.wake();
      return woken;
    },
    find: ({ runId, stepId }) =>
      database.look(() => {
        const key = { runId, stepId };
        const row = steps.find(key);
        if (row === undefined) return null;
        return readRecordText(key, toRecordText(row), steps.journal(key));
      }),
  };
}

/** An identity for each entry object: one that is appended again is known for the same, whatever it looks like. */
function identities(): (entry: JournalEntry) => string {
  const writer = randomBytes(6).toString("base64url");
  const known = new WeakMap<object, string>();
  let count = 0;
  return (entry) => {
    // A plain value, which no caller of ours appends, has no identity of its own.
    const own: object = Object(entry);
    const identity = known.get(own) ?? `${writer}.${(count += 1)}`;
    known.set(own, identity);
    return identity;
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
  look_at: number | null;
  lease_ms: number;
}

const noRow: StepRow = {
  phase: "open",
  fence: 0,
  entry: null,
  job: null,
  snapshot: null,
  result: null,
  state_history: null,
  wake_at: null,
  wake_pending: 0,
  expires_at: null,
  look_at: null,
  lease_ms: 0,
};

/** The lease of a record that has none that can be one. */
const usualLeaseMs = 30_000;

const sound = (column: string, otherwise: number | null = null) =>
  `iif(${column} BETWEEN -9007199254740991 AND 9007199254740991, ${column}, ${otherwise}) AS ${column}`;

/** Names that one sweep looks at. */
const mostLookedAt = 1_000;

export type StepRows = ReturnType<typeof prepareSteps>;

/** The statements over step records and their journals. None checks a lease: that is the store's. */
export function prepareSteps({ sql }: Database) {
  // A column may hold any 64 bits, and one that is read as a number of more than 53 would be thrown for.
  const find = sql.prepare(`
    SELECT phase, ${sound("fence", -1)}, entry, job, snapshot, result, state_history, ${sound("wake_at")},
      ${sound("wake_pending", 0)}, ${sound("expires_at")}, ${sound("look_at")}, ${sound("lease_ms", usualLeaseMs)}
    FROM steps WHERE id = ?`);
  const readJournal = sql.prepare("SELECT entry FROM journal WHERE step = ? ORDER BY position");
  const open = sql.prepare(`
    INSERT INTO steps (id, phase, fence, entry, job, lease_ms, look_at)
    VALUES (:id, 'open', 1, :entryId, :job, :leaseMs, :lookAt)
    ON CONFLICT (id) DO UPDATE SET
      phase = iif(result IS NULL, 'open', 'recorded'), fence = fence + 1, entry = :entryId,
      job = coalesce(job, :job), lease_ms = :leaseMs, look_at = :lookAt, wake_at = NULL, expires_at = NULL
    RETURNING fence`);
  const parked = sql.prepare("SELECT count(*) AS steps FROM steps WHERE phase = 'parked'");
  const markWakePending = sql.prepare("UPDATE steps SET wake_pending = 1 WHERE id = ?");
  const remember = sql.prepare("UPDATE steps SET expires_at = ? WHERE id = ?");
  const fade = sql.prepare(
    "UPDATE steps SET expires_at = ?, look_at = NULL, entry = NULL WHERE id = ?",
  );
  const append = sql.prepare(`
    INSERT INTO journal (step, position, identity, entry)
    VALUES (:step, (SELECT coalesce(max(position), 0) + 1 FROM journal WHERE step = :step), :identity, :entry)
    ON CONFLICT (step, identity) DO NOTHING`);
  const record = sql.prepare(
    "UPDATE steps SET phase = 'recorded', result = ?, state_history = ? WHERE id = ?",
  );
  const park = sql.prepare(`
    UPDATE steps SET phase = 'parked', job = :job, snapshot = :snapshot, state_history = :stateHistory,
      wake_at = :wakeAt, look_at = :wakeAt, entry = NULL, wake_pending = 0
    WHERE id = :id`);
  const settle = sql.prepare(`
    UPDATE steps SET phase = 'reported', expires_at = :expiresAt, state_history = NULL, entry = NULL, job = NULL,
      snapshot = NULL, result = NULL, wake_at = NULL, look_at = NULL, wake_pending = 0
    WHERE id = :id`);
  const forgetJournal = sql.prepare("DELETE FROM journal WHERE step = ?");
  const due = sql.prepare(`
    SELECT id, entry, job, iif(lease_ms BETWEEN 1 AND 86400000, lease_ms, ${usualLeaseMs}) AS lease_ms FROM steps
    WHERE look_at <= ? ORDER BY look_at LIMIT ${mostLookedAt}`);
  const watch = sql.prepare(
    `UPDATE steps SET entry = ?, wake_at = NULL,
      look_at = ? + iif(lease_ms BETWEEN 1 AND 86400000, lease_ms, ${usualLeaseMs}) WHERE id = ?`,
  );
  const lookAgain = sql.prepare("UPDATE steps SET look_at = ? WHERE id = ?");
  const forgetOrphans = sql.prepare(`
    DELETE FROM journal WHERE step IN (SELECT id FROM steps WHERE expires_at <= ?)`);
  const expire = sql.prepare("DELETE FROM steps WHERE expires_at <= ?");
  const retry = sql.prepare(`
    INSERT INTO steps (id, phase, fence, job, result, state_history)
    VALUES (:id, :phase, :fence, :job, :result, :stateHistory)
    ON CONFLICT (id) DO UPDATE SET
      phase = :phase, fence = max(fence, :fence), job = :job, result = :result, state_history = :stateHistory,
      expires_at = NULL
    WHERE phase = 'reported'`);
  const revive = sql.prepare("UPDATE steps SET expires_at = NULL WHERE id = ?");

  const watchById = (id: string, entry: string, now: number) => void watch.run(entry, now, id);
  const appendTo = (step: string, lines: readonly (readonly [string | null, string])[]) => {
    for (const [identity, entry] of lines) append.run({ step, identity, entry });
  };
  return {
    parked: () => Number(parked.get()?.["steps"]),
    find: (key: StepKey) => find.get(recordId(key)) as StepRow | undefined,
    journal: (key: StepKey) => readJournal.all(recordId(key)).map((row) => String(row["entry"])),
    /** Raises the fence, sets the timer to the lease's end, and returns the fence. The job that is kept stays. */
    open(
      key: StepKey,
      {
        entryId,
        leaseMs,
        lookAt,
        job,
      }: { entryId: string; leaseMs: number; lookAt: number; job: string },
    ): number {
      const row = open.get({
        id: recordId(key),
        entryId,
        leaseMs: Math.ceil(leaseMs),
        lookAt,
        job,
      });
      return Number(row?.["fence"]);
    },
    markWakePending: (key: StepKey) => void markWakePending.run(recordId(key)),
    /** Until then a late duplicate is recognised. */
    remember: (key: StepKey, expiresAt: number) => void remember.run(expiresAt, recordId(key)),
    /** Lets go of the entry and the timer; the rest is forgotten then, unless it is opened before. */
    fade: (key: StepKey, expiresAt: number) => void fade.run(expiresAt, recordId(key)),
    append: (key: StepKey, journal: readonly (readonly [string, string])[]) =>
      appendTo(recordId(key), journal),
    record: (key: StepKey, result: string, stateHistory: string) =>
      void record.run(result, stateHistory, recordId(key)),
    park(
      key: StepKey,
      kept: { job: string; snapshot: string; stateHistory: string; wakeAt: number | null },
    ) {
      park.run({ id: recordId(key), ...kept });
    },
    settle(key: StepKey, expiresAt: number) {
      settle.run({ id: recordId(key), expiresAt });
      forgetJournal.run(recordId(key));
    },
    /** Those whose timer is due, the first due first. */
    due: (now: number) => due.all(now) as unknown as (StepRow & { id: string })[],
    /** The step's job is on the stream as this entry, which the sweep looks after. */
    watch: (key: StepKey, entry: string, now: number) => watchById(recordId(key), entry, now),
    watchById,
    /** Null for never. */
    lookAgain: (id: string, at: number | null) => void lookAgain.run(at, id),
    /** Puts back what a dead letter kept, unless the record itself is still there. */
    retry(key: StepKey, letter: DeadLetter, { fence, result, journal }: KeptOfStep) {
      const id = recordId(key);
      const phase = result === null ? "open" : "recorded";
      const job = JSON.stringify(letter.fields);
      const stateHistory = JSON.stringify(letter.stateHistory);
      const restored = retry.run({ id, phase, fence, job, result, stateHistory }).changes === 1;
      if (restored) {
        forgetJournal.run(id);
        appendTo(
          id,
          journal.map((line) => [null, line] as const),
        );
      }
      revive.run(id);
    },
    expire(now: number) {
      forgetOrphans.run(now);
      expire.run(now);
    },
  };
}

/** The row as the text that every store's records are read from. */
export function toRecordText(row: StepRow): RecordText {
  const { phase, fence, job, snapshot, result, state_history: stateHistory, wake_at } = row;
  return {
    phase,
    fence: String(fence),
    job: fieldsFrom(job)["data"] ?? "",
    snapshot: snapshot ?? "",
    result: result ?? "",
    stateHistory: stateHistory ?? "",
    wakeAt: wake_at === null ? "" : String(wake_at),
  };
}
