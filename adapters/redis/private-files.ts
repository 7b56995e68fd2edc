import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import writeFileAtomic from "write-file-atomic";

/**
 * Makes a folder for this user alone, with those above it that are not there. Node's own way (`recursive`) never
 * ends, and holds the event loop, where a system answers ENOENT for a folder whose parent is there, as /proc does.
 *
 * @returns whether it was made now
 * @throws the file system's error
 */
export async function makePrivateFolder(path: string): Promise<boolean> {
  try {
    return await makeOne(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT" || dirname(path) === path) throw error;
    await makePrivateFolder(dirname(path));
    return makeOne(path);
  }
}

async function makeOne(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: 0o700 });
    return true;
  } catch (error) {
    if (codeOf(error) !== "EEXIST" || !(await stat(path)).isDirectory()) throw error;
    return false;
  }
}

/** Puts a file for this user alone in the place of the one that may be there: a reader sees either, whole. */
export async function replacePrivateFile(path: string, content: string): Promise<void> {
  const { geteuid, getegid } = process;
  // Left to itself the library gives the new file the owner of the old one, who need not be this user.
  const owner = geteuid && getegid ? { chown: { uid: geteuid(), gid: getegid() } } : {};
  await writeFileAtomic(path, content, { mode: 0o600, ...owner });
}

function codeOf(error: unknown): string | null {
  return error instanceof Error && "code" in error ? String(error.code) : null;
}
