import type { Script } from "../script.ts";

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
