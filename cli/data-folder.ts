import { rm, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { makePrivateFolder } from "../adapters/redis/private-files.ts";
import { StoreUnreachable } from "../machines/contracts/domain/errors.ts";

/**
 * Makes the folder of our own state, for whoever is the first to need it: for this user alone, since it holds prompts,
 * results and a key, and out of everybody's repository.
 *
 * @throws StoreUnreachable when it can't be written to, a full disk, say: it is not left half made
 */
export async function makeDataDir(dataDir: string): Promise<void> {
  const isNew = await makePrivateFolder(dataDir);
  if (!isNew) return;
  const ignored = join(dataDir, ".gitignore");
  try {
    await writeFile(ignored, "*\n");
  } catch (error) {
    await rm(ignored, { force: true });
    await rmdir(dataDir).catch(() => undefined);
    throw new StoreUnreachable(dataDir, (error as Error).message);
  }
}
