import { mkdirSync } from "node:fs";
import { userInfo } from "node:os";
import { dirname, join } from "node:path";
import { findTool } from "./find-tool.ts";
import { baseEnv, nodeToShow } from "./host-view.ts";
import { makeFolder, removeFolder } from "./owner.ts";
import { confinedShell } from "./unshare.ts";

/*
 * The driver `none` is no sandbox: code runs as the worker's user, and reads, writes and reaches what that user does. It has
 * a clean environment, a folder and a process group of its own, a time limit, and limits of memory, files and output. It is
 * for code that its owner trusts, on machines that let nobody make a namespace; nothing chooses it but its owner's own words.
 */

/** As a person is told where it is used. */
export const warningWithoutBoundary = (): string =>
  `sandbox steps run WITHOUT A BOUNDARY, because SANDBOX_WITHOUT_BOUNDARY is on: their code runs as this worker's user (${userInfo().username}), with its files, its network and its processes, this worker's memory among them`;

/**
 * The command of one run in a folder of its own.
 *
 * @throws Error where none can be made
 */
export function bareRun(timeoutMs: number): {
  command: string[];
  env: Record<string, string>;
  /** Removes the folder. */
  tidy: () => Promise<void>;
} {
  const folder = makeFolder("run");
  const [home, temporary] = [join(folder, "work"), join(folder, "tmp")];
  for (const path of [home, temporary]) mkdirSync(path);
  const node = nodeToShow();
  const path = baseEnv["PATH"] ?? "";
  return {
    command: [
      // Only the first process ends with the worker; what it started may live on.
      findTool("setpriv") ?? "setpriv",
      "--pdeathsig",
      "KILL",
      "--",
      ...confinedShell(timeoutMs, { isBare: true }),
    ],
    env: {
      ...baseEnv,
      PATH: node === null ? path : `${dirname(node)}:${path}`,
      HOME: home,
      TMPDIR: temporary,
    },
    tidy: () => removeFolder(folder),
  };
}
