import type { Script } from "../script.ts";

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
