import { randomUUID } from "node:crypto";
import type { Redis } from "ioredis";
import { parseJob } from "../../machines/contracts/domain/job.ts";
import type {
  StepQueue,
  DeadLetter,
  NewDeadLetter,
} from "../../machines/contracts/ports/step-backend.ts";
import { group, type Keys, bindScript, fieldsOf, keptJob, usualLeaseMs } from "./keys.ts";
import { deadLetter, retryDeadLetter } from "./queue-scripts.ts";
import { isJsonObject } from "../../machines/contracts/domain/json.ts";
import {
  causesOf,
  looseJson,
  readJournalLine,
  recordId,
  whatRetryKeeps,
} from "../../machines/contracts/wire/record-text.ts";
import type { StepKey } from "../../machines/contracts/domain/record.ts";

type DeadLetters = Pick<
  StepQueue,
  "deadLetter" | "deadLetters" | "findDeadLetter" | "retryDeadLetter" | "dropDeadLetter"
>;

/** The dead letters, kept in a stream of their own; a letter's id is its entry's. */
export function createDeadLetters(
  redis: Redis,
  keys: Keys,
  consumer: string,
  options: { maxDeadLetters: number; rememberMs: number },
): DeadLetters {
  const { stream, letters } = keys;
  const keep = bindScript(redis, deadLetter);
  const retry = bindScript(redis, retryDeadLetter);
  /** The step's record, journal and timers; for a job without ids, a key that is there anyway. */
  const recordKeys = (step: StepKey | null) =>
    step === null ? [stream, stream, stream] : [keys.record(step), keys.journal(step), keys.timers];

  const findEntry = async (id: string): Promise<Record<string, string> | null> => {
    if (!isEntryId(id)) return null;
    const [entry] = await redis.xrange(letters, id, id);
    return entry === undefined ? null : fieldsOf(entry[1]);
  };

  return {
    async deadLetter(entryId, letter) {
      const step = stepOf(letter.fields);
      const own = [stream, letters, keys.droppedLetters, ...recordKeys(step)];
      const lookups = [group, consumer, entryId, options.maxDeadLetters];
      const record = [step === null ? "" : recordId(step), options.rememberMs];
      return (await keep(...own, ...lookups, ...record, ...writeLetter(letter))) === 1;
    },
    async deadLetters(limit) {
      const entries = await redis.xrevrange(letters, "+", "-", "COUNT", limit);
      return entries.map(([id, flat]) => readLetter(id, fieldsOf(flat)));
    },
    async findDeadLetter(id) {
      const kept = await findEntry(id);
      return kept === null ? null : readLetter(id, kept);
    },
    async retryDeadLetter(id) {
      const kept = await findEntry(id);
      const { fields, stateHistory } = readLetter(id, kept ?? {});
      if (kept === null || Object.keys(fields).length === 0) return false;
      const step = stepOf(fields);
      const own = [stream, letters, ...recordKeys(step), step === null ? stream : keys.ended(step)];
      const { result, lines } = whatRetryKeeps(kept["result"], linesOf(kept["journal"]));
      const restored = [kept["fence"] ?? "", result, JSON.stringify(stateHistory), ...lines];
      const name = [id, randomUUID(), step === null ? "" : recordId(step), usualLeaseMs];
      return (await retry(...own, ...name, ...keptJob(fields), ...restored)) === 1;
    },
    async dropDeadLetter(id) {
      return isEntryId(id) && (await redis.xdel(letters, id)) === 1;
    },
  };
}

/** The step that a job is about; null where it does not say so readably. */
function stepOf(fields: Record<string, string>): StepKey | null {
  const parsed = parseJob(fields);
  const { runId, stepId } = parsed.valid ? parsed.job : parsed.invalid;
  return runId === null || stepId === null ? null : { runId, stepId };
}

function isEntryId(id: string): boolean {
  return /^\d{1,19}-\d{1,19}$/.test(id);
}

/** A letter as the flat names and values of a stream entry. A settled step's deliveries are known to the script. */
export function writeLetter(
  letter: Omit<NewDeadLetter, "deliveries"> & { deliveries?: number },
): string[] {
  return [
    ["fields", JSON.stringify(letter.fields)],
    ["reason", letter.reason],
    ["snapshot", JSON.stringify(letter.snapshot ?? null)],
    ["at", String(letter.at)],
    ["stateHistory", JSON.stringify(letter.stateHistory)],
    ...(letter.deliveries === undefined ? [] : [["deliveries", String(letter.deliveries)]]),
  ].flat();
}

/** Never throws: what was not written by {@link writeLetter} comes back as far as it can be read. */
export function readLetter(id: string, kept: Record<string, string>): DeadLetter {
  const fields = looseJson(kept["fields"]);
  const stateHistory = looseJson(kept["stateHistory"]);
  const journal = linesOf(kept["journal"]).map(readJournalLine);
  return {
    id,
    fields: isJsonObject(fields) ? textsOf(fields) : {},
    ...causesOf(kept["reason"] ?? "", journal),
    stateHistory: Array.isArray(stateHistory)
      ? stateHistory.filter((state) => typeof state === "string")
      : [],
    snapshot: looseJson(kept["snapshot"]),
    journal,
    result: looseJson(kept["result"]),
    deliveries: Number(kept["deliveries"]) || 0,
    at: Number(kept["at"]) || 0,
  };
}

function linesOf(text: string | undefined): string[] {
  const lines = looseJson(text);
  return Array.isArray(lines) ? lines.filter((line) => typeof line === "string") : [];
}

function textsOf(fields: object): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)]));
}
