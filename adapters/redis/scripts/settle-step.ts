import type { Script } from "../script.ts";
import { leaseLua } from "./shared-lua.ts";

/**
 * Ends a step: what it needed is dropped, that it was reported is remembered, and its entry is gone. A step
 * already reported only has its entry acknowledged.
 *
 * KEYS  1 stream, 2 record, 3 journal, 4 timers, 5 dead letters
 * ARGV  1 group, 2 consumer, 3 entry, 4 fence, 5 the step's id in the timers, 6 path (JSON),
 *       7 TTL of a reported step (s), and for a dead letter 8 fields (JSON), 9 reason, 10 snapshot (JSON),
 *       11 at (epoch ms)
 * Returns "written" or "lost"
 */
export const settleStep: Script = {
  name: "stateplaneSettleStep",
  keys: 5,
  lua: `${leaseLua}
local row = lease()
if not row then return done('reported') and 'written' or 'lost' end
if redis.call('HGET', KEYS[2], 'phase') ~= 'reported' then
  redis.call('DEL', KEYS[2], KEYS[3])
  redis.call('HSET', KEYS[2], 'phase', 'reported', 'fence', ARGV[4], 'path', ARGV[6])
  redis.call('EXPIRE', KEYS[2], ARGV[7])
  redis.call('ZREM', KEYS[4], ARGV[5])
  if ARGV[8] then
    redis.call('XADD', KEYS[5], '*', 'fields', ARGV[8], 'reason', ARGV[9], 'snapshot', ARGV[10],
      'at', ARGV[11], 'path', ARGV[6], 'deliveries', row[4])
  end
end
drop(ARGV[3])
return 'written'
`,
};
