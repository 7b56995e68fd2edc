import { createServer, Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { createRedisBackend } from "../../adapters/redis/backend.ts";
import { bindScript } from "../../adapters/redis/keys.ts";
import { forgetConsumers } from "../../adapters/redis/queue-scripts.ts";
import { toEnvelope } from "../../machines/contracts/domain/job.ts";
import { InvalidSetting, StoreUnreachable } from "../../machines/contracts/domain/errors.ts";
import {
  begun,
  ending,
  fields,
  hour,
  job,
  key,
  longStill,
  never,
  parking,
  readOne,
  take,
} from "./store-conformance/stage.ts";
import { listen } from "../support/listen.ts";
import {
  backend,
  keys,
  openBackend,
  prefix,
  redis,
  reopenBackend,
  server,
  useRedisBackend,
} from "../support/redis-backend.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";

useRedisBackend();

it("prolongs its memory of an ended step with each late duplicate of its job", async () => {
  await reopenBackend({ rememberMs: hour });
  await backend.store.settle(await take(backend), ending);
  // As if most of its time had passed.
  await redis.pexpire(keys.ended(key), 60_000);
  await backend.queue.publish(fields);
  const { entryId } = await readOne(backend);
  expect(await backend.store.open(entryId, key, hour, fields)).toMatchObject({ kind: "reported" });
  expect(await redis.pttl(keys.ended(key))).toBeGreaterThan(hour / 2);
});

describe("the wire contract", () => {
  it("reads what the gateway publishes: its stream, its group made at `$`, its one field", async () => {
    await redis.xgroup("CREATE", "fd:queue:stream:steps", "steps-workers", "$", "MKSTREAM");
    await redis.xadd("fd:queue:stream:steps", "*", "data", toEnvelope(job));
    expect((await readOne(backend)).fields).toEqual({ data: toEnvelope(job) });
    const pending = await redis.xpending("fd:queue:stream:steps", "steps-workers");
    expect(pending[0]).toBe(1);
  });

  it("reads what was published before anyone made the group", async () => {
    await redis.xadd("fd:queue:stream:steps", "*", "data", "early");
    expect((await readOne(backend)).fields).toEqual({ data: "early" });
  });

  it("leaves neither entries nor pending rows behind a settled step", async () => {
    await backend.store.settle(await take(backend), ending);
    expect(await redis.xlen(keys.stream)).toBe(0);
    expect((await redis.xpending(keys.stream, "steps-workers"))[0]).toBe(0);
    expect((await redis.keys("*")).sort()).toEqual([keys.ended(key), keys.stream].sort());
    expect(await redis.ttl(keys.ended(key))).toBeGreaterThan(3590);
  });
});

describe("the next read", () => {
  it("is asked for after the opening of what was just read, which a job waits for", async () => {
    await backend.queue.publish(fields);
    const { entryId } = await readOne(backend);
    // As it is written: two connections, and a server may read the later one first.
    const asked: string[] = [];
    const written = Reflect.get(Socket.prototype, "write") as Socket["write"];
    const write = vi.spyOn(Socket.prototype, "write");
    onTestFinished(() => write.mockRestore());
    write.mockImplementation(function (this: Socket, ...given: unknown[]) {
      const command = /\r\n(xreadgroup|eval(?:sha)?)\r\n/iu.exec(String(given[0]))?.[1];
      if (command !== undefined) asked.push(command.toLowerCase());
      return Reflect.apply(written, this, given) as boolean;
    });
    const leaving = new AbortController();
    // As a worker does: it reads on at once, and the step's actor opens its record a few turns of microtasks later.
    const next = backend.queue.read(1, 5_000, leaving.signal);
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    await backend.store.open(entryId, key, hour, fields);
    await expect.poll(() => asked).toEqual([expect.stringMatching(/^eval/u), "xreadgroup"]);
    leaving.abort();
    await next;
  });
});

it("hands on what met an aborted reader, though the process stood still meanwhile", async () => {
  const stop = new AbortController();
  const reading = backend.queue.read(1, hour, stop.signal);
  await expect.poll(() => redis.client("LIST")).toContain("cmd=xreadgroup");
  const publishing = backend.queue.publish(fields);
  stop.abort();
  // The reader's going is asked for, and answered before anybody looks.
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
  const until = performance.now() + 1_000;
  while (performance.now() < until);
  expect(await reading).toEqual([]);
  await publishing;
  expect(await backend.queue.claimStale(hour, 1)).toMatchObject([{ fields, deliveries: 1 }]);
});

describe("a server that lost everything", () => {
  it("is healed by a reader that waits", async () => {
    const reading = backend.queue.read(1, 5_000, never);
    await sleep(50);
    await redis.flushall();
    await sleep(50);
    await redis.xadd(keys.stream, "*", "data", "after");
    const read = await reading;
    const later = read.length > 0 ? read : await backend.queue.read(1, 2_000, never);
    expect(later).toMatchObject([{ fields: { data: "after" } }]);
  });

  it("is healed by a claim, and every lease from before is lost", async () => {
    const lease = await take(backend);
    await redis.flushall();
    expect(await backend.queue.renew([lease.entryId])).toEqual([lease.entryId]);
    expect(await backend.store.append(lease, [begun])).toBe("lease-lost");
    expect(await backend.store.open(lease.entryId, key, hour, fields)).toEqual({
      kind: "lease-lost",
    });
    expect(await backend.queue.stats()).toMatchObject({
      length: 0,
      pending: 0,
      deadLetters: 0,
      droppedLetters: 0,
    });
    await redis.flushall();
    expect(await backend.queue.claimStale(0, 10)).toEqual([]);
    const groups = await redis.xinfo("GROUPS", keys.stream);
    expect(groups).toHaveLength(1);
  });

  it("gets its scripts again when only those were flushed", async () => {
    const lease = await take(backend);
    await redis.script("FLUSH");
    const writes = Array.from({ length: 20 }, () => backend.store.append(lease, [begun]));
    expect(new Set(await Promise.all(writes))).toEqual(new Set(["written"]));
    expect(await backend.store.settle(lease, ending)).toBe("written");
  });
});

describe("entries that somebody deleted", () => {
  it("are acknowledged away when claimed, and do not come back", async () => {
    const gone = await take(backend);
    await backend.queue.publish(fields);
    const kept = await readOne(backend);
    await redis.xdel(keys.stream, gone.entryId);
    const taken = await backend.queue.claimStale(0, 10);
    expect(taken).toEqual([{ ...kept, deliveries: 2 }]);
    expect((await redis.xpending(keys.stream, "steps-workers"))[0]).toBe(1);
  });

  it("are lost when their lease is renewed", async () => {
    const gone = await take(backend);
    await redis.xdel(keys.stream, gone.entryId);
    expect(await backend.queue.renew([gone.entryId])).toEqual([gone.entryId]);
  });
});

describe("moves run again because a reply was lost", () => {
  it("append nothing twice, and end a lease once", async () => {
    const lease = await take(backend);
    await backend.store.append(lease, [begun]);
    await backend.store.append(lease, [begun]);
    expect((await backend.store.find(key))?.journal).toEqual([begun]);
    expect(await backend.store.park(lease, parking)).toBe("written");
    expect(await backend.store.park(lease, parking)).toBe("written");
    const again = await take(backend);
    expect(await backend.store.park(lease, parking)).toBe("lease-lost");
    expect(await backend.store.settle(again, ending)).toBe("written");
    expect(await backend.store.settle(again, ending)).toBe("written");
    expect(await backend.queue.stats()).toMatchObject({ length: 0, pending: 0 });
  });
});

describe("a record that someone else wrote in", () => {
  it("comes back as the data it is", async () => {
    const lease = await take(backend);
    await backend.store.append(lease, [begun]);
    await redis.rpush(keys.journal(key), "{broken");
    await redis.hset(keys.record(key), {
      snapshot: "not json ☃",
      stateHistory: '{"no":"list"}',
      job: "[]",
      wakeAt: "soon",
      phase: "asleep",
      stranger: "x",
    });
    expect(await backend.store.find(key)).toEqual({
      ...key,
      phase: "open",
      fence: 1,
      job: null,
      snapshot: "not json ☃",
      result: null,
      journal: [begun, "{broken"],
      stateHistory: [],
      wakeAt: null,
    });
  });
});

const names = async () => {
  const rows = (await redis.xinfo("CONSUMERS", keys.stream, "steps-workers")) as string[][];
  return rows.map((row) => row[row.indexOf("name") + 1]).sort();
};

describe("consumers", () => {
  it("leave the group when they close, unless they still own something", async () => {
    const other = await openBackend({ consumer: "worker-2" });
    await backend.queue.publish(fields);
    await readOne(other);
    await backend.store.settle(await take(backend), ending);
    expect(await names()).toEqual(["stateplane:worker-1", "stateplane:worker-2"]);
    await backend.close();
    await other.close();
    expect(await names()).toEqual(["stateplane:worker-2"]);
    expect((await redis.xpending(keys.stream, "steps-workers"))[0]).toBe(1);
  });

  it("are forgotten when they died, but not with entries of theirs, nor who was just seen", async () => {
    const lease = await take(backend);
    for (const name of ["dead", "busy"]) {
      await redis.xgroup("CREATECONSUMER", keys.stream, "steps-workers", name);
    }
    await redis.xclaim(keys.stream, "steps-workers", "busy", 0, lease.entryId);
    const made = performance.now();
    await sleep(longStill);
    await backend.queue.claimStale(hour, 1);
    expect(await names()).toEqual(["busy", "dead", "stateplane:worker-1"]);
    await redis.xgroup("CREATECONSUMER", keys.stream, "steps-workers", "new");
    // The queue's own bound is a minute at least: the script is asked with a shorter one.
    await bindScript(redis, forgetConsumers)(
      keys.stream,
      "steps-workers",
      "stateplane:worker-1",
      Math.floor(performance.now() - made),
    );
    expect(await names()).toEqual(["busy", "new", "stateplane:worker-1"]);
  });
});

describe("a connection that fails", () => {
  it("is taken up again after the server's restart, with the moves that waited, and prints nothing", async () => {
    const printed = vi.spyOn(process.stderr, "write");
    const warned = vi.spyOn(console, "warn");
    const lease = await take(backend);
    const reading = backend.queue.read(1, hour, never);
    const restarting = server.restart();
    await sleep(30);
    const during = Array.from({ length: 50 }, (_, at) =>
      backend.store.append(lease, [{ event: "begun", effect: "e", at }]),
    );
    await restarting;
    expect(new Set(await Promise.all(during))).toEqual(new Set(["written"]));
    expect((await backend.store.find(key))?.journal).toHaveLength(50);
    expect(await reading).toEqual([]);
    await backend.queue.publish({ data: "after" });
    expect(await readOne(backend)).toMatchObject({ fields: { data: "after" } });
    expect(printed).not.toHaveBeenCalled();
    expect(warned).not.toHaveBeenCalled();
    printed.mockRestore();
    warned.mockRestore();
  });

  it("loses and doubles nothing while moves are under way when it breaks", async () => {
    await backend.queue.publish(fields);
    const lease = await take(backend);
    const writes: Promise<unknown>[] = [];
    for (let at = 0; at < 400; at += 1) {
      writes.push(backend.store.append(lease, [{ event: "begun", effect: "e", at }]));
      if (at % 40 === 20) await redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    }
    expect(new Set(await Promise.all(writes))).toEqual(new Set(["written"]));
    const journal = (await backend.store.find(key))?.journal as { at: number }[];
    expect(journal.map(({ at }) => at).sort((x, y) => x - y)).toEqual(
      Array.from({ length: 400 }, (_, at) => at),
    );
  });

  it("is replaced when a read on it hangs, and the next read works", async () => {
    const proxy = await startTcpProxy(server.port);
    const url = `redis://127.0.0.1:${proxy.port}`;
    const far = await createRedisBackend({ url, prefix, consumer: "far" });
    await far.queue.publish({ data: "1" });
    await readOne(far);
    const made = proxy.connections();

    const reading = far.queue.read(1, 100, never);
    await sleep(20);
    proxy.freeze();
    expect(await reading).toEqual([]);

    await backend.queue.publish({ data: "2" });
    const seen: string[] = [];
    for (let tries = 0; tries < 50 && seen.length === 0; tries += 1) {
      for (const { fields: read } of await far.queue.read(1, 200, never)) {
        seen.push(read["data"] ?? "");
      }
    }
    expect(seen).toEqual(["2"]);
    expect(proxy.connections()).toBeGreaterThan(made);
    await far.close();
    await proxy.stop();
  });

  it("lets a reader go promptly when aborted though the wire is dead", async () => {
    const proxy = await startTcpProxy(server.port);
    const url = `redis://127.0.0.1:${proxy.port}`;
    const far = await createRedisBackend({ url, prefix, consumer: "far" });
    const stop = new AbortController();
    const reading = far.queue.read(1, hour, stop.signal);
    await sleep(50);
    proxy.freeze();
    stop.abort();
    expect(await reading).toEqual([]);
    await far.close();
    await proxy.stop();
  });
});

const open = (url: string) => createRedisBackend({ url, prefix, consumer: "w" });

describe("a start that cannot work", () => {
  it("says which server refused, without its password", async () => {
    const error = await open("redis://me:s3cret@127.0.0.1:1/2").catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(StoreUnreachable);
    expect(String(error)).toBe(
      "StoreUnreachable: REDIS_URL redis://me:***@127.0.0.1:1/2: ECONNREFUSED",
    );
  });

  it("gives up on a server that accepts and says nothing", async () => {
    const silent = createServer(() => {});
    const port = await listen(silent);
    await expect(open(`redis://127.0.0.1:${port}`)).rejects.toThrow(/no answer within 5000 ms/);
    silent.close();
  });

  it("repeats the server's own words when it refuses the password", async () => {
    await redis.config("SET", "requirepass", "right");
    const wrong = open(`redis://:wr0ng@127.0.0.1:${server.port}`);
    await expect(wrong).rejects.toThrow(/REDIS_URL redis:\/\/:\*\*\*@.*WRONGPASS/);
    await expect(open(server.url)).rejects.toThrow(/NOAUTH/);
    const right = await open(`redis://:right@127.0.0.1:${server.port}`);
    expect(await right.store.find(key)).toBeNull();
    await right.close();
    await redis.config("SET", "requirepass", "");
  });

  it.each(["", "localhost:6379", "http://h", "redis://", "redis://h/x", "redis://h/-1", "unix://"])(
    "names the setting and what was expected for %j",
    async (url) => {
      const error = await open(url).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(InvalidSetting);
      expect(error).toMatchObject({ key: "REDIS_URL", source: "the environment" });
      expect(String(error)).toContain("expected redis://");
    },
  );
});
