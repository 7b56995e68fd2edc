import { readFileSync, readlinkSync } from "node:fs";

/*
 * What a worker makes outside itself for a run (a container, a cgroup, a folder) has its owner in its name, so that the
 * next worker on the machine can tell what a crashed one left behind.
 */

/** A name for something of this process's, that nobody else takes. */
export const nameOf = (mark: string): string =>
  `stateplane-${bootId()}-${process.pid}-${startOf(process.pid)}-${mark}`;

/** Whether a name is of a process that is gone; of another machine's nothing is known. */
export function isLeftOver(name: string): boolean {
  const [, boot, pid, started] = /^stateplane-(\w+)-(\d+)-(\d+)-\w+$/u.exec(name) ?? [];
  return boot === bootId() && startOf(Number(pid)) !== started;
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
