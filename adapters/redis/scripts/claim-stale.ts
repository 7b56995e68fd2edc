import type { Script } from "../script.ts";

/**
 * Takes over entries whose lease ran out. XPENDING with IDLE, then XCLAIM, rather than XAUTOCLAIM: so the
 * count of deliveries comes along, and an entry that somebody deleted from the stream is acknowledged away
 * on every server version (6.2's XAUTOCLAIM returns a nameless nil for it, for ever).
 *
 * KEYS  1 stream
 * ARGV  1 group, 2 consumer, 3 lease (ms), 4 count
 * Returns {{entry, deliveries, flat fields}, ...}; fails with NOGROUP when the group is gone
 */
export const claimStale: Script = {
  name: "stateplaneClaimStale",
  keys: 1,
  lua: `
local rows = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], '-', '+', ARGV[4])
local taken = {}
for _, row in ipairs(rows) do
  local claimed = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, row[1])[1]
  if claimed then
    taken[#taken + 1] = {row[1], row[4] + 1, claimed[2]}
  else
    redis.call('XACK', KEYS[1], ARGV[1], row[1])
  end
end
return taken
`,
};
