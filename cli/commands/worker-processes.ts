import type { Context } from "../command.ts";
import { Trouble } from "../output/trouble.ts";
import { superviseProcesses } from "../supervise-processes.ts";
import { openLog } from "./open-log.ts";

const most = 64;

/** How many processes were asked for; 1 where none were. */
export function readProcesses({ invocation }: Context): number {
  const text = invocation.flags["processes"];
  if (text === undefined) return 1;
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= most) return count;
  throw new Trouble(2, `--processes: expected a whole number from 1 to ${most}, not "${text}"`);
}

/** `worker --processes N`: the same command line, N times, supervised as one. */
export function workInProcesses(context: Context, count: number): Promise<number> {
  const [program = "", ...given] = process.argv.slice(1);
  const at = given.findIndex((arg) => arg === "--processes" || arg.startsWith("--processes="));
  const args = given.toSpliced(at, given[at] === "--processes" ? 2 : 1);
  const start = () => ({ args: [program, ...args], env: process.env });
  return superviseProcesses(count, start, openLog(context, "info"));
}
