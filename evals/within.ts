import { readdir, readlink, realpath } from "node:fs/promises";
import { dirname, isAbsolute, join, relative, resolve } from "node:path";

/*
 * What a dataset names stands beside it: a dataset is data, and may come from anybody. So neither its paths nor the links
 * in what they name may lead elsewhere; a trial would read, or an agent write, what is not the eval's.
 */

const isWithin = (folder: string, path: string): boolean => {
  const way = relative(folder, path);
  return way !== ".." && !way.startsWith("../") && !isAbsolute(way);
};

/** Why a path that a dataset names can't be used; null where it can. @param folder the dataset's */
export async function pathProblem(folder: string, named: string): Promise<string | null> {
  const path = resolve(folder, named);
  const shown = JSON.stringify(named);
  if (isAbsolute(named) || !isWithin(folder, path))
    return `expected a path within the dataset's folder, not ${shown}`;
  const real = await realpath(path).catch(() => null);
  if (real === null) return `there is no file or folder ${shown} in the dataset's folder`;
  return isWithin(await realpath(folder), real)
    ? linkProblem(path)
    : `${shown} is a link that leads out of the dataset's folder`;
}

/** Which link in a folder leads out of it, or would lead out of a copy of it; null where none does. */
export async function linkProblem(folder: string, within = ""): Promise<string | null> {
  const entries = await readdir(join(folder, within), { withFileTypes: true }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOTDIR") return [];
      throw error;
    },
  );
  for (const entry of entries) {
    if (entry.name === ".git") continue;
    const path = join(within, entry.name);
    if (entry.isSymbolicLink()) {
      const target = await readlink(join(folder, path));
      if (isAbsolute(target) || !isWithin(folder, resolve(folder, dirname(path), target)))
        return `the link ${path} leads out of it, to ${target}`;
    } else if (entry.isDirectory()) {
      const problem = await linkProblem(folder, path);
      if (problem !== null) return problem;
    }
  }
  return null;
}
