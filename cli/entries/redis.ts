/** `stateplane/redis`: queue and store in Redis or Valkey, and a server of one's own where there is none. */
export { createRedisBackend } from "../../adapters/redis/backend.ts";
export { startPrivateRedis } from "../../adapters/redis/private-server.ts";
