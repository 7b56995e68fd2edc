import { hash } from "node:crypto";
import type { Redis } from "ioredis";
import type { StepKey } from "../../machines/contracts/domain/record.ts";
import { recordId } from "../../machines/contracts/wire/record-text.ts";

/** The gateway's group for the stream `steps`. */
export const group = "steps-workers";

/**
 * How the names of our consumers begin. Any other consumer of the group, such as FerrumDeck's Python worker, may send
 * no heartbeat while it works.
 */
export const ourConsumers = "stateplane:";

/** The lease of a record that has none of its own, not opened since it was put back: when it is looked at again. */
export const usualLeaseMs = 30_000;

/** Who owns an entry that was released: nobody; it waits to be claimed, with an ancient delivery time. */
export const releasedConsumer = `${ourConsumers}released`;

/**
 * The names of everything kept under one prefix. The stream's is the gateway's, and `stream:dlq` is the name
 * it declares for dead letters and never uses; the rest is ours.
 */
export function keysOf(prefix: string) {
  return {
    stream: `${prefix}stream:steps`,
    letters: `${prefix}stream:dlq`,
    /** How many dead letters were dropped because there were too many. */
    droppedLetters: `${prefix}dlq:dropped`,
    /** How far the group has read, so that it can be made again there. */
    position: `${prefix}position`,
    /** Sorted set: a step's id, scored by the time at which it wakes. */
    timers: `${prefix}timers`,
    /** How many steps are parked: counted as they are put away and taken up again. */
    parked: `${prefix}parked`,
    /** Hash: of each tool server, what was accepted of it. */
    toolPins: `${prefix}tool-pins`,
    /** What stands before the id in a step's record (a hash). */
    records: `${prefix}step:`,
    record: (key: StepKey) => `${prefix}step:${recordId(key)}`,
    /** What is left of an ended step: its fence. Finished steps are many, so the name is short. */
    ended: (key: StepKey) => `${prefix}ended:${digest(recordId(key))}`,
    /** List, only ever appended to. */
    journal: (key: StepKey) => `${prefix}journal:${recordId(key)}`,
    /** All of a step's names at once. */
    step: (key: StepKey) => {
      const id = recordId(key);
      const [record, journal] = [`${prefix}step:${id}`, `${prefix}journal:${id}`];
      return { id, record, journal, ended: `${prefix}ended:${digest(id)}` };
    },
  };
}

export type Keys = ReturnType<typeof keysOf>;

/** 128 bits: two steps do not share one. */
function digest(text: string): string {
  return hash("sha256", text, "buffer").toString("base64url", 0, 16);
}

/**
 * A job as a record keeps it: as the envelope it came in, or else as its fields, a list of names and values.
 */
export function keptJob(fields: Record<string, string>): ["job" | "fields", string] {
  const { data, ...others } = fields;
  if (data !== undefined && Object.keys(others).length === 0) return ["job", data];
  return ["fields", JSON.stringify(Object.entries(fields).flat())];
}

/** Redis's flat list of names and values as a record; a name that comes twice keeps its last value. */
export function fieldsOf(flat: readonly string[] | null): Record<string, string> {
  const pairs: [string, string][] = [];
  for (let i = 0; i + 1 < (flat?.length ?? 0); i += 2) {
    pairs.push([flat?.[i] ?? "", flat?.[i + 1] ?? ""]);
  }
  return Object.fromEntries(pairs);
}

/** One atomic move. The Lua's header comment lists its keys, its arguments and every return code. */
export interface Script {
  name: string;
  /** How many of its inputs are keys. */
  keys: number;
  /** Functions that the body uses; of KEYS and ARGV they see what it sees. */
  helpers?: string;
  lua: string;
}

export type BoundScript = (...inputs: (string | number)[]) => Promise<unknown>;

/**
 * Makes a script callable on a connection, keys first; where `keys` is null, their number comes before them. A connection
 * that broke aborts or sends again what was unanswered, done or not, so every script must bear being run twice.
 */
export function bindScript(
  redis: Redis,
  { name, keys, helpers = "", lua: body }: Omit<Script, "keys"> & { keys: number | null },
): BoundScript {
  const lua = helpers + body;
  redis.defineCommand(name, keys === null ? { lua } : { numberOfKeys: keys, lua });
  const defined: unknown = Reflect.get(redis, name);
  if (typeof defined !== "function") throw new Error(`the script ${name} was not defined`);
  return async (...inputs) => {
    for (;;) {
      try {
        return await Reflect.apply(defined, redis, inputs);
      } catch (error) {
        if (!(error instanceof Error) || error.name !== "AbortError") throw error;
      }
    }
  };
}
