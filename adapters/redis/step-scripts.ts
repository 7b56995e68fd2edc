import { type Script, usualLeaseMs } from "./keys.ts";
import { leaseLua, letterLua, pendingLua, publishLua } from "./shared-lua.ts";

/*
 * The protocol of a step's record.
 *
 * A step's job is an entry of the stream. Its record is a hash, its journal a list, and a name in the timers (a
 * sorted set) says when a sweep looks at it. `phase` tells where it stands:
 *
 *   (none)    never seen, or forgotten
 *   open      a worker has it: `entry` is the stream's entry that its lease hangs on, `fence` its number
 *   recorded  as open, and the result is in the outbox: what is left is to report it
 *   parked    waiting as data: no entry, no worker; `wakeAt` is its timer
 *   ended     not a record any more: only the key `ended:DIGEST` with the last fence is left, for a while
 *
 *   move         from                      to                who may
 *   open         any but ended             open, recorded    the owner of a pending entry, unless another entry of
 *                                                            the step is leased (then that entry is dropped and
 *                                                            `wakePending` set); raises the fence
 *   open         ended                     ended             the owner of a pending entry; prolongs the memory
 *   append       open, recorded            the same          the lease
 *   record       open, recorded            recorded          the lease
 *   park         open, recorded            parked            the lease; puts the job back at once on `wakePending`
 *   settle       open, recorded, ended     ended             the lease
 *   dead-letter  any                       the same, fading  the owner of the pending entry, record or no record
 *   wake         parked                    parked            anybody, when the timer is due: the job is on the stream
 *   wake         open, recorded            the same          anybody, when the lease could be over: the job is put
 *                                                            back on the stream if its entry vanished from there
 *   wake         damaged                   the same          the same; where its job can't be put back, or was put back
 *                                                            often and never opened, the step's ids alone are: whoever
 *                                                            opens it goes on from the record, or reports it failed
 *   retry        ended, (none)             open, recorded    anybody who has the dead letter; any other record stays
 *
 * "The lease" is checked in the same move: the entry is pending for this consumer, and the record's fence is the
 * lease's. Times are the server's own. A record is data from outside: any of its fields may hold anything, and what can't
 * be read is the trouble of its own step, never of those that a move looks at beside it. Any move may be run twice, since its first reply may be lost: it then finds
 * its own traces and answers as it did.
 */

/**
 * Takes a step: renews its lease, raises its fence, keeps its job and returns what was kept of it. The job that the
 * record has already stays: a step's first entry is its fullest.
 *
 * KEYS  1 stream, 2 record, 3 journal, 4 timers, 5 what is left of an ended step, 6 the count of parked steps
 * ARGV  1 group, 2 consumer, 3 entry, 4 lease (ms), 5 the step's id in the timers, 6 memory of an ended step (ms),
 *       7 how the job is kept ("job" or "fields"), 8 the job
 * Returns one of
 *   {"opened", fence, record, journal, now}
 *                                       record: flat fields as found before, empty for a step never seen
 *   {"reported", fence}                 the step has ended; the entry only wants acknowledging
 *   {"duplicate"}                       another entry of the step is leased: this one is gone, `wakePending` is set
 *   {"lease-lost"}                      the entry is not pending for this consumer, or vanished from the stream: then
 *                                       its job was published again
 * Fails with CORRUPT where the record's fence can't be raised
 */
export const openStep: Script = {
  name: "stateplaneOpenStep",
  keys: 6,
  helpers: pendingLua + publishLua,
  lua: `
local entry = ARGV[3]
local mine = pending(entry)
if not mine or mine[2] ~= ARGV[2] then return {'lease-lost'} end

local ended = redis.call('GET', KEYS[5])
if ended then
  redis.call('PEXPIRE', KEYS[5], ARGV[6])
  return {'reported', ended}
end
local kept = redis.call('HMGET', KEYS[2], 'phase', 'entry', 'job', 'fields', 'fence')
local phase, other = kept[1], kept[2]
if kept[5] and (#kept[5] > 15 or not string.find(kept[5], '^%d+$') or string.find(kept[5], '^0%d')) then
  error({err = "CORRUPT the fence in the step's record is not a whole number below 10^15"}, 0)
end
if other and other ~= entry and isEntry(other) then
  local held = pending(other)
  if held and held[3] < tonumber(ARGV[4]) then
    redis.call('HSET', KEYS[2], 'wakePending', '1')
    drop(entry)
    return {'duplicate'}
  end
end

if not redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, entry, 'JUSTID')[1] then
  -- Somebody trimmed the stream since it was read. A record looks after its own job.
  if not phase then publish(ARGV[7], ARGV[8], ARGV[5]) end
  return {'lease-lost'}
end
local record, journal = {}, redis.call('LRANGE', KEYS[3], 0, -1)
if phase then
  record = redis.call('HGETALL', KEYS[2])
  redis.call('HDEL', KEYS[2], 'wakeAt', 'putBack')
  redis.call('PERSIST', KEYS[2])
  if phase == 'parked' then redis.call('INCRBY', KEYS[6], -1) end
end
if #journal > 0 then redis.call('PERSIST', KEYS[3]) end
local next = redis.call('HEXISTS', KEYS[2], 'result') == 1 and 'recorded' or 'open'
local lease = {'phase', next, 'entry', entry, 'consumer', ARGV[2], 'leaseMs', ARGV[4]}
local fence = kept[5] and tostring(redis.call('HINCRBY', KEYS[2], 'fence', 1)) or '1'
if not kept[5] then lease[9], lease[10] = 'fence', fence end
if not kept[3] and not kept[4] then lease[#lease + 1], lease[#lease + 2] = ARGV[7], ARGV[8] end
redis.call('HSET', KEYS[2], unpack(lease))
local at = now()
redis.call('ZADD', KEYS[4], at + ARGV[4], ARGV[5])
return {'opened', fence, record, journal, at}
`,
};

