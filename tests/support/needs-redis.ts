import { findRedisServer } from "../../adapters/redis/redis-process.ts";

/** What is to be proved on a real Redis, and can't be here. */
export class NeedsRedis extends Error {
  override readonly name = "NeedsRedis";
}

/** @param who asks, for the message */
export function requireRedisServer(who: string): string {
  const found = findRedisServer(process.env["PATH"] ?? "");
  if (found !== null) return found;
  throw new NeedsRedis(
    `${who} needs redis-server or valkey-server on the PATH; npm run setup installs it`,
  );
}

/** Ends a program whose machine lacks what it needs, with one line. */
export function endWithNeed(error: unknown): never {
  if (!(error instanceof NeedsRedis)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exit(2);
}
