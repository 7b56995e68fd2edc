import { limits } from "./limits.ts";

/** Gives the command line that builds one sandbox and evaluates in it the program on standard input. */
export type BoxBuilder = (timeoutMs: number) => string[];

/**
 * The innermost command of every driver: resource limits (prlimit of util-linux), then a shell that evaluates the
 * program on its standard input. The limits are set inside, where the process count is that of the run's own
 * user namespace or user id. The CPU limit is per process and only backs up the time limit.
 */
export function confinedShell(timeoutMs: number): string[] {
  const cpuSeconds = Math.ceil(timeoutMs / 1000) + 1;
  return [
    "prlimit",
    `--nproc=${limits.processes}:${limits.processes}`,
    `--data=${limits.dataBytes}:${limits.dataBytes}`,
    `--fsize=${limits.fileBytes}:${limits.fileBytes}`,
    `--nofile=${limits.openFiles}:${limits.openFiles}`,
    `--cpu=${cpuSeconds}:${cpuSeconds}`,
    "--core=0:0",
    "--",
    "sh",
    "-c",
    'eval "$(cat)"',
  ];
}
