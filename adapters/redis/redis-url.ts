import { InvalidSetting } from "../../machines/contracts/invalid-setting.ts";

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
  "redis://[user:password@]host[:port][/database], rediss:// for TLS, or unix:///path/to/socket";

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
