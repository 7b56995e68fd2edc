import type { Redis } from "ioredis";
import { parseJob } from "../../machines/contracts/domain/job.ts";
import type {
  StepQueue,
  DeadLetter,
  NewDeadLetter,
} from "../../machines/contracts/ports/step-backend.ts";
import { group, type Keys, bindScript, fieldsOf } from "./keys.ts";
import { deadLetter, retryDeadLetter } from "./queue-scripts.ts";
import { isJsonObject } from "../../machines/contracts/domain/json.ts";
import { looseJson } from "../../machines/contracts/wire/record-text.ts";

type DeadLetters = Pick<
  StepQueue,
  "deadLetter" | "deadLetters" | "findDeadLetter" | "retryDeadLetter" | "dropDeadLetter"
>;

/** The dead letters, kept in a stream of their own; a letter's id is its entry's. */
export function createDeadLetters(redis: Redis, keys: Keys, consumer: string): DeadLetters {
  const keep = bindScript(redis, deadLetter);
  const retry = bindScript(redis, retryDeadLetter);

  const find: DeadLetters["findDeadLetter"] = async (id) => {
    if (!isEntryId(id)) return null;
    const [entry] = await redis.xrange(keys.letters, id, id);
    return entry === undefined ? null : readLetter(entry[0], entry[1]);
  };

  return {
    async deadLetter(entryId, letter) {
      const inputs = [keys.stream, keys.letters, group, consumer, entryId, ...writeLetter(letter)];
      return (await keep(...inputs)) === 1;
    },
    async deadLetters(limit) {
      const entries = await redis.xrevrange(keys.letters, "+", "-", "COUNT", limit);
      return entries.map(([id, flat]) => readLetter(id, flat));
    },
    findDeadLetter: find,
    async retryDeadLetter(id) {
      const letter = await find(id);
      const fields = Object.entries(letter?.fields ?? {}).flat();
      if (letter === null || fields.length === 0) return false;
      const { runId, stepId } = named(letter.fields);
      const record = runId === null || stepId === null ? "" : keys.record({ runId, stepId });
      return (await retry(keys.stream, keys.letters, record, id, ...fields)) === 1;
    },
    async dropDeadLetter(id) {
      return isEntryId(id) && (await redis.xdel(keys.letters, id)) === 1;
    },
  };
}

function named(fields: Record<string, string>) {
  const parsed = parseJob(fields);
  return parsed.valid ? parsed.job : parsed.invalid;
}

function isEntryId(id: string): boolean {
  return /^\d{1,19}-\d{1,19}$/.test(id);
}

/** A letter as the flat names and values of a stream entry. */
export function writeLetter(letter: NewDeadLetter): string[] {
  return [
    ["fields", JSON.stringify(letter.fields)],
    ["reason", letter.reason],
    ["snapshot", JSON.stringify(letter.snapshot ?? null)],
    ["at", String(letter.at)],
    ["stateHistory", JSON.stringify(letter.stateHistory)],
    ["deliveries", String(letter.deliveries)],
  ].flat();
}

/** Never throws: what was not written by {@link writeLetter} comes back as far as it can be read. */
export function readLetter(id: string, flat: readonly string[]): DeadLetter {
  const kept = fieldsOf(flat);
  const fields = looseJson(kept["fields"]);
  const stateHistory = looseJson(kept["stateHistory"]);
  return {
    id,
    fields: isJsonObject(fields) ? textsOf(fields) : {},
    reason: kept["reason"] ?? "",
    lastTrouble: null,
    journal: [],
    result: null,
    stateHistory: Array.isArray(stateHistory)
      ? stateHistory.filter((state) => typeof state === "string")
      : [],
    snapshot: looseJson(kept["snapshot"]),
    deliveries: Number(kept["deliveries"]) || 0,
    at: Number(kept["at"]) || 0,
  };
}

function textsOf(fields: object): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)]));
}
