import { mkdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CliError } from "../output/errors.ts";

export interface HeldFolder extends AsyncDisposable {
  /** Empty: the folders of trials are made here. */
  workspace: string;
  /** Empty too, and outside of it. */
  unseen: string;
  /** Nothing of this eval is needed any more. */
  forget(): Promise<void>;
}

/**
 * Takes the folder of one eval, in which only one process may work. What a killed process left of its data plane and its
 * trials is thrown away; what it had finished is kept.
 *
 * @param fresh throws that away too
 * @throws CliError where another process works there
 */
export async function holdFolder(folder: string, fresh: boolean): Promise<HeldFolder> {
  await mkdir(folder, { recursive: true });
  const lock = join(folder, "process");
  for (;;) {
    try {
      await writeFile(lock, String(process.pid), { flag: "wx" });
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const holder = Number(await readFile(lock, "utf8").catch(() => ""));
    if (isAlive(holder))
      throw new CliError(
        2,
        `process ${holder} runs this eval already; what it does is in ${folder}`,
      );
    await rm(lock, { force: true });
  }
  for (const left of ["plane", "trials", "seen", ...(fresh ? ["checkpoints.jsonl"] : [])])
    await rm(join(folder, left), { recursive: true, force: true });
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
      const over = isNeeded
        ? [...["plane", "trials", "seen"].map((name) => join(folder, name)), lock]
        : [folder];
      for (const path of over) await rm(path, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}

function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0 || pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
