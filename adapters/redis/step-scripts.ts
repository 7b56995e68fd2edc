import type { Script } from "./keys.ts";

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

/**
 * Takes a step: renews its lease, raises its fence and returns what was kept of it.
 *
 * KEYS  1 stream, 2 record, 3 journal, 4 timers
 * ARGV  1 group, 2 consumer, 3 entry, 4 lease (ms), 5 the step's id in the timers, 6 TTL of a reported step (s)
 * Returns one of
 *   {"opened", fence, record, journal}  record: flat fields as found before, empty for a step never seen
 *   {"reported", fence}                 the step has ended; the entry only wants acknowledging
 *   {"duplicate"}                       another entry of the step is leased: this one is gone, `wakePending` is set
 *   {"lost"}                            the entry is not pending for this consumer; nothing was written
 */
export const openStep: Script = {
  name: "stateplaneOpenStep",
  keys: 4,
  lua: `${pendingLua}
local entry = ARGV[3]
local mine = pending(entry)
if not mine or mine[2] ~= ARGV[2] then return {'lease-lost'} end

local kept = redis.call('HMGET', KEYS[2], 'phase', 'fence', 'entry')
local phase, other = kept[1], kept[3]
if phase == 'reported' then
  redis.call('EXPIRE', KEYS[2], ARGV[6])
  return {'reported', kept[2]}
end
if other and other ~= entry then
  local held = pending(other)
  if held and held[3] < tonumber(ARGV[4]) then
    redis.call('HSET', KEYS[2], 'wakePending', '1')
    drop(entry)
    return {'duplicate'}
  end
end

redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, entry, 'JUSTID')
local record, journal = {}, {}
if phase then
  record = redis.call('HGETALL', KEYS[2])
  journal = redis.call('LRANGE', KEYS[3], 0, -1)
  redis.call('ZREM', KEYS[4], ARGV[5])
  redis.call('HDEL', KEYS[2], 'wakeAt')
end
local now = redis.call('HEXISTS', KEYS[2], 'result') == 1 and 'recorded' or 'open'
local fence = redis.call('HINCRBY', KEYS[2], 'fence', 1)
redis.call('HSET', KEYS[2], 'phase', now, 'entry', entry, 'consumer', ARGV[2])
return {'opened', tostring(fence), record, journal}
`,
};

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
if not lease() then return 'lease-lost' end
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

/**
 * Keeps a step's result in the outbox, before it is sent.
 *
 * KEYS  1 stream, 2 record
 * ARGV  1 group, 2 consumer, 3 entry, 4 fence, 5 result (JSON), 6 stateHistory (JSON)
 * Returns "written" or "lost"
 */
export const recordResult: Script = {
  name: "stateplaneRecordResult",
  keys: 2,
  lua: `${leaseLua}
if not lease() then return 'lease-lost' end
redis.call('HSET', KEYS[2], 'phase', 'recorded', 'result', ARGV[5], 'stateHistory', ARGV[6])
return 'written'
`,
};

/**
 * Puts a step away as data and ends its lease. Where a wake is pending the job goes back on the stream at
 * once, and no timer is set: it is already awake.
 *
 * KEYS  1 stream, 2 record, 3 timers
 * ARGV  1 group, 2 consumer, 3 entry, 4 fence, 5 the step's id in the timers, 6 job (envelope),
 *       7 snapshot (JSON), 8 stateHistory (JSON), 9 time to wake (epoch ms, empty for never)
 * Returns "written" or "lost"
 */
export const parkStep: Script = {
  name: "stateplaneParkStep",
  keys: 3,
  lua: `${leaseLua}
if not lease() then return done('parked') and 'written' or 'lease-lost' end
local wakePending = redis.call('HGET', KEYS[2], 'wakePending')
redis.call('HSET', KEYS[2], 'phase', 'parked', 'job', ARGV[6], 'snapshot', ARGV[7], 'stateHistory', ARGV[8])
redis.call('HDEL', KEYS[2], 'entry', 'consumer', 'wakePending', 'wakeAt')
redis.call('ZREM', KEYS[3], ARGV[5])
if wakePending then
  redis.call('XADD', KEYS[1], '*', 'data', ARGV[6])
elseif ARGV[9] ~= '' then
  redis.call('HSET', KEYS[2], 'wakeAt', ARGV[9])
  redis.call('ZADD', KEYS[3], ARGV[9], ARGV[5])
end
drop(ARGV[3])
return 'written'
`,
};

/**
 * Ends a step: what it needed is dropped, that it was reported is remembered, and its entry is gone. A step
 * already reported only has its entry acknowledged.
 *
 * KEYS  1 stream, 2 record, 3 journal, 4 timers, 5 dead letters
 * ARGV  1 group, 2 consumer, 3 entry, 4 fence, 5 the step's id in the timers, 6 stateHistory (JSON),
 *       7 TTL of a reported step (s), and for a dead letter 8 fields (JSON), 9 reason, 10 snapshot (JSON),
 *       11 at (epoch ms)
 * Returns "written" or "lost"
 */
export const settleStep: Script = {
  name: "stateplaneSettleStep",
  keys: 5,
  lua: `${leaseLua}
local row = lease()
if not row then return done('reported') and 'written' or 'lease-lost' end
if redis.call('HGET', KEYS[2], 'phase') ~= 'reported' then
  redis.call('DEL', KEYS[2], KEYS[3])
  redis.call('HSET', KEYS[2], 'phase', 'reported', 'fence', ARGV[4], 'stateHistory', ARGV[6])
  redis.call('EXPIRE', KEYS[2], ARGV[7])
  redis.call('ZREM', KEYS[4], ARGV[5])
  if ARGV[8] then
    redis.call('XADD', KEYS[5], '*', 'fields', ARGV[8], 'reason', ARGV[9], 'snapshot', ARGV[10],
      'at', ARGV[11], 'stateHistory', ARGV[6], 'deliveries', row[4])
  end
end
drop(ARGV[3])
return 'written'
`,
};

/**
 * Puts parked steps whose time has come back on the stream. Timer and job change places in one move, so
 * that of all the workers that sweep exactly one wakes a step, and none that dies here forgets one. A woken
 * step stays parked until it is opened.
 *
 * KEYS  1 stream, 2 timers
 * ARGV  1 now (epoch ms), 2 limit, 3 what stands before an id in a record's key
 * Returns how many were woken
 */
export const wakeDue: Script = {
  name: "stateplaneWakeDue",
  keys: 2,
  lua: `
local woken = 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])) do
  local record = ARGV[3] .. id
  local kept = redis.call('HMGET', record, 'phase', 'job')
  if kept[1] == 'parked' and kept[2] then
    redis.call('XADD', KEYS[1], '*', 'data', kept[2])
    redis.call('HDEL', record, 'wakeAt')
    woken = woken + 1
  end
  redis.call('ZREM', KEYS[2], id)
end
return woken
`,
};
