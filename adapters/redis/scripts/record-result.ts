import type { Script } from "../script.ts";
import { leaseLua } from "./shared-lua.ts";

/**
 * Keeps a step's result in the outbox, before it is sent.
 *
 * KEYS  1 stream, 2 record
 * ARGV  1 group, 2 consumer, 3 entry, 4 fence, 5 result (JSON), 6 path (JSON)
 * Returns "written" or "lost"
 */
export const recordResult: Script = {
  name: "stateplaneRecordResult",
  keys: 2,
  lua: `${leaseLua}
if not lease() then return 'lost' end
redis.call('HSET', KEYS[2], 'phase', 'recorded', 'result', ARGV[5], 'path', ARGV[6])
return 'written'
`,
};
