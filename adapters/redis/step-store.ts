import type { Redis } from "ioredis";
import { toEnvelope } from "../../machines/contracts/domain/job.ts";
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
import { fieldsOf, group, type Keys, bindScript } from "./keys.ts";
import {
  appendJournal,
  openStep,
  parkStep,
  recordResult,
  settleStep,
  wakeDue,
} from "./step-scripts.ts";
import type { StepEntities } from "./step-entities.ts";

/**
 * How long a reported step is remembered, in seconds: as long as that, a late duplicate of its job is
 * recognised and not run again. A day outlasts every lease, retry and re-enqueued approval, and keeps a busy
 * server's memory bounded.
 */
const rememberedSeconds = 24 * 60 * 60;

/** Records as hashes, journals as lists, timers in a sorted set; every write is one script. */
export function createStepStore(
  redis: Redis,
  entities: StepEntities,
  keys: Keys,
  consumer: string,
): StepStore {
  const { stream, timers, letters } = keys;
  const open = bindScript(redis, openStep);
  const append = bindScript(redis, appendJournal);
  const record = bindScript(redis, recordResult);
  const park = bindScript(redis, parkStep);
  const settle = bindScript(redis, settleStep);
  const wake = bindScript(redis, wakeDue);
  const held = (lease: Lease) => [group, consumer, lease.entryId, lease.fence] as const;

  return {
    async open(entryId, key, leaseMs) {
      const own = [stream, keys.record(key), keys.journal(key), timers];
      const lookups = [group, consumer, entryId, leaseMs, recordId(key), rememberedSeconds];
      const reply = (await open(...own, ...lookups)) as OpenReply;
      return toOpening(reply, entryId, key);
    },
    async append(lease, entries) {
      const lines = entries.map((entry) => JSON.stringify(entry));
      const own = [stream, keys.record(lease), keys.journal(lease)];
      return toWrite(await append(...own, ...held(lease), ...lines));
    },
    async record(lease, result, stateHistory) {
      const values = [JSON.stringify(result), JSON.stringify(stateHistory)];
      return toWrite(await record(stream, keys.record(lease), ...held(lease), ...values));
    },
    async park(lease, { job, snapshot, stateHistory, wakeAt }) {
      const values = [toEnvelope(job), JSON.stringify(snapshot), JSON.stringify(stateHistory)];
      const own = [stream, keys.record(lease), timers];
      return toWrite(await park(...own, ...held(lease), recordId(lease), ...values, wakeAt ?? ""));
    },
    async settle(lease, { stateHistory, deadLetter }) {
      const own = [stream, keys.record(lease), keys.journal(lease), timers, letters];
      const values = [recordId(lease), JSON.stringify(stateHistory), rememberedSeconds];
      const { fields, reason, snapshot, at } = deadLetter ?? {};
      const letter =
        deadLetter === null
          ? []
          : [JSON.stringify(fields), reason ?? "", JSON.stringify(snapshot ?? null), at ?? 0];
      return toWrite(await settle(...own, ...held(lease), ...values, ...letter));
    },
    async wakeDue(limit) {
      const now = Date.now();
      return Number(await wake(stream, timers, now, limit, keys.records));
    },
    async find(key) {
      const [text, journal] = await Promise.all([
        entities.find(key),
        redis.lrange(keys.journal(key), 0, -1),
      ]);
      return text === null ? null : readRecordText(key, text, journal);
    },
  };
}

type OpenReply = [Opening["kind"], string?, string[]?, string[]?];

function toOpening(
  [kind, fence, flat = [], journal = []]: OpenReply,
  entryId: string,
  { runId, stepId }: { runId: string; stepId: string },
): Opening {
  if (kind === "lease-lost" || kind === "duplicate") return { kind };
  const lease = { runId, stepId, entryId, fence: Number(fence) };
  if (kind === "reported") return { kind, lease };
  const text: RecordText = { ...fieldsOf(flat), fence: String(lease.fence) };
  return { kind, lease, record: flat.length === 0 ? null : readRecordText(lease, text, journal) };
}

function toWrite(reply: unknown): Write {
  return reply === "written" ? "written" : "lease-lost";
}
