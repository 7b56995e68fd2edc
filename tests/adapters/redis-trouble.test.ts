import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as fc from "fast-check";
import { Redis } from "ioredis";
import { describe, expect, it } from "vitest";
import { createRedisBackend } from "../../adapters/redis/backend.ts";
import { createDurableAppends } from "../../adapters/redis/durable-appends.ts";
import { toStoreError } from "../../adapters/redis/trouble.ts";
import { StoreError } from "../../machines/contracts/domain/errors.ts";
import {
  begun,
  ending,
  fields,
  hour,
  key,
  never,
  parking,
  publishAndRead,
  readOne,
  result,
  take,
} from "../conformance/store-conformance/stage.ts";
import { backend, keys, prefix, redis, server, useRedisBackend } from "../support/redis-backend.ts";
import { startTestRedis } from "../support/redis.ts";
import { startRedisPair } from "../support/switch.ts";

useRedisBackend();

describe("whose trouble it is", () => {
  it("is the step's for a record of the wrong type, which can still become a dead letter [store.trouble]", async () => {
    await redis.set(keys.record(key), "someone else's");
    const { entryId, deliveries } = await publishAndRead(backend);
    const opened = backend.store.open(entryId, key, hour, fields);
    await expect(opened).rejects.toMatchObject({ name: "StoreError", trouble: "step" });
    await expect(backend.store.find(key)).rejects.toMatchObject({ trouble: "step" });
    const letter = { fields, reason: "r", stateHistory: [], snapshot: null, deliveries, at: 1 };
    expect(await backend.queue.deadLetter(entryId, letter)).toBe(true);
    const [kept] = await backend.queue.deadLetters(1);
    expect(await backend.queue.retryDeadLetter(kept?.id ?? "")).toBe(true);
    expect((await readOne(backend)).fields).toEqual(fields);
  });

  it("is ours for a stream of the wrong type, and for a right that was taken away", async () => {
    await redis.set(keys.stream, "someone else's");
    await expect(backend.queue.publish(fields)).rejects.toMatchObject({ trouble: "ours" });
    await redis.del(keys.stream);
    const { entryId } = await publishAndRead(backend);
    await redis.call("ACL", "SETUSER", "default", "-evalsha", "-eval");
    try {
      const opened = backend.store.open(entryId, key, hour, fields);
      await expect(opened).rejects.toMatchObject({ trouble: "ours" });
    } finally {
      await redis.call("ACL", "SETUSER", "default", "+evalsha", "+eval");
    }
  });

  it("passes for a server that is full", async () => {
    const lease = await take(backend);
    await redis.config("SET", "maxmemory", "1");
    try {
      for (const write of [
        () => backend.store.append(lease, [begun]),
        () => backend.store.record(lease, result, []),
        () => backend.store.park(lease, parking),
        () => backend.queue.publish(fields),
      ]) {
        await expect(write()).rejects.toMatchObject({ name: "StoreError", trouble: "passing" });
      }
    } finally {
      await redis.config("SET", "maxmemory", "0");
    }
    expect(await backend.store.append(lease, [begun])).toBe("written");
    expect(await backend.store.settle(lease, ending)).toBe("written");
  });

  it("is decided by the code alone, wherever Redis puts it; a code that nobody knows passes", () => {
    const codes = {
      READONLY: "passing",
      LOADING: "passing",
      MASTERDOWN: "passing",
      CLUSTERDOWN: "passing",
      BUSY: "passing",
      TRYAGAIN: "passing",
      OOM: "passing",
      NOAUTH: "ours",
      WRONGPASS: "ours",
      NOPERM: "ours",
      MISCONF: "ours",
      WRONGTYPE: "step",
    } as const;
    const names = fc.constantFrom(...(Object.keys(codes) as (keyof typeof codes)[]));
    fc.assert(
      fc.property(names, fc.string(), fc.boolean(), (code, words, isIn62) => {
        const said = `${code} ${words}`;
        const text = isIn62
          ? `ERR Error running script (call to f_0a1b): @user_script:12: ${said}`
          : said;
        expect(toStoreError(new Error(text), "step").trouble).toBe(codes[code]);
      }),
    );
    fc.assert(
      fc.property(fc.anything(), (thrown) => {
        const error = toStoreError(thrown, "step");
        expect(error).toBeInstanceOf(StoreError);
        expect(error.trouble).toBe("passing");
      }),
    );
  });
});

