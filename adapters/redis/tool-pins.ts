import type { Redis } from "ioredis";
import type { ToolPins } from "../../machines/contracts/ports/tool-pins.ts";

/** Pins as the fields of one hash. They are for good: no expiry. */
export function createToolPins(commands: Redis, key: string): ToolPins {
  const find = (server: string) => commands.hget(key, server);
  return {
    find,
    async keepFirst(server, pin) {
      // Set once and never removed: whoever comes second reads the first one's.
      const isFirst = (await commands.hsetnx(key, server, pin)) === 1;
      return isFirst ? pin : ((await find(server)) ?? pin);
    },
    async replace(server, pin) {
      await commands.hset(key, server, pin);
    },
  };
}
