import type { Script } from "../script.ts";

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
