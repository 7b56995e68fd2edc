import { execFile } from "node:child_process";
import { constants } from "node:os";
import { resolve } from "node:path";
import { promisify } from "node:util";
import { getDefaultEnvironment } from "@modelcontextprotocol/client/stdio";
import which from "which";
import type { McpServer } from "./server-options.ts";

/*
 * A server with `"processes": "own"` runs in a process namespace of its own: it sees, signals and looks into no process but
 * its own, this worker's memory and environment among what it does not. Its first process there is a shell, which collects
 * orphans and ends with the server; all that is left of it ends with the shell, whatever group or session it went to.
 *
 * Root makes just that namespace. Another user needs one of users for it, in which there is nobody but that user: no `sudo`,
 * no rootless podman, and an `ssh` that takes root's files for nobody's. So it is asked for, server by server.
 */

const exec = promisify(execFile);

/** The shell keeps neither of the server's streams open, and tells its exit code, or 128 and the signal that ended it. */
const first = `exec 3<&0; ( exec "$@" ) <&3 3<&- & exec 3<&- <&- >&- 2>/dev/null; wait $!`;

/** A shell has what runs behind it ignore these, and so would the server, and all that it starts. */
const heeding = ["--default-signal=INT,QUIT", "--"];

const namespace = [
  "--pid",
  "--fork",
  "--kill-child=KILL",
  "--mount-proc",
  "--propagation",
  "slave",
];
const ofUsers = ["--user", "--map-current-user"];

/** What stands before a command: to be first in a namespace, and of the server itself there. */
interface Words {
  unshare: string[];
  server: string[];
}

let working: Promise<Words | Error> | null = null;

/** Found by trying, once. */
function findWords(): Promise<Words | Error> {
  return (working ??= tryWords());
}

async function tryWords(): Promise<Words | Error> {
  const unshare = which.sync("unshare", { nothrow: true });
  if (process.platform !== "linux" || unshare === null)
    return new Error("unshare of util-linux is not on the PATH");
  const words = [unshare, ...(process.getuid?.() === 0 ? [] : ofUsers), ...namespace, "--"];
  try {
    await exec(unshare, [...words.slice(1), "/bin/sh", "-c", "true"], { timeout: 10_000 });
    // Not of every system: busybox has an `env` without it, under which servers go on ignoring them.
    const env = which.sync("env", { nothrow: true });
    const heeds = env === null ? [] : [env, ...heeding];
    const knows = await exec(heeds[0] ?? "false", [...heeds.slice(1), "true"]).then(
      () => true,
      () => false,
    );
    return { unshare: words, server: knows ? heeds : [] };
  } catch (error) {
    const { stderr = "", message } = error as Error & { stderr?: string };
    return new Error(stderr.trim().split("\n")[0] || message);
  }
}

/**
 * How a server is started: in a process namespace of its own where its configuration says so.
 *
 * @throws Error where there can be none
 */
export async function startOf(server: McpServer): Promise<{
  command: string;
  args: readonly string[];
  env: Record<string, string>;
}> {
  const { command = "", args = [], cwd = ".", processes } = server;
  const env: Record<string, string> = { ...getDefaultEnvironment(), ...server.env };
  const file = command.includes("/") ? resolve(cwd, command) : command;
  const { PATH: path = "" } = env;
  // One that is not there is told by the operating system, as usual.
  if (processes !== "own" || which.sync(file, { nothrow: true, path }) === null)
    return { command, args, env };
  const words = await findWords();
  if (words instanceof Error) {
    throw new Error(
      `its configuration says "processes": "own", and no process namespace can be made here: ${words.message}`,
    );
  }
  const [unshare = "", ...rest] = words.unshare;
  // It would take a path with `=` in it for a variable.
  const started = [...(file.includes("=") ? [] : words.server), file, ...args];
  return { command: unshare, args: [...rest, "/bin/sh", "-c", first, "sh", ...started], env };
}

/** How a server ended, for a person; of one in a namespace the exit code of the shell tells of the signal. */
export function endingOf(
  { processes }: McpServer,
  code: number | null,
  signal: NodeJS.Signals | null,
): string {
  const told = Object.entries(constants.signals).find(([, number]) => 128 + number === code);
  const by = signal ?? (processes === "own" ? told?.[0] : undefined);
  return by === undefined ? `exited with code ${code}` : `was ended by ${by}`;
}
