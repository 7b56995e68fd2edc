import { realpath } from "node:fs/promises";
import { dirname, join, normalize, sep } from "node:path";
import type { Answer } from "./answer.ts";

/**
 * A path inside the repository, relative to it and normalized. The folder it stands in is resolved, links
 * and all; the last part may itself be a link, which git reads as its text and never follows.
 *
 * @param folder - the repository's real path
 */
export async function checkPath(folder: string, path: string): Promise<Answer<string>> {
  const said = JSON.stringify(path.slice(0, 200).toWellFormed());
  const outside = { ok: false, problem: `path ${said} must be inside the repository` } as const;
  const parts = path.split("/");
  if (path === "" || path.includes("\0") || path.startsWith("/") || parts.includes("..")) {
    return outside;
  }
  if (parts.some((part) => part.toLowerCase() === ".git")) {
    return { ok: false, problem: `path ${said} must not lead into .git` };
  }
  const normal = normalize(path).replace(/\/$/, "");
  if (normal === ".") return { ok: true, value: normal };
  const parent = await realParent(join(folder, normal));
  return parent === folder || parent.startsWith(folder + sep)
    ? { ok: true, value: normal }
    : outside;
}

/** The real path of the nearest folder above that exists: a deleted file's folder may be gone too. */
async function realParent(path: string): Promise<string> {
  const parent = dirname(path);
  try {
    return await realpath(parent);
  } catch {
    return parent === path ? path : realParent(parent);
  }
}
