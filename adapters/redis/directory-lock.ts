import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Runs `work` alone among all programs that use `directory`. The lock is SQLite's, since that one is the
 * operating system's: it goes with the process that held it, however that ended.
 *
 * @returns what `work` returned, or undefined when the lock was not free within `patienceMs`
 */
export async function aloneIn<T>(
  directory: string,
  patienceMs: number,
  work: () => Promise<T>,
): Promise<T | undefined> {
  const database = new DatabaseSync(join(directory, "starting.lock"), { timeout: 0 });
  try {
    const deadline = Date.now() + patienceMs;
    while (!taken(database)) {
      if (Date.now() > deadline) return undefined;
      await sleep(20);
    }
    return await work();
  } finally {
    database.close();
  }
}

function taken(database: DatabaseSync): boolean {
  try {
    database.exec("BEGIN EXCLUSIVE");
    return true;
  } catch {
    return false;
  }
}
