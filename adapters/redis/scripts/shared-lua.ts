/**
 * What the scripts share: KEYS[1] is the stream, ARGV[1] the group, ARGV[2] the consumer that asks.
 * `pending` gives an entry's row in the group's pending list (id, consumer, idle milliseconds, deliveries),
 * or nil; a group that is gone (a flushed server) has nothing pending.
 */
export const pendingLua = `
local function pending(entry)
  local rows = redis.pcall('XPENDING', KEYS[1], ARGV[1], entry, entry, 1)
  if not rows.err then return rows[1] end
  if string.find(rows.err, 'NOGROUP', 1, true) then return nil end
  error(rows.err)
end
local function drop(entry)
  redis.call('XACK', KEYS[1], ARGV[1], entry)
  redis.call('XDEL', KEYS[1], entry)
end
`;

/**
 * The check that stands before every write of a step: KEYS[2] is its record, ARGV[3] the lease's entry and
 * ARGV[4] its fence. `lease` gives the entry's pending row while the lease holds, else nil.
 */
export const leaseLua = `${pendingLua}
local function fenced() return redis.call('HGET', KEYS[2], 'fence') == ARGV[4] end
local function lease()
  local row = pending(ARGV[3])
  if row and row[2] == ARGV[2] and fenced() then return row end
  return nil
end
-- A move that ends the lease, run again because its first reply was lost: the fence is still ours, the
-- entry is gone, and the record already says what we came to write. Any opening would have raised the fence.
local function done(phase)
  return fenced() and not pending(ARGV[3]) and redis.call('HGET', KEYS[2], 'phase') == phase
end
`;
