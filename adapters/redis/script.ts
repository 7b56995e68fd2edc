import type { Redis } from "ioredis";

/** One atomic move. The Lua's header comment lists its keys, its arguments and every return code. */
export interface Script {
  name: string;
  /** How many of its inputs are keys. */
  keys: number;
  lua: string;
}

export type BoundScript = (...inputs: (string | number)[]) => Promise<unknown>;

/**
 * Makes a script callable on a connection, keys first. A connection that broke in the middle of a pipeline
 * aborts what was unanswered, done or not; the call is then made again, so every script must bear being run
 * twice.
 */
export function bindScript(redis: Redis, script: Script): BoundScript {
  redis.defineCommand(script.name, { numberOfKeys: script.keys, lua: script.lua });
  const defined: unknown = Reflect.get(redis, script.name);
  if (typeof defined !== "function") throw new Error(`the script ${script.name} was not defined`);
  return async (...inputs) => {
    for (;;) {
      try {
        return await Reflect.apply(defined, redis, inputs);
      } catch (error) {
        if (!(error instanceof Error) || error.name !== "AbortError") throw error;
      }
    }
  };
}