/**
 * Appends to a step's journal. Each line begins with an identity of its own, so that one that is written already is
 * found wherever in the journal it stands: of several appends under way whose replies are lost, any may come again.
 *
 * KEYS  1 stream, 2 record, 3 journal
 * ARGV  1 group, 2 consumer, 3 entry, 4 fence, 5.. the lines: identity, space, JSON
 * Returns "written" or "lease-lost"
 */
export const appendJournal: Script = {
  name: "stateplaneAppendJournal",
  keys: 3,
  helpers: leaseLua,
  lua: `
if not lease() then return 'lease-lost' end
for i = 5, #ARGV do
  if not redis.call('LPOS', KEYS[3], ARGV[i], 'RANK', -1) then redis.call('RPUSH', KEYS[3], ARGV[i]) end
end
return 'written'
`,
};

/**
 * Keeps a step's result in the outbox, before it is sent.
 *
 * KEYS  1 stream, 2 record
 * ARGV  1 group, 2 consumer, 3 entry, 4 fence, 5 result (JSON), 6 stateHistory (JSON)
 * Returns "written" or "lease-lost"
 */
export const recordResult: Script = {
  name: "stateplaneRecordResult",
  keys: 2,
  helpers: leaseLua,
  lua: `
if not lease() then return 'lease-lost' end
redis.call('HSET', KEYS[2], 'phase', 'recorded', 'result', ARGV[5], 'stateHistory', ARGV[6])
return 'written'
`,
};

/**
 * Puts a step away as data and ends its lease. Where a wake is pending the job goes back on the stream at
 * once, and no timer is set: it is already awake.
 *
 * KEYS  1 stream, 2 record, 3 timers, 4 the count of parked steps
 * ARGV  1 group, 2 consumer, 3 entry, 4 fence, 5 the step's id in the timers, 6 job (envelope),
 *       7 snapshot (JSON), 8 stateHistory (JSON), 9 time to wake (epoch ms, empty for never)
 * Returns "written" or "lease-lost"
 */
export const parkStep: Script = {
  name: "stateplaneParkStep",
  keys: 4,
  helpers: leaseLua + publishLua,
  lua: `
if not lease() then
  -- Run again: the fence is still ours, the entry is gone, and any opening since would have raised the fence.
  local done = fenced() and not pending(ARGV[3]) and redis.call('HGET', KEYS[2], 'phase') == 'parked'
  return done and 'written' or 'lease-lost'
end
local kept = redis.call('HMGET', KEYS[2], 'wakePending', 'leaseMs')
redis.call('HSET', KEYS[2], 'phase', 'parked', 'job', ARGV[6], 'snapshot', ARGV[7], 'stateHistory', ARGV[8])
redis.call('HDEL', KEYS[2], 'entry', 'consumer', 'wakePending', 'wakeAt', 'fields')
redis.call('ZREM', KEYS[3], ARGV[5])
redis.call('INCRBY', KEYS[4], 1)
if kept[1] then
  republish(KEYS[2], KEYS[3], ARGV[5], 'job', ARGV[6], leaseFrom(kept[2], ${usualLeaseMs}))
elseif ARGV[9] ~= '' then
  redis.call('HSET', KEYS[2], 'wakeAt', ARGV[9])
  redis.call('ZADD', KEYS[3], ARGV[9], ARGV[5])
end
drop(ARGV[3])
return 'written'
`,
};

/**
 * Ends a step: what it needed is dropped, that it has ended is remembered, and its entry is gone. A step
 * that has ended already only has its entry acknowledged. A dead letter takes the journal and the result along.
 *
 * KEYS  1 stream, 2 record, 3 journal, 4 timers, 5 what is left of an ended step, 6 dead letters, 7 their dropped count
 * ARGV  1 group, 2 consumer, 3 entry, 4 fence, 5 the step's id in the timers, 6 memory of an ended step (ms),
 *       and for a dead letter 7 most letters kept, 8 result (JSON, empty for the record's), 9.. its names and values
 * Returns "written" or "lease-lost"
 */
