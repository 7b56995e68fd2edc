import type { Script } from "../script.ts";
import { pendingLua } from "./shared-lua.ts";

/**
 * Turns an entry into a dead letter.
 *
 * KEYS  1 stream, 2 dead letters
 * ARGV  1 group, 2 consumer, 3 entry, 4.. the letter's names and values
 * Returns 1, or 0 when the entry is not pending for this consumer
 */
export const deadLetter: Script = {
  name: "stateplaneDeadLetter",
  keys: 2,
  lua: `${pendingLua}
local row = pending(ARGV[3])
if not row or row[2] ~= ARGV[2] then return 0 end
redis.call('XADD', KEYS[2], '*', unpack(ARGV, 4))
drop(ARGV[3])
return 1
`,
};
