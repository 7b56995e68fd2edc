import { jobFields } from "../../machines/contracts/domain/job.ts";

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
-- What a record says of its entry may be anything: a lookup with what is no id at all would fail.
local function isEntry(id)
  return id and string.find(id, '^%d+%-%d+$') and not redis.pcall('XRANGE', KEYS[1], id, id).err
end
local function drop(entry)
  redis.call('XACK', KEYS[1], ARGV[1], entry)
  redis.call('XDEL', KEYS[1], entry)
end
`;

/** Of an entry with more names and values than this only those that are read are put back: Lua passes on 8,000 at most. */
const mostParts = 2_000;

/**
 * `now` is the server's time in epoch milliseconds. `publish` puts a job on the stream that was kept as `kind` "job"
 * (an envelope) or "fields" (a JSON list of names and values); `publishIds` puts back what is left of one that was kept
 * so that it can't be: the ids in the step's name, if it has any. It returns whether it has. `republish` lets the sweep
 * look after the new entry.
 */
export const publishLua = `
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function leaseFrom(text, usual)
  local ms = tonumber(text)
  return ms and ms > 0 and ms <= 86400000 and ms or tonumber(usual)
end
local function idFrom(text)
  local id = text and string.gsub(string.gsub(text, '%%2F', '/'), '%%25', '%%')
  local isId = id and #id <= 255 and string.find(id, '^[\\33-\\126]+$') and id ~= '.' and id ~= '..'
  return isId and string.gsub(string.gsub(id, '%%', '%%25'), '/', '%%2F') == text and id or nil
end
local function partsFrom(text)
  local isJson, parts = pcall(cjson.decode, text)
  if not isJson or type(parts) ~= 'table' or #parts == 0 or #parts % 2 == 1 then return nil end
  local isLong, read = #parts > ${mostParts}, {}
  for i = 1, #parts, 2 do
    if type(parts[i]) ~= 'string' or type(parts[i + 1]) ~= 'string' then return nil end
    if isLong and string.find(' ${jobFields.join(" ")} ', ' ' .. parts[i] .. ' ', 1, true) then
      read[#read + 1], read[#read + 2] = parts[i], parts[i + 1]
    end
  end
  if not isLong then return parts end
  return #read > 0 and #read <= ${mostParts} and read or nil
end
local function publishIds(text, id)
  local run, step = string.match(id, '^([^/]+)/([^/]+)$')
  run, step = idFrom(run), idFrom(step)
  if not run or not step then return redis.call('XADD', KEYS[1], '*', 'unreadable', text), false end
  return redis.call('XADD', KEYS[1], '*', 'run_id', run, 'step_id', step, 'unreadable', text), true
end
local function publish(kind, text, id)
  if kind == 'job' then return redis.call('XADD', KEYS[1], '*', 'data', text), true end
  local parts = partsFrom(text)
  if not parts then return publishIds(text, id) end
  return redis.call('XADD', KEYS[1], '*', unpack(parts)), true
end
local function watch(record, timers, id, entry, lease)
  redis.call('HSET', record, 'entry', entry)
  redis.call('ZADD', timers, now() + lease, id)
end
local function republish(record, timers, id, kind, text, lease)
  watch(record, timers, id, publish(kind, text, id), lease)
end
`;

/**
 * `keepLetter` keeps a dead letter: its own names and values, and what the step's journal and record had. Of more letters
 * than \`most\` the oldest are dropped, and counted.
 */
export const letterLua = `
local function keepLetter(letters, dropped, most, letter, journal)
  letter[#letter + 1] = 'journal'
  letter[#letter + 1] = #journal == 0 and '[]' or cjson.encode(journal)
  redis.call('XADD', letters, '*', unpack(letter))
  local gone = redis.call('XTRIM', letters, 'MAXLEN', most)
  if gone > 0 then redis.call('INCRBY', dropped, gone) end
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
`;
