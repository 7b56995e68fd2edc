import type { Script } from "../script.ts";
import { pendingLua } from "./shared-lua.ts";

/**
 * Gives entries back: to a consumer nobody is, delivered at the beginning of time (so every lease has run
 * out), and with the delivery taken off the count again.
 *
 * KEYS  1 stream
 * ARGV  1 group, 2 consumer, 3 the consumer nobody is, 4.. entries
 * Returns how many were given back; the rest were not this consumer's
 */
export const handBack: Script = {
  name: "stateplaneHandBack",
  keys: 1,
  lua: `${pendingLua}
local given = 0
for i = 4, #ARGV do
  local row = pending(ARGV[i])
  if row and row[2] == ARGV[2] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, ARGV[i],
      'TIME', 0, 'RETRYCOUNT', row[4] - 1, 'JUSTID')
    given = given + 1
  end
end
return given
`,
};
