import type { Redis } from "ioredis";
import { parseJob } from "../../machines/contracts/job.ts";
import type { StepQueue } from "../../machines/contracts/ports/step-queue.ts";
import { readLetter, writeLetter } from "./dead-letter-text.ts";
import { group, type Keys } from "./keys.ts";
import { bindScript } from "./script.ts";
import { deadLetter } from "./scripts/dead-letter.ts";
import { retryDeadLetter } from "./scripts/retry-dead-letter.ts";

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
  return parsed.sound ? parsed.job : parsed.unsound;
}

function isEntryId(id: string): boolean {
  return /^\d{1,19}-\d{1,19}$/.test(id);
}
