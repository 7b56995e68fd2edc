import { lstat, readdir, realpath } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Answer } from "./answer.ts";

/** How many entries of `.git` are looked at before it is refused. */
const mostEntries = 100_000;

/**
 * The real path of the repository that `repo` names: a folder directly in the workspace, really there and
 * not by way of a link, with a `.git` folder of its own that holds no links. (Git writes through links: a
 * `.git/logs/HEAD` that is one would let a commit append to any file.)
 *
 * @param workspace - a real path
 */
export async function findRepository(
  workspace: string,
  repo: string,
  entryLimit = mostEntries,
): Promise<Answer<string>> {
  if (!/^[A-Za-z0-9._][A-Za-z0-9._-]*$/.test(repo) || /^(\.{1,2}|\.git)$/i.test(repo)) {
    const expected = "one folder name of letters, digits, dots, dashes and underscores";
    return { ok: false, problem: `repo must be ${expected}` };
  }
  const folder = join(workspace, repo);
  const missing = { ok: false, problem: `no git repository "${repo}" in the workspace` } as const;
  try {
    const real = await realpath(folder);
    if (real !== folder || dirname(real) !== workspace) {
      return { ok: false, problem: `repository "${repo}" is a link, which is not followed` };
    }
    const gitFolder = join(folder, ".git");
    if (!(await lstat(gitFolder)).isDirectory()) {
      return { ok: false, problem: `.git of repository "${repo}" must be a folder` };
    }
    const link = await findLink(gitFolder, entryLimit);
    if (link !== null) return { ok: false, problem: `.git of repository "${repo}": ${link}` };
  } catch {
    return missing;
  }
  return { ok: true, value: folder };
}

/** The complaint about the first link in `.git`; of `objects`, only the first level is looked at. */
async function findLink(gitFolder: string, entryLimit: number): Promise<string | null> {
  const folders = [gitFolder];
  let seen = 0;
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      seen += 1;
      if (seen > entryLimit) return `more than ${entryLimit} entries`;
      const path = join(folder, entry.name);
      if (entry.isSymbolicLink()) return `"${path.slice(gitFolder.length + 1)}" is a link`;
      const inObjects = dirname(path) === join(gitFolder, "objects");
      if (entry.isDirectory() && !inObjects) folders.push(path);
    }
  }
  return null;
}
