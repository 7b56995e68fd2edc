import { readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { realpath } from "node:fs/promises";
import { dirname, join } from "node:path";
import { checkPath, isInside } from "../shared/check-path.ts";
import type { Answer } from "../shared/server-tool.ts";
import { type Loose, objectOf, readJson } from "./json.ts";

/** Bytes of a project's own file that are read to find out what it uses. */
const fileLimit = 1_048_576;

/** A folder of the root whose tests are run. */
export interface Project {
  /** Real paths: the project's is the root's, or below it. */
  root: string;
  folder: string;
  /** The names in the folder. */
  names: ReadonlySet<string>;
  /** Its package.json; empty where there is none. */
  manifest: Loose;
}

/** The folder that `repo` names: a path relative to the root, which no link leads out of. */
export async function openProject(root: string, repo: string): Promise<Answer<Project>> {
  const path = await checkPath(root, repo, "the root");
  if (!path.ok) return { ok: false, problem: path.problem.replace(/^path/, "repo") };
  const said = JSON.stringify(repo);
  const real = await realpath(join(root, path.value)).catch(() => null);
  if (real === null) return { ok: false, problem: `there is no folder ${said} in the root` };
  if (!isInside(root, real)) return { ok: false, problem: `repo ${said} must be inside the root` };
  if (!statSync(real).isDirectory()) return { ok: false, problem: `repo ${said} is not a folder` };
  return {
    ok: true,
    value: {
      root,
      folder: real,
      names: new Set(readdirSync(real)),
      manifest: objectOf(readJson(readProjectFile(root, join(real, "package.json")))),
    },
  };
}

/** The text of a file of a project; empty where there is none, or it is large, or a link leads out of the root. */
export function readProjectFile(root: string, path: string): string {
  try {
    const real = realpathSync(path);
    const { size } = statSync(real);
    const isPlain = isInside(root, real) && statSync(real).isFile() && size <= fileLimit;
    return isPlain ? readFileSync(real, "utf8") : "";
  } catch {
    return "";
  }
}

/**
 * A file or folder of a project as a runner may get it: there, inside by every link, and not taken for an option.
 *
 * @returns relative to the project
 */
export async function existingPath({ folder }: Project, path: string): Promise<Answer<string>> {
  const checked = await checkPath(folder, path, "the project");
  if (!checked.ok) return checked;
  const said = JSON.stringify(path);
  if (checked.value.startsWith("-")) {
    return {
      ok: false,
      problem: `path ${said} begins with a dash, which runners take for an option`,
    };
  }
  if (/[\p{Cc}]/u.test(checked.value)) {
    return { ok: false, problem: `path ${said} has a control character in it` };
  }
  const real = await realpath(join(folder, checked.value)).catch(() => null);
  if (real === null) return { ok: false, problem: `there is no ${said} in the project` };
  if (!isInside(folder, real)) {
    return { ok: false, problem: `path ${said} must be inside the project` };
  }
  // Python's argparse, tsc and ruff read arguments from the file that a word with an `@` before it names.
  return checked.value.startsWith("@") ? { ok: true, value: `./${checked.value}` } : checked;
}

/** The folders from a project up to the root, from the inside out. */
export function foldersUp({ root, folder }: Pick<Project, "root" | "folder">): string[] {
  const folders = [folder];
  for (let at = folder; at !== root && at !== dirname(at); at = dirname(at)) {
    folders.push(dirname(at));
  }
  return folders;
}
