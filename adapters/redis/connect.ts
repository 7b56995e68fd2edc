import { Redis, type RedisOptions } from "ioredis";
import { StoreUnreachable, InvalidSetting } from "../../machines/contracts/domain/errors.ts";
import { isMendedByReconnecting } from "./trouble.ts";

/** How long a start may take before the store counts as unreachable. */
const startMs = 5_000;
const slowestRetryMs = 2_000;
/** A server that goes on refusing is not asked more often than this whether another has taken its place. */
const reconnectEveryMs = 500;

type Options = Omit<RedisOptions, "replyMapping">;

/**
 * Connects, within a bounded time. Once connected it stays so: a lost connection is taken up again with
 * growing pauses, and nothing is printed. `options` say how commands fare meanwhile; by default they wait.
 *
 * @throws StoreUnreachable when nobody answers, the server refuses us, or it is older than 6.2
 */
export async function connectRedis(target: RedisTarget, options: Options = {}): Promise<Redis> {
  let started = false;
  let problem = "";
  let reconnectedAt = Number.NEGATIVE_INFINITY;
  const redis: Redis = new Redis({
    ...addressOptions(target),
    ...(target.username === undefined ? {} : { username: target.username }),
    ...(target.password === undefined ? {} : { password: target.password }),
    db: target.database,
    // Replies in one shape, whatever the server could do.
    protocol: 2,
    lazyConnect: true,
    connectTimeout: startMs,
    maxRetriesPerRequest: null,
    // A demoted primary keeps its old connections: behind the same name another server may be the right one now. The
    // command that was refused is not sent again: whoever made it waits longer than a connection takes.
    reconnectOnError: (error) => {
      const now = performance.now();
      if (!isMendedByReconnecting(error) || now - reconnectedAt < reconnectEveryMs) return false;
      reconnectedAt = now;
      return 1;
    },
    retryStrategy: (times) => (started ? Math.min(20 * 2 ** times, slowestRetryMs) : null),
    ...options,
  });
  // Without a listener ioredis prints its errors.
  redis.on("error", (error: NodeJS.ErrnoException) => {
    // A broken connection has a code, and a refusal is the server's reply: what is neither could not be read at all.
    const isForeign = error.code === undefined && error.name !== "ReplyError";
    problem = isForeign ? "what answers there is not Redis" : (error.code ?? error.message);
  });
  try {
    await within(startMs, redis.connect());
    requireVersion(await within(startMs, redis.info("server")));
    started = true;
    return redis;
  } catch (error) {
    redis.disconnect();
    const reason = problem || (error instanceof Error ? error.message : String(error));
    throw new StoreUnreachable(`REDIS_URL ${target.shown}`, reason);
  }
}

/**
 * Ends a connection for good: whatever waits for an answer is rejected, and whatever is asked later too. ioredis alone
 * leaves both waiting for ever where its server is away, since between two attempts there is no stream whose end it
 * would hear, and it forgets what a connection before had sent.
 */
export function endConnection(redis: Redis): void {
  rejectSentBefore(redis);
  redis.disconnect();
  if (redis.status !== "reconnecting") return;
  redis.connect().catch(() => {});
  redis.disconnect();
}

/** What waits to be sent again when the connection is made anew. ioredis has no other way to it, and never rejects it. */
interface SentBefore {
  prevCommandQueue?: {
    shift(): { command: { reject(error: Error): void } } | undefined;
  } | null;
}

function rejectSentBefore(redis: Redis): void {
  const { prevCommandQueue } = redis as unknown as SentBefore;
  for (let sent = prevCommandQueue?.shift(); sent !== undefined; sent = prevCommandQueue?.shift())
    sent.command.reject(new Error("Connection is closed."));
}

function addressOptions({ address }: RedisTarget): Options {
  if ("path" in address) return { path: address.path };
  const { host, port, tls } = address;
  return tls ? { host, port, tls: {} } : { host, port };
}

/** Streams need 6.2: XPENDING with IDLE. Valkey answers with the Redis version it descends from. */
function requireVersion(info: string): void {
  const version = /redis_version:(\d+)\.(\d+)\S*/.exec(info);
  const [major, minor] = [Number(version?.[1]), Number(version?.[2])];
  if (version !== null && (major < 6 || (major === 6 && minor < 2))) {
    throw new Error(`it is version ${major}.${minor}; expected 6.2 or later`);
  }
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  const { promise: expired, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  try {
    return await Promise.race([promise, expired]);
  } finally {
    clearTimeout(timer);
  }
}

/** A server to talk to, taken apart for the two clients that do. */
export interface RedisTarget {
  /** For people and errors: the password masked. */
  shown: string;
  /** A unix socket, or host and port. */
  address: { path: string } | { host: string; port: number; tls: boolean };
  username: string | undefined;
  password: string | undefined;
  database: number;
}

const expected =
  "redis://host:port/database, with a user and password before the host where needed, rediss:// for TLS, or unix:///path/to/socket";

/**
 * Reads `REDIS_URL`.
 *
 * @param source where the value came from, for the error
 * @throws InvalidSetting
 */
export function parseRedisUrl(text: string, source: string): RedisTarget {
  const url = URL.parse(text);
  const database = Number(
    url?.protocol === "unix:" ? url.searchParams.get("db") : url?.pathname.slice(1),
  );
  const known = url !== null && ["redis:", "rediss:", "unix:"].includes(url.protocol);
  const complete = url?.protocol === "unix:" ? url.pathname.length > 1 : url?.hostname !== "";
  if (!known || !complete || !Number.isInteger(database) || database < 0) {
    throw new InvalidSetting("REDIS_URL", source, expected);
  }
  try {
    return {
      shown: masked(url),
      address: addressOf(url),
      username: decodeURIComponent(url.username) || undefined,
      password: decodeURIComponent(url.password) || undefined,
      database,
    };
  } catch {
    throw new InvalidSetting("REDIS_URL", source, `${expected}, percent-encoded where needed`);
  }
}

function addressOf(url: URL): RedisTarget["address"] {
  if (url.protocol === "unix:") return { path: decodeURIComponent(url.pathname) };
  return {
    // A bracketed IPv6 address is bare outside of URLs.
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? 6379 : Number(url.port),
    tls: url.protocol === "rediss:",
  };
}

function masked(url: URL): string {
  const user = url.password === "" ? url.username : `${url.username}:***`;
  const path = url.pathname === "/" ? "" : url.pathname;
  return `${url.protocol}//${user === "" ? "" : `${user}@`}${url.host}${path}`;
}
