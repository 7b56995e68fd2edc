import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * The folder of our own state: for this user alone, since it holds prompts, results and a key, and out of
 * everybody's repository.
 */
export async function makeDataDir(dataDir: string): Promise<void> {
  const made = await mkdir(dataDir, { recursive: true, mode: 0o700 });
  if (made !== undefined) await writeFile(join(dataDir, ".gitignore"), "*\n");
}
