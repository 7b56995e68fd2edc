import { expect, it } from "vitest";
import { parseRedisUrl } from "../../adapters/redis/connect.ts";

const parse = (url: string) => parseRedisUrl(url, "a flag");

it("takes a Redis URL apart, decoding what was percent-encoded", () => {
  expect(parse("redis://me:p%40ss%2F@cache.local:6380/3")).toEqual({
    shown: "redis://me:***@cache.local:6380/3",
    address: { host: "cache.local", port: 6380, tls: false },
    username: "me",
    password: "p@ss/",
    database: 3,
  });
});

it("fills in the port, no credentials and the first database", () => {
  expect(parse("rediss://cache/")).toEqual({
    shown: "rediss://cache",
    address: { host: "cache", port: 6379, tls: true },
    username: undefined,
    password: undefined,
    database: 0,
  });
});

it("reads an IPv6 address and a unix socket", () => {
  expect(parse("redis://[::1]:7000").address).toEqual({ host: "::1", port: 7000, tls: false });
  const socket = parse("unix:///a%20b/redis.sock?db=2");
  expect(socket).toMatchObject({ address: { path: "/a b/redis.sock" }, database: 2 });
});

it("never repeats a malformed URL, which may hold a password", () => {
  for (const url of [
    "redis://:s3cret@h:port",
    "redis://u:%zzs3cret@h",
    "s3cret",
    "redis://s3cret@",
  ]) {
    expect(() => parse(url)).toThrow(/^REDIS_URL \(from a flag\): expected redis:/);
    expect(() => parse(url)).not.toThrow(/s3cret/);
  }
});
