import type { Script } from "./keys.ts";
import { letterLua, pendingLua, publishLua } from "./shared-lua.ts";

/**
 * Takes over entries whose lease ran out. XPENDING with IDLE, then XCLAIM, rather than XAUTOCLAIM: so the
 * count of deliveries comes along, and an entry that somebody deleted from the stream is acknowledged away
 * on every server version (6.2's XAUTOCLAIM returns a nameless nil for it, for ever). A consumer whose name does not
 * begin as ours do may send no heartbeat: what it has is left to it for longer.
 *
 * It also notes where the group reads: just before its oldest pending entry, or else at the last one delivered.
 *
 * KEYS  1 stream, 2 where the group reads
 * ARGV  1 group, 2 consumer, 3 lease (ms), 4 count, 5 lease of a consumer that is not ours (ms), 6 how ours begin
 * Returns {{entry, deliveries, flat fields}, ...}; fails with NOGROUP when the group is gone
 */
export const claimStale: Script = {
  name: "stateplaneClaimStale",
  keys: 2,
  lua: `
local page, pages = 100, 100
local taken, count, from = {}, tonumber(ARGV[4]), '-'
for _ = 1, pages do
  local rows = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], from, '+', page)
  for _, row in ipairs(rows) do
    if #taken == count then break end
    local isOurs = string.sub(row[2], 1, #ARGV[6]) == ARGV[6]
    if isOurs or row[3] >= tonumber(ARGV[5]) then
      local claimed = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, row[1])[1]
      if claimed then
        taken[#taken + 1] = {row[1], row[4] + 1, claimed[2]}
      else
        redis.call('XACK', KEYS[1], ARGV[1], row[1])
      end
    end
  end
  if #rows < page or #taken == count then break end
  from = '(' .. rows[#rows][1]
end

local oldest = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1)[1]
if oldest then
  local ms, n = string.match(oldest[1], '(%d+)-(%d+)')
  -- A double counts no further; what is read once more then is known for done.
  if tonumber(n) > 2 ^ 52 then n = '0' end
  if ms == '0' and n == '0' then oldest = '0-0'
  elseif tonumber(n) > 0 then oldest = string.format('%s-%.0f', ms, n - 1)
  else oldest = string.format('%.0f-18446744073709551615', ms - 1) end
else
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local found = {}
    for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
    if found.name == ARGV[1] then oldest = found['last-delivered-id'] end
  end
end
redis.call('SET', KEYS[2], oldest)
return taken
`,
};

/**
 * Makes the group where it is missing. Where it is known how far it had read, it goes on from there: a stream that
 * nobody trims (FerrumDeck's own worker acknowledges and deletes nothing) would otherwise bring all its history once
 * more. What was pending comes again, with what was acknowledged since; and the sweep puts back what lies before.
 * A stream that was made anew since, or was never read, is read from its beginning.
 *
 * KEYS  1 stream, 2 where the group reads
 * ARGV  1 group
 * Returns 1, or 2 where nothing is known of an earlier one; 0 when the group was there
 */
export const makeGroup: Script = {
  name: "stateplaneMakeGroup",
  keys: 2,
  lua: `
local function isBefore(a, b)
  local ms, n = string.match(a, '(%d+)-(%d+)')
  local otherMs, otherN = string.match(b, '(%d+)-(%d+)')
  if ms ~= otherMs then return tonumber(ms) < tonumber(otherMs) end
  return tonumber(n) < tonumber(otherN)
end
local from, last = redis.pcall('GET', KEYS[2]), nil
-- What stands there may be anything: then it is not known how far the group had read.
if type(from) ~= 'string' or not string.find(from, '^%d+%-%d+$') then from = nil end
local stream = redis.pcall('XINFO', 'STREAM', KEYS[1])
for i = 1, stream.err and 0 or #stream, 2 do
  if stream[i] == 'last-generated-id' then last = stream[i + 1] end
end
local isKnown = from
if not from or not last or isBefore(last, from) then from = '0' end
local function make(at) return redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], at, 'MKSTREAM') end
local made = make(from)
if made.err and string.find(made.err, 'Invalid stream ID', 1, true) then made = make('0') end
if not made.err then return isKnown and 1 or 2 end
if string.find(made.err, 'BUSYGROUP', 1, true) then return 0 end
return redis.error_reply(made.err)
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
 * Turns an entry into a dead letter, which takes copies of the step's journal and result along. The record, if there
 * is one, stays for a while as it is: the same job published anew goes on from it. Nothing of the step needs to be
 * readable: a job without ids has no record, and a record of another type is left alone.
 *
 * KEYS  1 stream, 2 dead letters, 3 their dropped count, and for a job with ids 4 record, 5 journal, 6 timers
 * ARGV  1 group, 2 consumer, 3 entry, 4 most letters kept, 5 the step's id in the timers, 6 how long its record
 *       stays (ms), 7.. the letter's names and values
 * Returns 1, or 0 when the entry is not pending for this consumer
 */
export const deadLetter: Script = {
  name: "stateplaneDeadLetter",
  keys: 6,
  lua: `${pendingLua}${letterLua}
local row = pending(ARGV[3])
if not row or row[2] ~= ARGV[2] then
  -- Run again: its letter is among the newest.
  for _, kept in ipairs(row and {} or redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 100)) do
    for i = 1, #kept[2], 2 do
      if kept[2][i] == 'entry' and kept[2][i + 1] == ARGV[3] then return 1 end
    end
  end
  return 0
