import { lstat, readdir, realpath } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Answer } from "../shared/server-tool.ts";

/** How many entries of a git folder are looked at before it is refused. */
const mostEntries = 100_000;

/** One folder name that git, a shell and a URL all take for what it is; else what is wrong. */
export function nameProblem(repo: string): string | null {
  return /^[A-Za-z0-9._][A-Za-z0-9._-]*$/.test(repo) &&
    !/^(\.{1,2}|\.git)$/i.test(repo) &&
    repo.length <= 200
    ? null
    : "repo must be one folder name of letters, digits, dots, dashes and underscores";
}

export interface FoundRepository {
  /** The real path of the folder in the workspace. */
  folder: string;
  gitFolder: string;
}

/**
 * The repository that `repo` names: a folder directly in the workspace, really there and not by way of a link, with a
 * `.git` folder of its own (or, where `bare` ones will do, a git folder itself) that holds no links and borrows no
 * objects. (Git writes through links: a `.git/logs/HEAD` that is one would let a commit append to any file. And it reads
 * what another repository that is named in `objects/info/alternates` holds, wherever that is.)
 *
 * @param workspace - a real path
 */
export async function findRepository(
  workspace: string,
  repo: string,
  { entryLimit = mostEntries, bare = false } = {},
): Promise<Answer<FoundRepository>> {
  const problem = nameProblem(repo);
  if (problem !== null) return { ok: false, problem };
  const folder = join(workspace, repo);
  try {
    const real = await realpath(folder);
    if (real !== folder || dirname(real) !== workspace) {
      return { ok: false, problem: `repository "${repo}" is a link, which is not followed` };
    }
    const inside = await lstat(join(folder, ".git")).catch(() => null);
    if (inside === null && !(bare && (await isGitFolder(folder)))) {
      return { ok: false, problem: `no git repository "${repo}" in the workspace` };
    }
    if (inside !== null && !inside.isDirectory()) {
      return { ok: false, problem: `.git of repository "${repo}" must be a folder` };
    }
    const gitFolder = inside === null ? folder : join(folder, ".git");
    const wrong = await findLink(gitFolder, entryLimit);
    if (wrong !== null) return { ok: false, problem: `.git of repository "${repo}": ${wrong}` };
    return { ok: true, value: { folder, gitFolder } };
  } catch {
    return { ok: false, problem: `no git repository "${repo}" in the workspace` };
  }
}

/** What git itself takes for one (gitrepository-layout(5)). */
async function isGitFolder(folder: string): Promise<boolean> {
  const names = new Set(await readdir(folder));
  return ["HEAD", "objects", "refs"].every((name) => names.has(name));
}

/** Files by which a repository reads another's objects, or is a part of another. */
const borrowing = new Set(["objects/info/alternates", "objects/info/http-alternates", "commondir"]);

/** The complaint about the first link in `.git`; of `objects`, only the first two levels are looked at. */
async function findLink(gitFolder: string, entryLimit: number): Promise<string | null> {
  const folders = [gitFolder];
  let seen = 0;
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      seen += 1;
      if (seen > entryLimit) return `more than ${entryLimit} entries`;
      const path = join(folder, entry.name);
      const name = path.slice(gitFolder.length + 1);
      if (entry.isSymbolicLink()) return `"${name}" is a link`;
      if (name === "info/grafts") return `"${name}" makes up another history, which is not read`;
      if (borrowing.has(name)) return `"${name}" leads to another repository, which is not read`;
      // Loose objects are the many; no name that git makes up there is a folder's.
      const isLoose = /^objects\/[0-9a-f]{2}$/.test(name);
      if (entry.isDirectory() && !isLoose) folders.push(path);
    }
  }
  return null;
}
