import { readdirSync, readFileSync } from "node:fs";

/** FD_CLOEXEC as /proc/PID/fdinfo shows it: O_CLOEXEC, octal. */
const closesOnExec = 0o2000000;

/**
 * The descriptors above 2 that every child of this process would inherit. Node opens its own so that they close on
 * exec; these are what whoever started us left open (`flock 200>lock`, a CI runner, a supervisor).
 */
export function inheritableDescriptors(): number[] {
  let names: string[];
  try {
    names = readdirSync("/proc/self/fd");
  } catch {
    // Not Linux: there is no list to read.
    return [];
  }
  return names.map(Number).filter((fd) => fd > 2 && isInheritable(fd));
}

function isInheritable(fd: number): boolean {
  try {
    const info = readFileSync(`/proc/self/fdinfo/${fd}`, "utf8");
    const flags = Number.parseInt(/^flags:\s*(\d+)/mu.exec(info)?.[1] ?? "", 8);
    return !Number.isNaN(flags) && (flags & closesOnExec) === 0;
  } catch {
    // The one that read the list itself is closed again.
    return false;
  }
}

/**
 * What to append to a child's `stdio` of `own` entries, so that it gets nothing else of ours: each inheritable
 * descriptor is replaced by `empty`, an open null device. Node's "ignore" would leave those above 2 as they are.
 */
export function replaceInherited(own: number, empty: number): (number | "ignore")[] {
  const inherited = new Set(inheritableDescriptors());
  const highest = Math.max(0, ...inherited);
  return Array.from({ length: Math.max(0, highest + 1 - own) }, (_, at) =>
    inherited.has(own + at) ? empty : "ignore",
  );
}
