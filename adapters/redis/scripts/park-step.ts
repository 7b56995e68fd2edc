import type { Script } from "../script.ts";
import { leaseLua } from "./shared-lua.ts";

/**
 * Puts a step away as data and ends its lease. Where news came meanwhile the job goes back on the stream at
 * once, and no timer is set: it is already awake.
 *
 * KEYS  1 stream, 2 record, 3 timers
 * ARGV  1 group, 2 consumer, 3 entry, 4 fence, 5 the step's id in the timers, 6 job (envelope),
 *       7 snapshot (JSON), 8 path (JSON), 9 time to wake (epoch ms, empty for never)
 * Returns "written" or "lost"
 */
export const parkStep: Script = {
  name: "stateplaneParkStep",
  keys: 3,
  lua: `${leaseLua}
if not lease() then return done('parked') and 'written' or 'lost' end
local news = redis.call('HGET', KEYS[2], 'news')
redis.call('HSET', KEYS[2], 'phase', 'parked', 'job', ARGV[6], 'snapshot', ARGV[7], 'path', ARGV[8])
redis.call('HDEL', KEYS[2], 'entry', 'consumer', 'news', 'wakeAt')
redis.call('ZREM', KEYS[3], ARGV[5])
if news then
  redis.call('XADD', KEYS[1], '*', 'data', ARGV[6])
elseif ARGV[9] ~= '' then
  redis.call('HSET', KEYS[2], 'wakeAt', ARGV[9])
  redis.call('ZADD', KEYS[3], ARGV[9], ARGV[5])
end
drop(ARGV[3])
return 'written'
`,
};
