import type { Script } from "../script.ts";
import { pendingLua } from "./shared-lua.ts";

/**
 * Renews leases: an entry's idle time starts anew, its count of deliveries stays. Ownership is looked at
 * first, since XCLAIM alone would steal the entry back from whoever took it over.
 *
 * KEYS  1 stream
 * ARGV  1 group, 2 consumer, 3.. entries
 * Returns the entries that are no longer this consumer's
 */
export const renewLeases: Script = {
  name: "stateplaneRenewLeases",
  keys: 1,
  lua: `${pendingLua}
local lost = {}
for i = 3, #ARGV do
  local row = pending(ARGV[i])
  local kept = row and row[2] == ARGV[2]
    and redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')[1]
  if not kept then lost[#lost + 1] = ARGV[i] end
end
return lost
`,
};