describe("a user who may not do all that a step needs", () => {
  const asUser = async (...rules: string[]) => {
    await redis.call("ACL", "SETUSER", "limited", "reset", "on", ">password", ...rules);
    const url = server.url.replace("redis://", "redis://limited:password@");
    return createRedisBackend({ url, prefix, consumer: "worker-2", source: "REDIS_URL" });
  };

  it("is refused at the start, by the names of the commands, before any job is taken [store.permissions]", async () => {
    await expect(asUser("~fd:*", "+@all", "-hset", "-xclaim")).rejects.toMatchObject({
      name: "InvalidSetting",
      message: expect.stringMatching(/REDIS_URL.*refuses it HSET, XCLAIM$/),
    });
    await expect(asUser("~fd:*", "+@all", "-evalsha", "-eval")).rejects.toThrow(
      /refuses it EVALSHA/,
    );
    await expect(asUser("~other:*", "+@all")).rejects.toThrow(/keys that begin with fd:queue:/);
    expect(await redis.keys("*probe*")).toEqual([]);
    const allowed = await asUser("~fd:*", "+@all");
    await allowed.close();
  });

  it("is asked about every command that a script calls", async () => {
    const folder = join(import.meta.dirname, "../../adapters/redis");
    const sources = await Promise.all(
      (await readdir(folder)).map((file) => readFile(join(folder, file), "utf8")),
    );
    const named = (pattern: RegExp) =>
      new Set(sources.flatMap((source) => [...source.matchAll(pattern)].map(([, name]) => name)));
    const called = named(/redis\.p?call\('([A-Z]+)'/g);
    expect(called.size).toBeGreaterThan(30);
    expect([...called].filter((name) => !named(/\btry\('([A-Z]+)'/g).has(name))).toEqual([]);
  });
});

describe("a primary that was demoted behind its name", () => {
  it("is left for the new one by every connection, within seconds [store.failover]", async () => {
    const pair = await startRedisPair();
    const worker = await createRedisBackend({ url: pair.url, prefix, consumer: "worker-1" });
    await worker.queue.publish(fields);
    await readOne(worker);
    expect(await worker.store.find(key)).toBeNull();
    const [old, other] = [new Redis(pair.one.url), new Redis(pair.two.url)];
    pair.switchOver();
    await old.replicaof("127.0.0.1", pair.two.port);
    await other.xadd(keys.stream, "*", "data", "at the new one");

    const refused: unknown[] = [];
    const until = performance.now() + 40_000;
    const trying = async <T>(what: () => Promise<T>, isDone: (value: T) => boolean) => {
      while (performance.now() < until) {
        try {
          const value = await what();
          if (isDone(value)) return value;
        } catch (error) {
          refused.push(error);
          await sleep(100);
        }
      }
      throw new Error("it did not heal");
    };
    await trying(
      () => worker.queue.publish({ data: "written" }),
      () => true,
    );
    const read: string[] = [];
    await trying(
      async () => {
        for (const got of await worker.queue.read(10, 100, never))
          read.push(got.fields["data"] ?? "");
        return read.length;
      },
      (count) => count === 2,
    );
    expect(read.sort()).toEqual(["at the new one", "written"]);
    expect(await other.xlen(keys.stream)).toBe(2);
    await other.hset(keys.record(key), { phase: "parked", fence: "7" });
    expect(await worker.store.find(key)).toMatchObject({ phase: "parked", fence: 7 });
    for (const error of refused) {
      expect(error).toMatchObject({ name: "StoreError", trouble: "passing" });
    }
    old.disconnect();
    other.disconnect();
    await worker.close();
    await pair.stop();
  });

  it("is asked no more than twice a second where nobody takes its place", async () => {
    const lone = await startTestRedis();
    const worker = await createRedisBackend({ url: lone.url, prefix, consumer: "worker-1" });
    const own = new Redis(lone.url);
    await own.replicaof("127.0.0.1", 1);
    const made = async () =>
      Number(/total_connections_received:(\d+)/.exec(await own.info("stats"))?.[1]);
    const [before, began] = [await made(), performance.now()];
    for (let turn = 0; turn < 40; turn += 1) {
      await worker.queue.publish(fields).catch(() => {});
      await sleep(25);
    }
    const after = await made();
    const seconds = (performance.now() - began) / 1_000;
    expect(after - before).toBeLessThanOrEqual(2 + 2 * seconds);
    own.disconnect();
    await worker.close();
    await lone.stop();
  });
});

describe("warnings", () => {
  const warningsOf = async (url = server.url, under = prefix) => {
    const looked = await createRedisBackend({ url, prefix: under, consumer: "look" });
    await looked.close();
    return looked.warnings;
  };

  it("name what endangers the promises, in whole sentences, and nothing where all is well", async () => {
    expect(await warningsOf()).toEqual([]);
    await redis.config("SET", "maxmemory-policy", "allkeys-lru");
    await redis.config("SET", "appendfsync", "everysec");
    const warnings = await warningsOf();
    await redis.config("SET", "maxmemory-policy", "noeviction");
    await redis.config("SET", "appendfsync", "always");
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toMatch(/evicts keys .*allkeys-lru.*Set maxmemory-policy to noeviction\.$/);
    expect(warnings[1]).toMatch(/once a second .*Set appendfsync to always/);
    await redis.config("SET", "appendonly", "no");
    expect(await warningsOf()).toEqual([expect.stringMatching(/no append-only file/)]);
    await redis.config("SET", "appendonly", "yes");
  });

  it("name a replica", async () => {
    const replica = await startTestRedis();
    const own = new Redis(replica.url);
    // Of nobody, so that it has nothing to load while it is looked at.
    await own.replicaof("127.0.0.1", 1);
    expect(await warningsOf(replica.url)).toEqual([expect.stringMatching(/^Redis is a replica/)]);
    own.disconnect();
    await replica.stop();
  });
});

describe("appends that must be on the disk", () => {
  /** A connection that answers as a server of version 7.2 does, and counts. */
  const fakeServer = (answer: (turn: number) => unknown) => {
    const seen: string[] = [];
    let turns = 0;
    const connection = {
      defineCommand(name: string) {
        Reflect.set(connection, name, async (...inputs: unknown[]) => {
          seen.push(String(inputs.at(-1)));
          await sleep(1);
          return "written";
        });
      },
      async call(...command: unknown[]) {
        seen.push(String(command[0]));
        await sleep(5);
        const said = answer((turns += 1));
        if (said instanceof Error) throw said;
        return said;
      },
      disconnect: () => {},
    };
    return { seen, connect: async () => connection as unknown as Redis };
  };

  it("are synced in groups: those that come meanwhile go together", async () => {
    const { seen, connect } = fakeServer(() => [1, 0]);
    const { append } = createDurableAppends(connect);
    const first = append("a");
    await sleep(3);
    expect(await Promise.all([first, append("b"), append("c")])).toEqual(
      Array.from({ length: 3 }, () => "written"),
    );
    expect(seen).toEqual(["a", "WAITAOF", "b", "c", "WAITAOF"]);
  });

  it("are passing trouble when the server did not sync, and written when it can't say", async () => {
    const refusal = Object.assign(new Error("ERR WAITAOF cannot be used"), { name: "ReplyError" });
    const { connect } = fakeServer((turn) => (turn === 1 ? [0, 0] : refusal));
    const { append } = createDurableAppends(connect);
    await expect(append("a")).rejects.toMatchObject({ trouble: "passing" });
    expect(await append("a")).toBe("written");
  });

  it("connect again when that failed", async () => {
    const { connect } = fakeServer(() => [1, 0]);
    let tries = 0;
    const { append } = createDurableAppends(async () => {
      tries += 1;
      if (tries === 1) throw new Error("ECONNREFUSED");
      return connect();
    });
    await expect(append("a")).rejects.toThrow("ECONNREFUSED");
    expect(await append("a")).toBe("written");
  });
});
