import { lstat, realpath } from "node:fs/promises";
import { dirname, join, normalize, sep } from "node:path";
import type { Answer } from "./server-tool.ts";

/**
 * A path inside a folder, relative to it and normalized. The folder it stands in is resolved, links and all; the last
 * part may itself be a link, which git reads as its text and never follows.
 *
 * @param folder - a real path
 * @param what - names the folder in a message
 */
export async function checkPath(
  folder: string,
  path: string,
  what = "the repository",
): Promise<Answer<string>> {
  const said = JSON.stringify(path.slice(0, 200).toWellFormed());
  const outside = { ok: false, problem: `path ${said} must be inside ${what}` } as const;
  const parts = path.split("/");
  if (path === "" || path.includes("\0") || path.startsWith("/") || parts.includes("..")) {
    return outside;
  }
  if (!path.isWellFormed()) return { ok: false, problem: `path ${said} is not well-formed text` };
  if (parts.some((part) => part.toLowerCase() === ".git")) {
    return { ok: false, problem: `path ${said} must not lead into .git` };
  }
  const normal = normalize(path).replace(/\/$/, "");
  if (normal === ".") return { ok: true, value: normal };
  const parent = await realParent(join(folder, normal));
  return isInside(folder, parent) ? { ok: true, value: normal } : outside;
}

/** Whether a real path is that of a folder, or below it. */
export function isInside(folder: string, path: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

/**
 * The real path of the nearest folder above that exists: a deleted file's folder may be gone too. A link that leads
 * nowhere is no such folder: what it names may be made by and by, and outside.
 */
async function realParent(path: string): Promise<string> {
  const parent = dirname(path);
  try {
    return await realpath(parent);
  } catch {
    const found = await lstat(parent).catch(() => null);
    if (found !== null && !found.isDirectory()) return "";
    return parent === path ? path : realParent(parent);
  }
}
