import { randomBytes } from "node:crypto";
import type { Redis } from "ioredis";
import { toEnvelope } from "../../machines/contracts/domain/job.ts";
import type { JournalEntry, StepKey, StepRecord } from "../../machines/contracts/domain/record.ts";
import type {
  Lease,
  Opening,
  StepStore,
  Write,
} from "../../machines/contracts/ports/step-backend.ts";
import {
  readRecordText,
  recordId,
  type RecordText,
} from "../../machines/contracts/wire/record-text.ts";
import { bindBatched } from "./batches.ts";
import { writeLetter } from "./dead-letters.ts";
import {
  fieldsOf,
  group,
  type BoundScript,
  type Keys,
  bindScript,
  keptJob,
  usualLeaseMs,
} from "./keys.ts";
import {
  appendJournal,
  openStep,
  parkStep,
  recordResult,
  settleStep,
  wakeDue,
} from "./step-scripts.ts";
import type { StepEntities } from "./step-entities.ts";

/** Names that one sweep looks at: a busy server must not stand still for it. */
const mostLookedAt = 1_000;

type StepNames = ReturnType<Keys["step"]>;

/** Records as hashes, journals as lists, timers in a sorted set; every write is one script. See step-scripts.ts. */
export function createStepStore(
  redis: Redis,
  entities: StepEntities,
  keys: Keys,
  consumer: string,
  options: { rememberMs: number; maxDeadLetters: number; appendDurably: BoundScript | null },
): StepStore {
  const { stream, timers, letters, droppedLetters, parked } = keys;
  const { rememberMs, maxDeadLetters } = options;
  const open = bindBatched(redis, openStep, process.nextTick);
  const append = bindBatched(redis, appendJournal);
  const record = bindBatched(redis, recordResult);
  const park = bindBatched(redis, parkStep);
  const settle = bindBatched(redis, settleStep);
  const wake = bindScript(redis, wakeDue);
  const toLine = lineWriter();
  const held = (lease: Lease) => [group, consumer, lease.entryId, lease.fence] as const;

  return {
    async open(entryId, key, leaseMs, fields) {
      const step = keys.step(key);
      const own = [stream, step.record, step.journal, timers, step.ended, parked];
      const lookups = [group, consumer, entryId, Math.ceil(leaseMs), step.id, rememberMs];
      const reply = (await open(...own, ...lookups, ...keptJob(fields))) as OpenReply;
      return toOpening(reply, new NamedLease(key, entryId, Number(reply[1]), step));
    },
    async append(lease, entries, durable = false) {
      const own = [stream, keys.record(lease), keys.journal(lease)];
      const inputs = [...own, ...held(lease), ...entries.map(toLine)];
      const write = durable ? (options.appendDurably ?? append) : append;
      return toWrite(await write(...inputs));
    },
    async record(lease, result, stateHistory) {
      const values = [JSON.stringify(result), JSON.stringify(stateHistory)];
      return toWrite(await record(stream, keys.record(lease), ...held(lease), ...values));
    },
    async park(lease, { job, snapshot, stateHistory, wakeAt }) {
      const values = [toEnvelope(job), JSON.stringify(snapshot), JSON.stringify(stateHistory)];
      const own = [stream, keys.record(lease), timers, parked];
      return toWrite(await park(...own, ...held(lease), recordId(lease), ...values, wakeAt ?? ""));
    },
    async settle(lease, { stateHistory, deadLetter }) {
      const step = lease instanceof NamedLease ? lease.names : keys.step(lease);
      const own = [stream, step.record, step.journal, timers, step.ended, letters, droppedLetters];
      const values = [step.id, rememberMs];
      const letter =
        deadLetter === null
          ? []
          : [
              maxDeadLetters,
              deadLetter.result === undefined ? "" : JSON.stringify(deadLetter.result),
              ...writeLetter({ ...deadLetter, stateHistory }),
            ];
      return toWrite(await settle(...own, ...held(lease), ...values, ...letter));
    },
    async wakeDue(limit) {
      const inputs = [group, limit, keys.records, usualLeaseMs, mostLookedAt];
      return Number(await wake(stream, timers, ...inputs));
    },
    async find(key) {
      const [text, journal, ended] = await Promise.all([
        entities.find(key),
        redis.lrange(keys.journal(key), 0, -1),
        redis.get(keys.ended(key)),
      ]);
      if (text !== null) return readRecordText(key, text, journal);
      return ended === null ? null : endedRecord(key, ended);
    },
  };
}

/** A lease that remembers the step's names: a digest is in them, and every step that opens is settled. */
class NamedLease implements Lease {
  readonly runId: string;
  readonly stepId: string;
  readonly entryId: string;
  readonly fence: number;
  readonly #names: StepNames;

  constructor({ runId, stepId }: StepKey, entryId: string, fence: number, names: StepNames) {
    this.runId = runId;
    this.stepId = stepId;
    this.entryId = entryId;
    this.fence = fence;
    this.#names = names;
  }

  get names(): StepNames {
    return this.#names;
  }
}

/**
 * A journal's lines: an identity that is the entry object's own, and its JSON. So an entry that is appended again, since
 * nobody knows whether it was written, is known for the same, and one that only looks the same is another.
 */
function lineWriter(): (entry: JournalEntry) => string {
  const writer = randomBytes(6).toString("base64url");
  const identities = new WeakMap<object, string>();
  let count = 0;
  return (entry) => {
    // A plain value, which no caller of ours appends, has no identity of its own.
    const own: object = Object(entry);
    const identity = identities.get(own) ?? `${writer}.${(count += 1).toString(36)}`;
    identities.set(own, identity);
    return `${identity} ${JSON.stringify(entry)}`;
  };
}

function endedRecord(key: { runId: string; stepId: string }, fence: string): StepRecord {
  return readRecordText(key, { phase: "reported", fence }, []);
}

type OpenReply = [Opening["kind"], string?, string[]?, string[]?, number?];

function toOpening([kind, , flat = [], journal = [], now = 0]: OpenReply, lease: Lease): Opening {
  if (kind === "lease-lost" || kind === "duplicate") return { kind };
  if (kind === "reported") return { kind, lease };
  const text: RecordText = { ...fieldsOf(flat), fence: String(lease.fence) };
  const isNew = flat.length === 0 && journal.length === 0;
  return { kind, lease, record: isNew ? null : readRecordText(lease, text, journal), now };
}

function toWrite(reply: unknown): Write {
  return reply === "written" ? "written" : "lease-lost";
}
