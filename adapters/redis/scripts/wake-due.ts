import type { Script } from "../script.ts";

/**
 * Puts parked steps whose time has come back on the stream. Timer and job change places in one move, so
 * that of all the workers that sweep exactly one wakes a step, and none that dies here forgets one. A woken
 * step stays parked until it is opened.
 *
 * KEYS  1 stream, 2 timers
 * ARGV  1 now (epoch ms), 2 limit, 3 what stands before an id in a record's key
 * Returns how many were woken
 */
export const wakeDue: Script = {
  name: "stateplaneWakeDue",
  keys: 2,
  lua: `
local woken = 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])) do
  local record = ARGV[3] .. id
  local kept = redis.call('HMGET', record, 'phase', 'job')
  if kept[1] == 'parked' and kept[2] then
    redis.call('XADD', KEYS[1], '*', 'data', kept[2])
    redis.call('HDEL', record, 'wakeAt')
    woken = woken + 1
  end
  redis.call('ZREM', KEYS[2], id)
end
return woken
`,
};
