import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, readlinkSync, realpathSync } from "node:fs";
import { lstat, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/*
 * What a worker makes outside itself for a run (a container, a cgroup, a folder) has its owner in its name, so that the
 * next worker on the machine can tell what a crashed one left behind.
 */

/** A name for something of this process's, that nobody else takes. */
export const nameOf = (mark: string): string =>
  `stateplane-${bootId()}-${process.pid}-${startOf(process.pid)}-${mark}`;

/**
 * Whether a name is of a process that is gone. Of one in another process namespace, of another boot or machine, nothing is
 * known: what it made is taken for left after a day, since no run takes more than an hour.
 *
 * @param madeMs when what has the name was made, or last changed
 */
export function isLeftOver(name: string, madeMs: number): boolean {
  const [, boot, pid, started] = /^stateplane-(\w+)-(\d+)-(\d+)-\w+$/u.exec(name) ?? [];
  if (boot === undefined) return false;
  if (boot === bootId()) return startOf(Number(pid)) !== started;
  return Date.now() - madeMs > 24 * 3_600_000;
}

/** Of this boot and this process namespace, in which the number of a process says which it is. */
function bootId(): string {
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").slice(0, 8);
  return `${boot}x${readlinkSync("/proc/self/ns/pid").replaceAll(/\D/gu, "")}`;
}

/** Field 22 of /proc/PID/stat, counted behind the name in parentheses; empty when there is no such process. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}

/**
 * A new folder that only this user may enter.
 *
 * @throws Error where the folder of temporary files is absent, full or not ours to write to
 */
export function makeFolder(mark: string): string {
  try {
    return realpathSync(mkdtempSync(join(tmpdir(), nameOf(mark))));
  } catch (error) {
    throw noRoom(error);
  }
}

/** What a person is told of a folder of temporary files that can't be written to. */
export function noRoom(error: unknown): Error {
  const why = error instanceof Error ? error.message : String(error);
  return new Error(
    `nothing can be written to the folder of temporary files, ${tmpdir()} (${why}): make room there, or let TMPDIR name another`,
    { cause: error },
  );
}

/** Whatever is in it, and nothing that a link in it leads to; what can't be removed stays. */
export async function removeFolder(folder: string): Promise<void> {
  try {
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  } catch {
    // Folders that their owner may not write to, or deeper than a path may be long. Neither program follows a link.
    await run("chmod", ["-R", "u+rwx", "--", folder]).catch(() => {});
    await run("rm", ["-rf", "--", folder]).catch(() => {});
  }
}

const run = promisify(execFile);

/** Removes the folders of this user's workers that were killed. Anybody may have made an entry with such a name. */
export async function removeLeftFolders(): Promise<void> {
  for (const name of await readdir(tmpdir()).catch(() => [])) {
    const path = join(tmpdir(), name);
    const about = await lstat(path).catch(() => null);
    if (about === null || !isLeftOver(name, about.mtimeMs)) continue;
    if (about.isDirectory() && about.uid === process.getuid?.()) await removeFolder(path);
  }
}
