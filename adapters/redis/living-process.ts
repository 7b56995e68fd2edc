import { readFileSync } from "node:fs";
import { type } from "arktype";
import { once } from "../../machines/contracts/domain/once.ts";

/** A process as a file may name it: a number alone is given to another process sooner or later. */
export const processNote = once(() =>
  type({
    pid: "number.integer > 0",
    /** Clock ticks between the machine's start and the process's; null where the system does not say. */
    "started?": "string | null",
  }),
);
export type ProcessNote = ReturnType<typeof processNote>["infer"];

/** Names a process that runs now. */
export function noteProcess(pid: number): ProcessNote {
  return { pid, started: startOf(pid) };
}

/**
 * Whether the process that was noted still runs. In a container that was started again the numbers begin anew, and
 * the same one is soon alive: what tells the two apart is when they started.
 */
export function isAlive({ pid, started = null }: ProcessNote): boolean {
  const now = startOf(pid);
  if (started !== null && now !== null) return started === now;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Somebody else's program is alive too.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/** proc(5): field 22 of /proc/PID/stat. The name before it, in brackets, may hold anything. */
function startOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  } catch {
    return null;
  }
}
