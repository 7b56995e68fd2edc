import { randomUUID } from "node:crypto";
import type { Redis } from "ioredis";
import { InvalidSetting } from "../../machines/contracts/domain/errors.ts";
import { bindScript } from "./keys.ts";
import { codeOf } from "./trouble.ts";

/**
 * Calls every command of our scripts on keys of its own, which it removes again. A user who may run scripts may still be
 * refused a command inside one, and some servers say that with the same code as a fault of the script: found in the
 * middle of a move it would be taken for damaged data of that step, so it is looked for before any job is taken.
 *
 * KEYS  a hash, a list, a string, a sorted set, a stream
 * Returns {command, message, ...} of those that were refused
 */
const probe = {
  name: "stateplaneProbe",
  keys: 5,
  lua: `
local hash, list, text, sorted, stream = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local refused = {}
local function try(name, ...)
  local reply = redis.pcall(name, ...)
  if type(reply) == 'table' and reply.err then
    table.insert(refused, name)
    table.insert(refused, reply.err)
  end
  return reply
end
try('TIME')
try('HSET', hash, 'a', '1')
try('HGET', hash, 'a')
try('HMGET', hash, 'a')
try('HGETALL', hash)
try('HEXISTS', hash, 'a')
try('HINCRBY', hash, 'a', 1)
try('HDEL', hash, 'b')
try('EXISTS', hash)
try('TYPE', hash)
try('PEXPIRE', hash, 60000)
try('PERSIST', hash)
try('RPUSH', list, 'a')
try('LRANGE', list, 0, -1)
try('LPOS', list, 'a')
try('SET', text, '1', 'PX', 60000)
try('INCRBY', text, 1)
try('GET', text)
try('ZADD', sorted, 1, 'a')
try('ZRANGEBYSCORE', sorted, 0, 1)
try('ZREM', sorted, 'b')
try('XGROUP', 'CREATE', stream, 'probe', '0', 'MKSTREAM')
local id = try('XADD', stream, '*', 'a', '1')
if type(id) == 'string' then
  try('XINFO', 'STREAM', stream)
  try('XINFO', 'GROUPS', stream)
  try('XINFO', 'CONSUMERS', stream, 'probe')
  try('XCLAIM', stream, 'probe', 'nobody', 0, id)
  try('XPENDING', stream, 'probe')
  try('XACK', stream, 'probe', id)
  try('XRANGE', stream, id, id)
  try('XREVRANGE', stream, id, id)
  try('XTRIM', stream, 'MAXLEN', 10)
  try('XDEL', stream, id)
  try('XGROUP', 'DELCONSUMER', stream, 'probe', 'nobody')
end
try('DEL', hash, list, text, sorted, stream)
return refused
`,
};

/** What says that the user may not: the rest (READONLY, OOM, ...) is the server's state, and may pass. */
const ofPermission = new Set(["NOPERM", "ERR"]);

/**
 * @param source where the URL came from
 * @throws InvalidSetting when the server refuses this user a command that a step's moves need
 */
export async function checkPermissions(
  redis: Redis,
  { prefix, source, shown }: { prefix: string; source: string; shown: string },
): Promise<void> {
  const run = bindScript(redis, probe);
  const place = `${prefix}probe:${randomUUID()}:`;
  const keys = ["hash", "list", "text", "sorted", "stream"].map((key) => place + key);
  const refused = new Set<string>();
  try {
    const reply = (await run(...keys)) as string[];
    for (let at = 0; at + 1 < reply.length; at += 2) {
      const code = codeOf(new Error(reply[at + 1]));
      if (ofPermission.has(code ?? "")) refused.add(reply[at] ?? "");
    }
  } catch (error) {
    // Whatever else keeps a script from running is met, and waited out, where it is needed.
    if (codeOf(error) === "NOPERM") refused.add("EVALSHA");
  }
  if (refused.size === 0) return;
  const expected = `a user that may run every command of a step's moves, on keys that begin with ${prefix}; Redis at ${shown} refuses it ${[...refused].join(", ")}`;
  throw new InvalidSetting("redisUrl", source, expected);
}
