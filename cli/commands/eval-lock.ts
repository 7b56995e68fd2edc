import { mkdir, realpath, rm, rmdir, stat, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { messageOf } from "../../machines/contracts/domain/users-code.ts";
import { CliError } from "../output/errors.ts";

export interface HeldFolder extends AsyncDisposable {
  /** Empty: the folders of trials are made here. */
  workspace: string;
  /** Empty too, and outside of it. */
  unseen: string;
  /** Nothing of this eval is needed any more. */
  forget(): Promise<void>;
}

/** SQLite's code. */
const busy = 5;
const removed = { recursive: true, force: true, maxRetries: 3 } as const;

/**
 * Takes the folder of one eval, in which only one process may work. What a killed process left of its data plane and its
 * trials is thrown away; what it had finished is kept.
 *
 * It is held by SQLite's lock of a file, which the system takes away when its process is gone. A process id would say
 * nothing: in containers each first process is 1.
 *
 * @param fresh throws that away too
 * @throws CliError where another process works there
 */
export async function holdFolder(folder: string, fresh: boolean): Promise<HeldFolder> {
  const lock = join(folder, "lock");
  const held = await take(folder, lock);
  for (const left of ["plane", "trials", "seen", ...(fresh ? ["checkpoints.jsonl"] : [])])
    await rm(join(folder, left), removed);
  const workspace = join(folder, "trials");
  await mkdir(workspace, { recursive: true });
  let isNeeded = true;
  return {
    workspace: await realpath(workspace),
    unseen: join(await realpath(folder), "seen"),
    forget: async () => {
      isNeeded = false;
    },
    async [Symbol.asyncDispose]() {
      const over = ["plane", "trials", "seen", ...(isNeeded ? [] : ["checkpoints.jsonl"])];
      for (const name of over) await rm(join(folder, name), removed);
      // Unlinked while it is held: whoever opened it meanwhile sees that it is not the folder's any more.
      await unlink(lock).catch(() => {});
      held.close();
      // Not empty where checkpoints are kept, or somebody else began here.
      await rmdir(folder).catch(() => {});
    },
  };
}

async function take(folder: string, lock: string): Promise<DatabaseSync> {
  for (;;) {
    await mkdir(folder, { recursive: true });
    // Another one, as it ends, may remove the folder.
    const before = await writeFile(lock, "", { flag: "a" }).then(
      () => fileOf(lock),
      (error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return null;
        throw error;
      },
    );
    if (before === null) continue;
    const held = new DatabaseSync(lock, { timeout: 0 });
    try {
      held.exec("BEGIN EXCLUSIVE");
    } catch (error) {
      held.close();
      if ((error as { errcode?: unknown }).errcode === busy)
        throw new CliError(
          2,
          `another process runs this eval already; what it does is in ${folder}`,
        );
      throw new CliError(2, `${lock} can't be locked: ${messageOf(error)}`);
    }
    if ((await fileOf(lock)) === before) return held;
    held.close();
  }
}

const fileOf = (path: string): Promise<number | null> =>
  stat(path).then(
    ({ ino }) => ino,
    () => null,
  );