export const settleStep: Script = {
  name: "stateplaneSettleStep",
  keys: 7,
  helpers: pendingLua + letterLua,
  lua: `
local row = pending(ARGV[3])
local ended = redis.call('GET', KEYS[5])
local fence = ended or redis.call('HGET', KEYS[2], 'fence')
if fence ~= ARGV[4] then return 'lease-lost' end
if not row then return ended and 'written' or 'lease-lost' end
if row[2] ~= ARGV[2] then return 'lease-lost' end
if not ended then
  if ARGV[7] then
    local result = ARGV[8] ~= '' and ARGV[8] or redis.call('HGET', KEYS[2], 'result') or ''
    local letter = {'deliveries', row[4], 'fence', fence, 'result', result, 'entry', ARGV[3], unpack(ARGV, 9)}
    keepLetter(KEYS[6], KEYS[7], ARGV[7], letter, redis.call('LRANGE', KEYS[3], 0, -1))
  end
  redis.call('DEL', KEYS[2], KEYS[3])
  redis.call('ZREM', KEYS[4], ARGV[5])
  redis.call('SET', KEYS[5], fence, 'PX', ARGV[6])
end
drop(ARGV[3])
return 'written'
`,
};

/** A job put back so often without having been opened since does not lead to its step. */
const mostPutBack = 5;

/**
 * Puts back on the stream: parked steps whose time has come, and jobs whose entry is neither pending nor still to be
 * read, because somebody trimmed the stream, lost its last writes or made the group anew. Timer and job change places
 * in one move, so that of all the workers that sweep exactly one wakes a step, and none that dies here forgets one. A
 * woken step stays parked until it is opened, and its new entry is looked after in the same way. One record that can't be
 * read holds up none of the others.
 *
 * KEYS  1 stream, 2 timers
 * ARGV  1 group, 2 most to wake, 3 what stands before an id in a record's key, 4 lease of one that has none (ms),
 *       5 most to look at
 * Returns how many were put back
 */
export const wakeDue: Script = {
  name: "stateplaneWakeDue",
  keys: 2,
  helpers: pendingLua + publishLua,
  lua: `
local function groupReadsUpTo()
  local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
  for _, flat in ipairs(groups.err and {} or groups) do
    local found = {}
    for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
    if found.name == ARGV[1] then return found['last-delivered-id'] end
  end
  return nil
end
local function isThere(entry)
  if not isEntry(entry) or not redis.call('XRANGE', KEYS[1], entry, entry)[1] then return false end
  if pending(entry) then return true end
  -- Not read yet, or passed over when the group was made anew. Without a group everything is still to be read.
  local last = groupReadsUpTo()
  return not last or not redis.call('XRANGE', KEYS[1], entry, last, 'COUNT', 1)[1]
end
local function putIdsBack(record, id, text, lease)
  local entry, isNamed = publishIds(text, id)
  -- What no step's name leads to is opened by nobody, and would come back for ever.
  if isNamed and redis.call('TYPE', record).ok == 'hash' then watch(record, KEYS[2], id, entry, lease)
  else redis.call('ZREM', KEYS[2], id) end
end
local function look(record, id)
  local kept = redis.pcall('HMGET', record, 'phase', 'entry', 'job', 'fields', 'leaseMs', 'putBack')
  if kept.err then
    if not string.find(kept.err, 'WRONGTYPE', 1, true) then error(kept.err, 0) end
    putIdsBack(record, id, 'the record is not a hash', tonumber(ARGV[4]))
    return 1
  end
  local lease = leaseFrom(kept[5], ARGV[4])
  if redis.call('EXISTS', record) == 0 then
    redis.call('ZREM', KEYS[2], id)
    return 0
  elseif kept[2] and isThere(kept[2]) then
    redis.call('ZADD', KEYS[2], now() + lease, id)
    return 0
  end
  if kept[2] and isEntry(kept[2]) then drop(kept[2]) end
  local count = tonumber(kept[6]) or 0
  local kind, text = kept[3] and 'job' or 'fields', kept[3] or kept[4]
  if not text or count >= ${mostPutBack} or (kind == 'fields' and not partsFrom(text)) then
    putIdsBack(record, id, text or 'the record has no job', lease)
  else
    republish(record, KEYS[2], id, kind, text, lease)
  end
  redis.call('HSET', record, 'putBack', count + 1)
  redis.call('HDEL', record, 'wakeAt')
  return 1
end
local woken, most, trouble = 0, tonumber(ARGV[2]), nil
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now(), 'LIMIT', 0, ARGV[5])) do
  if woken == most then break end
  local isDone, what = pcall(look, ARGV[3] .. id, id)
  if isDone then
    woken = woken + what
  else
    -- The server's own, such as OOM, or else of this record: then the others go on, and it is looked at later.
    trouble = type(what) == 'table' and what.err or tostring(what)
    local code = string.match(trouble, '^(%u%u+) ') or string.match(trouble, '^@user_script:%s?%d+: %-?(%u%u+) ')
    if code and code ~= 'ERR' and code ~= 'WRONGTYPE' then return redis.error_reply(trouble) end
    redis.call('ZADD', KEYS[2], now() + tonumber(ARGV[4]), id)
  end
end
return woken
`,
};
