import type { Script } from "../script.ts";
import { leaseLua } from "./shared-lua.ts";

/**
 * Appends to a step's journal. Run again, it finds its entries at the journal's end and adds nothing.
 *
 * KEYS  1 stream, 2 record, 3 journal
 * ARGV  1 group, 2 consumer, 3 entry, 4 fence, 5.. the journal entries, JSON
 * Returns "written" or "lost"
 */
export const appendJournal: Script = {
  name: "stateplaneAppendJournal",
  keys: 3,
  lua: `${leaseLua}
if not lease() then return 'lost' end
local count = #ARGV - 4
if count == 0 then return 'written' end
local tail = redis.call('LRANGE', KEYS[3], -count, -1)
local same = #tail == count
for i = 1, count do same = same and tail[i] == ARGV[4 + i] end
if not same then
  for i = 1, count do redis.call('RPUSH', KEYS[3], ARGV[4 + i]) end
end
return 'written'
`,
};
