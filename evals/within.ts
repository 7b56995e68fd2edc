import type { Dirent } from "node:fs";
import { lstat, readdir, readFile, readlink, realpath } from "node:fs/promises";
import { dirname, isAbsolute, join, relative, resolve } from "node:path";

/*
 * What a dataset names stands beside it: a dataset is data, and may come from anybody. So neither its paths nor the links
 * in what they name may lead elsewhere; a trial would read, or an agent write, what is not the eval's. A git repository
 * leads elsewhere too where its `.git` is a link, or names a folder outside: of a worktree it is the repository of the
 * person who made the dataset, and git would change that one.
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
  if (!isWithin(await realpath(folder), real))
    return `${shown} is a link that leads out of the dataset's folder`;
  const found = await lstat(real);
  if (found.isDirectory()) return linkProblem(path);
  return found.isFile() ? null : `${shown} is neither a file nor a folder`;
}

/** What in a folder leads out of it, or would lead out of a copy of it; null where nothing does. */
export async function linkProblem(folder: string, within = ""): Promise<string | null> {
  for (const entry of await readdir(join(folder, within), { withFileTypes: true })) {
    const path = join(within, entry.name);
    const problem =
      (await entryProblem(folder, path, entry)) ??
      (entry.name === ".git" ? await gitProblem(folder, path, entry) : null) ??
      (entry.isDirectory() ? await linkProblem(folder, path) : null);
    if (problem !== null) return problem;
  }
  return null;
}

async function entryProblem(folder: string, path: string, entry: Dirent): Promise<string | null> {
  if (entry.isFile() || entry.isDirectory()) return null;
  // Whoever reads a pipe waits for its writer, and there is none.
  if (!entry.isSymbolicLink()) return `${path} is neither a file, nor a folder, nor a link`;
  const target = await readlink(join(folder, path));
  return isLeading(folder, dirname(path), target)
    ? `the link ${path} leads out of it, to ${target}`
    : null;
}

/**
 * Whether a path that starts in a folder's folder leaves it. Up it may go at its beginning alone: after a name that is a
 * link itself, nobody sees by the words where up is.
 */
function isLeading(folder: string, from: string, target: string): boolean {
  const parts = target.split("/").filter((part) => part !== "" && part !== ".");
  const isWayward = parts.some((part, at) => part === ".." && at > 0 && parts[at - 1] !== "..");
  return isAbsolute(target) || isWayward || !isWithin(folder, resolve(folder, from, target));
}

async function gitProblem(folder: string, path: string, entry: Dirent): Promise<string | null> {
  const text = (name: string) => readFile(join(folder, name), "utf8").catch(() => "");
  if (entry.isSymbolicLink()) return `${path} is a link: expected a repository's own folder`;
  const leads = (target: string) =>
    `${path} leads out of it, to ${target}: expected a repository of its own, such as a clone or a bundle`;
  if (entry.isFile()) {
    const [, target = ""] = /^gitdir: (.*)/u.exec(await text(path)) ?? [];
    return isLeading(folder, dirname(path), target) ? leads(target) : null;
  }
  // Objects, or all else, that it has of another repository.
  for (const name of ["objects/info/alternates", "commondir"]) {
    const target = (await text(join(path, name))).trim();
    if (target !== "") return leads(target);
  }
  return null;
}
