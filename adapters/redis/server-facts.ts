import type { Redis } from "ioredis";

export interface ServerFacts {
  /** What about the server endangers what we promise: a whole sentence each. */
  warnings: string[];
  /** Whether `WAITAOF` can tell that a write is on its disk. */
  canWaitForDisk: boolean;
}

/**
 * Looks at how a server is set up. What it does not tell, because the user may not ask, is taken for well; a managed
 * server often refuses CONFIG.
 */
export async function examineServer(redis: Redis, prefix: string): Promise<ServerFacts> {
  const info = readInfo(await redis.info().catch(() => ""));
  const fsync = await setting(redis, "appendfsync");
  const policy = info["maxmemory_policy"] ?? "noeviction";
  const hasAof = info["aof_enabled"] === "1";
  const warnings: string[] = [];
  if (policy !== "noeviction") {
    warnings.push(
      `Redis evicts keys when its memory is full (maxmemory-policy is ${policy}), so it may forget steps, ` +
        "approvals and what was already done. Set maxmemory-policy to noeviction.",
    );
  }
  if (info["role"] === "slave") {
    warnings.push(
      "Redis is a replica, which refuses writes: no step can run. Point REDIS_URL at the primary.",
    );
  }
  if (info["cluster_enabled"] === "1" && !/\{[^}]+\}/.test(prefix)) {
    const tagged = `{${prefix.replace(/:$/, "")}}:`;
    warnings.push(
      "Redis is a cluster, where the keys of a step must share one hash slot. Put a hash tag into " +
        `REDIS_QUEUE_PREFIX, such as ${tagged}, at the control plane as well.`,
    );
  }
  if (info["aof_enabled"] === "0") {
    warnings.push(
      "Redis keeps no append-only file, so a restart loses steps, and may repeat what they did unseen. " +
        "Set appendonly to yes.",
    );
  } else if (hasAof && fsync !== null && fsync !== "always") {
    const when = fsync === "everysec" ? "once a second" : "when the system likes";
    warnings.push(
      `Redis writes its append-only file to the disk ${when} (appendfsync is ${fsync}), so a power cut may lose the ` +
        "last writes. Set appendfsync to always where that matters.",
    );
  }
  // With `always` a reply already means that the write is on the disk.
  const canWaitForDisk = hasAof && fsync !== "always" && isAtLeast(info["redis_version"], 7, 2);
  return { warnings, canWaitForDisk };
}

async function setting(redis: Redis, name: string): Promise<string | null> {
  const reply = await redis.config("GET", name).catch(() => null);
  const value = Array.isArray(reply) ? reply[1] : null;
  return typeof value === "string" ? value : null;
}

function readInfo(text: string): Record<string, string> {
  const lines = text.split("\r\n").map((line) => line.split(":", 2) as [string, string?]);
  return Object.fromEntries(lines.map(([name, value]) => [name, value ?? ""]));
}

function isAtLeast(version: string | undefined, major: number, minor: number): boolean {
  const [ours = 0, its = 0] = (version ?? "0.0").split(".").map(Number);
  return ours > major || (ours === major && its >= minor);
}
