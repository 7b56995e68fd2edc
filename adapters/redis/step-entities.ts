import type { StepKey } from "../../machines/contracts/domain/record.ts";
import { recordId, type RecordText } from "../../machines/contracts/wire/record-text.ts";
import type { RedisTarget } from "./connect.ts";

/** Step records as redis-om entities, for readers; every write is a script of ours. */
export interface StepEntities {
  /** Null when nothing is kept of the step. */
  find(key: StepKey): Promise<RecordText | null>;
  close(): void;
}

const connectMs = 5_000;

/**
 * redis-om reads through node-redis, a second connection. Both are loaded and connected when the first record
 * is looked up: a worker never does, and they would cost it a fifth of a second at start.
 */
export function createStepEntities(target: RedisTarget, prefix: string): StepEntities {
  let connected: ReturnType<typeof connect> | null = null;
  return {
    async find(key) {
      const current = (connected ??= connect(target, prefix));
      const fetching = current.then(({ repository }) => repository.fetch(recordId(key)));
      const entity = await fetching.catch(async (error: unknown) => {
        // Whatever was wrong with this connection, the next look makes a new one.
        if (connected === current) connected = null;
        end(current);
        throw error;
      });
      // A missing key comes back as an empty entity.
      return entity.phase === undefined ? null : entity;
    },
    close() {
      if (connected !== null) end(connected);
      connected = null;
    },
  };
}

/** Not waited for: one that is still being made ends when it is, or is not. */
const end = (connected: ReturnType<typeof connect>): void =>
  void connected.then(({ client }) => client.disconnect()).catch(() => {});

async function connect(target: RedisTarget, prefix: string) {
  const [{ Repository, Schema }, { createClient }] = await Promise.all([
    import("redis-om"),
    import("redis"),
  ]);
  const client = createClient({
    // Once lost it is not taken up again: the next look makes a new one, and nobody waits for a server that is away.
    socket: { ...target.address, reconnectStrategy: false, connectTimeout: connectMs },
    ...(target.username === undefined ? {} : { username: target.username }),
    ...(target.password === undefined ? {} : { password: target.password }),
    database: target.database,
  });
  // Without a listener its errors would end the process.
  client.on("error", () => {});
  await client.connect();
  const text = { type: "string" } as const;
  // All text: a field that is not what it should be is the reader's to refuse, not the mapper's.
  const schema = new Schema<RecordText>(
    `${prefix}step`,
    {
      phase: text,
      fence: text,
      job: text,
      snapshot: text,
      result: text,
      stateHistory: text,
      wakeAt: text,
    },
    { dataStructure: "HASH" },
  );
  return { client, repository: new Repository(schema, client) };
}
