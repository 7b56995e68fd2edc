import { readdirSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Log } from "../../../machines/contracts/ports/clock.ts";

/** Of the folder that a copy is made in, after the database's own name. */
export const backupSuffix = ".backup-";

/**
 * Removes what a process that was killed has left beside the database: whole copies of it, and half-written files of the
 * audit's head. Whoever calls holds the database, so nobody is at work on them.
 */
export function removeLeftovers(path: string, log: Log): void {
  if (path === ":memory:") return;
  const name = basename(path);
  const isLeft = (entry: string) =>
    (entry.startsWith(`${name}${backupSuffix}`) && entry.length === name.length + 14) ||
    (entry.startsWith(`${name}.audit-head.`) && /^\d+$/.test(entry.split(".").at(-1) ?? ""));
  try {
    for (const entry of readdirSync(dirname(path)).filter(isLeft)) {
      rmSync(join(dirname(path), entry), { recursive: true, force: true });
      log.info({ entry }, "removed what a process that was killed had left beside the database");
    }
  } catch (error) {
    log.warn({ err: error }, "what was left beside the database could not be removed");
  }
}