end
local function isA(key, kind) return ARGV[5] ~= '' and redis.call('TYPE', key).ok == kind end
local letter, journal = {'entry', ARGV[3], unpack(ARGV, 7)}, {}
if isA(KEYS[5], 'list') then
  journal = redis.call('LRANGE', KEYS[5], 0, -1)
  redis.call('PEXPIRE', KEYS[5], ARGV[6])
end
if isA(KEYS[4], 'hash') then
  local kept = redis.call('HMGET', KEYS[4], 'fence', 'result')
  for i, name in ipairs({'fence', 'result'}) do
    letter[#letter + 1] = name
    letter[#letter + 1] = kept[i] or ''
  end
  redis.call('HDEL', KEYS[4], 'entry', 'consumer')
  redis.call('PEXPIRE', KEYS[4], ARGV[6])
end
if ARGV[5] ~= '' then redis.call('ZREM', KEYS[6], ARGV[5]) end
keepLetter(KEYS[2], KEYS[3], ARGV[4], letter, journal)
drop(ARGV[3])
return 1
`,
};

/**
 * Puts a dead letter's job back on the stream, and what the letter kept of its step back in the record: a completed
 * result, whose report is then sent again; the journal, so that an effect that was begun is in doubt; and the fence,
 * which goes on growing. A record that is still there has all that itself, and stays.
 *
 * KEYS  1 stream, 2 dead letters, and for a job with ids 3 record, 4 journal, 5 timers, 6 what is left of an ended step
 * ARGV  1 letter, 2 a name for this retry alone, 3 the step's id in the timers (empty for a job without ids), 4 lease
 *       (ms), 5 how the job is kept ("job" or "fields"), 6 the job, 7 the letter's fence, 8 result (JSON, empty for
 *       none), 9 stateHistory (JSON), 10.. the journal's lines
 * Returns 1, or 0 when the letter is gone
 */
export const retryDeadLetter: Script = {
  name: "stateplaneRetryDeadLetter",
  keys: 6,
  lua: `${publishLua}
local kind = ARGV[3] ~= '' and redis.call('TYPE', KEYS[3]).ok or 'other'
if not redis.call('XRANGE', KEYS[2], ARGV[1], ARGV[1])[1] then
  -- Run again: this very retry has put it back.
  return kind == 'hash' and redis.call('HGET', KEYS[3], 'retry') == ARGV[2] and 1 or 0
end
if kind == 'none' then
  local function fenceFrom(text)
    return type(text) == 'string' and #text <= 15 and string.find(text, '^%d+$') and tonumber(text) or 0
  end
  local fence = string.format('%.0f', math.max(fenceFrom(redis.pcall('GET', KEYS[6])), fenceFrom(ARGV[7])))
  redis.call('HSET', KEYS[3], 'phase', ARGV[8] == '' and 'open' or 'recorded', 'fence', fence,
    'leaseMs', ARGV[4], 'stateHistory', ARGV[9], ARGV[5], ARGV[6])
  if ARGV[8] ~= '' then redis.call('HSET', KEYS[3], 'result', ARGV[8]) end
  redis.call('DEL', KEYS[4], KEYS[6])
  for i = 10, #ARGV do redis.call('RPUSH', KEYS[4], ARGV[i]) end
elseif kind == 'hash' then
  redis.call('PERSIST', KEYS[3])
  redis.call('PERSIST', KEYS[4])
end
if kind == 'other' or (kind ~= 'none' and kind ~= 'hash') then
  publish(ARGV[5], ARGV[6], ARGV[3])
else
  redis.call('HSET', KEYS[3], 'retry', ARGV[2])
  republish(KEYS[3], KEYS[5], ARGV[3], ARGV[5], ARGV[6], tonumber(ARGV[4]))
end
-- Last: whatever fails before it, the letter is still there.
redis.call('XDEL', KEYS[2], ARGV[1])
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
