import type { Script } from "../script.ts";
import { pendingLua } from "./shared-lua.ts";

/**
 * Takes a step: renews its lease, raises its fence and returns what was kept of it.
 *
 * KEYS  1 stream, 2 record, 3 journal, 4 timers
 * ARGV  1 group, 2 consumer, 3 entry, 4 lease (ms), 5 the step's id in the timers, 6 TTL of a reported step (s)
 * Returns one of
 *   {"opened", fence, record, journal}  record: flat fields as found before, empty for a step never seen
 *   {"reported", fence}                 the step has ended; the entry only wants acknowledging
 *   {"duplicate"}                       another entry of the step is leased: this one is gone, `news` is set
 *   {"lost"}                            the entry is not pending for this consumer; nothing was written
 */
export const openStep: Script = {
  name: "stateplaneOpenStep",
  keys: 4,
  lua: `${pendingLua}
local entry = ARGV[3]
local mine = pending(entry)
if not mine or mine[2] ~= ARGV[2] then return {'lost'} end

local kept = redis.call('HMGET', KEYS[2], 'phase', 'fence', 'entry')
local phase, other = kept[1], kept[3]
if phase == 'reported' then
  redis.call('EXPIRE', KEYS[2], ARGV[6])
  return {'reported', kept[2]}
end
if other and other ~= entry then
  local held = pending(other)
  if held and held[3] < tonumber(ARGV[4]) then
    redis.call('HSET', KEYS[2], 'news', '1')
    drop(entry)
    return {'duplicate'}
  end
end

redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, entry, 'JUSTID')
local record, journal = {}, {}
if phase then
  record = redis.call('HGETALL', KEYS[2])
  journal = redis.call('LRANGE', KEYS[3], 0, -1)
  redis.call('ZREM', KEYS[4], ARGV[5])
  redis.call('HDEL', KEYS[2], 'wakeAt')
end
local now = redis.call('HEXISTS', KEYS[2], 'result') == 1 and 'recorded' or 'open'
local fence = redis.call('HINCRBY', KEYS[2], 'fence', 1)
redis.call('HSET', KEYS[2], 'phase', now, 'entry', entry, 'consumer', ARGV[2])
return {'opened', tostring(fence), record, journal}
`,
};
