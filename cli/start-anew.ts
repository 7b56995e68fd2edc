import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { url as inspectorUrl } from "node:inspector";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/**
 * How a program that stays starts: once as it was called, and at once again in the same process (`execve`: the same
 * number, parent and streams), for two things that can't be changed once Node runs.
 *
 * - **Environment.** `/proc/PID/environ` shows for good what a process was started with, keys included, to every
 *   program of the same user: to a tool server, say. So all but what Node itself reads at its start goes through a
 *   file that only this user can read, is read first of all and removed; `process.env` is as it was, the block is not.
 * - **Memory.** V8's young generation grows to 64 MiB while modules load, and never shrinks. Of 16 MiB it is hardly
 *   slower, under load too.
 *
 * Where it can't be done (an older system, a folder that refuses, a debugger, a parent that talks to us) the program
 * goes on as it is.
 */
const staying = new Set(["worker", "dev", "control-plane"]);
const fileVariable = "STATEPLANE_ENVIRONMENT_FILE";
const memoryFlags: readonly string[] = ["--max-semi-space-size=16"];

/** What Node, its libraries and the loader read before any code of ours runs, or what says nothing of anybody. */
const readAtStart =
  /^(?:PATH|HOME|USER|LOGNAME|SHELL|PWD|TERM|TMPDIR|TZ|LANG|LANGUAGE|LC_\w+|LD_\w+|DYLD_\w+|NODE_\w+|UV_\w+|SSL_CERT_\w+|OPENSSL_\w+|MALLOC_\w+|GLIBC_TUNABLES)$/u;

/** Puts back what the first start laid down; the first call of the program. */
export function takeEnvironment(): void {
  const file = process.env[fileVariable];
  if (file === undefined) return;
  delete process.env[fileVariable];
  try {
    Object.assign(process.env, JSON.parse(readFileSync(file, "utf8")));
  } finally {
    rmSync(dirname(file), { recursive: true, force: true });
  }
}

/** Starts this process anew if its command stays; does not return then. */
export function startAnew(args: readonly string[]): void {
  const isStarted = memoryFlags.every((flag) => process.execArgv.includes(flag));
  // A parent's channel would be closed by it, and a debugger's connection too.
  const isHeld = process.channel !== undefined || inspectorUrl() !== undefined;
  if (isStarted || isHeld || !args.some((arg) => staying.has(arg))) return;
  const { execve, execPath, execArgv, argv } = process;
  if (typeof execve !== "function") return;
  const laid = layDown(process.env);
  try {
    execve.call(
      process,
      execPath,
      [execPath, ...memoryFlags, ...execArgv, ...argv.slice(1)],
      laid.env,
    );
  } catch {
    // A system without it, or one that refuses.
    laid.takeBack();
  }
}

/** How a copy of this process is started by it: the same flags, and no secret in its block. */
export function startOfCopy(env: NodeJS.ProcessEnv): { flags: readonly string[] } & Laid {
  return { flags: memoryFlags, ...layDown(env) };
}

interface Laid {
  env: Record<string, string>;
  /** For where nobody has taken it. */
  takeBack(): void;
}

/** Memory where there is a folder of it; a disk keeps what was written to it for longer than a file lives. */
function privateFolder(): string {
  try {
    return mkdtempSync("/dev/shm/stateplane-start-");
  } catch {
    return mkdtempSync(join(tmpdir(), "stateplane-start-"));
  }
}

function layDown(env: NodeJS.ProcessEnv): Laid {
  const all = Object.entries(env).filter((one): one is [string, string] => one[1] !== undefined);
  const shown = all.filter(([name]) => readAtStart.test(name));
  const hidden = all.filter(([name]) => !readAtStart.test(name));
  try {
    const folder = privateFolder();
    const file = join(folder, "environment.json");
    writeFileSync(file, JSON.stringify(Object.fromEntries(hidden)), { mode: 0o600, flag: "wx" });
    return {
      env: { ...Object.fromEntries(shown), [fileVariable]: file },
      takeBack: () => rmSync(folder, { recursive: true, force: true }),
    };
  } catch {
    return { env: Object.fromEntries(all), takeBack: () => {} };
  }
}
