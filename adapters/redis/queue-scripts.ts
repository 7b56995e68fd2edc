import type { Script } from "./keys.ts";
import { pendingLua } from "./step-scripts.ts";

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

/**
 * Gives entries back: to a consumer nobody is, delivered at the beginning of time (so every lease has run
 * out), and with the delivery taken off the count again.
 *
 * KEYS  1 stream
 * ARGV  1 group, 2 consumer, 3 the consumer nobody is, 4.. entries
 * Returns how many were given back; the rest were not this consumer's
 */
export const release: Script = {
  name: "stateplaneRelease",
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

/**
 * Puts a dead letter's job back on the stream. Its step, if it was reported, is forgotten, since the new
 * entry would otherwise be taken for a late duplicate.
 *
 * KEYS  1 stream, 2 dead letters, 3 the step's record
 * ARGV  1 letter, 2.. the job's fields, names and values
 * Returns 1, or 0 when the letter is gone
 */
export const retryDeadLetter: Script = {
  name: "stateplaneRetryDeadLetter",
  keys: 3,
  lua: `
if not redis.call('XRANGE', KEYS[2], ARGV[1], ARGV[1])[1] then return 0 end
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
redis.call('XDEL', KEYS[2], ARGV[1])
if redis.call('HGET', KEYS[3], 'phase') == 'reported' then redis.call('DEL', KEYS[3]) end
return 1
`,
};

/**
 * Removes the consumers that own nothing and have not been seen for long: processes that died. Deleting a
 * consumer drops what it has pending, so both are looked at in the same move.
 *
 * KEYS  1 stream
 * ARGV  1 group, 2 the consumer that asks (never removed), 3 how long not seen (ms)
 * Returns how many were removed
 */
export const forgetConsumers: Script = {
  name: "stateplaneForgetConsumers",
  keys: 1,
  lua: `
local removed = 0
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = {}
  for i = 1, #flat, 2 do consumer[flat[i]] = flat[i + 1] end
  if consumer.pending == 0 and consumer.idle > tonumber(ARGV[3]) and consumer.name ~= ARGV[2] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
    removed = removed + 1
  end
end
return removed
`,
};

/**
 * Takes a consumer out of the group, unless it still owns something: deleting it would drop that.
 *
 * KEYS  1 stream
 * ARGV  1 group, 2 consumer
 * Returns 1 when it is gone, 0 when it still owns something; fails with NOGROUP when the group is gone
 */
export const leaveGroup: Script = {
  name: "stateplaneLeaveGroup",
  keys: 1,
  lua: `
if redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])[1] then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
`,
};
