import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { url as inspectorUrl } from "node:inspector";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { setFlagsFromString } from "node:v8";

/**
 * How a program that stays starts: once as it was called, and at once again in the same process (`execve`: the same
 * number, parent and streams), for three things that can't be changed once Node runs.
 *
 * - **Environment.** `/proc/PID/environ` shows for good what a process was started with, keys included, to every
 *   program of the same user: to a tool server, say. So all but what Node itself reads at its start goes through a
 *   file that only this user can read, is read first of all and removed; `process.env` is as it was, the block is not.
 * - **V8's flags.** A worker keeps one thread busy and has neighbours on its cores, so work that V8 gives to other
 *   threads is taken from them: without its middle compiler, and with young garbage collected by the thread that made it,
 *   a step costs a fifth less CPU. What a step holds dies young, so it is left there: a young generation that holds more
 *   than 64 steps in flight do, and no learning from a moment in which many steps waited that what they are made of lives
 *   long, which made it in the old generation from then on, at 10 KB a step. A full collection comes when the old
 *   generation has grown by half since the last, not several times over: little is moved to it, so it comes
 *   seldom, and a fifth less memory is held (`npm run bench -- throughput`).
 * - **One arena.** glibc gives each of V8's helper threads a heap of its own, which keeps what compiling took there: 4 MiB
 *   of an idle worker, and more under load. It is read at a start alone, so it is taken out of the environment again: no
 *   child gets it, and what a user has set is used, and kept.
 *
 * Where it can't be done (an older system, a folder that refuses, a debugger, a profiler, a parent that talks to us) the
 * program goes on as it is.
 */
export const staying: ReadonlySet<string> = new Set(["worker", "dev", "control-plane"]);
/** The second words of `workflow run` and `workflow watch`, which start a worker where none runs. */
const stayingWorkflow: ReadonlySet<string> = new Set(["run", "watch"]);
const fileVariable = "STATEPLANE_START_FILE";
const folderName = "stateplane-start-";
const fileName = "environment.json";
/** The newest Node whose V8 is known to take all of these flags: one that it does not know ends it at once. */
const newestTried = 26;
const isTried = Number.parseInt(process.versions.node, 10) <= newestTried;
const startFlags: readonly string[] = [
  // MiB, of each of its two halves. Node's own documentation has it: no version is without.
  "--max-semi-space-size=16",
  ...(isTried
    ? [
        // All of it from the start: while it grew, each small collection left what a start needs for a moment in the old one.
        "--min-semi-space-size=16",
        "--no-maglev",
        "--no-parallel-scavenge",
        "--no-allocation-site-pretenuring",
        "--heap-growing-percent=50",
      ]
    : []),
];

/**
 * For when a program that stays has started: what is called often is compiled after 400 calls from now on, and not after
 * 3,000. The first 20,000 steps are a tenth quicker for it, and a start would be a tenth slower.
 */
export function compileSooner(): void {
  if (isTried && isStartedAnew()) setFlagsFromString("--invocation-count-for-turbofan=400");
}

/** Read by glibc, and by nobody else. */
const arenaVariable = "MALLOC_ARENA_MAX";

/** What Node, its libraries and the loader read before any code of ours runs, or what says nothing of anybody. */
const readAtStart =
  /^(?:PATH|HOME|USER|LOGNAME|SHELL|PWD|TERM|TMPDIR|TZ|LANG|LANGUAGE|LC_\w+|LD_\w+|DYLD_\w+|NODE_\w+|UV_\w+|SSL_CERT_\w+|OPENSSL_\w+|MALLOC_\w+|GLIBC_TUNABLES)$/u;

/** `NODE_AUTH_TOKEN` is npm's. */
const isSecretWord = /TOKEN|SECRET|PASSW|KEY|AUTH|CREDENTIAL/u;

/**
 * Puts back what the first start laid down; the first call of the program.
 *
 * @returns what went wrong, in a sentence; null where nothing did
 */
export function takeEnvironment(): string | null {
  const file = process.env[fileVariable];
  delete process.env[fileVariable];
  // Whoever else sets the variable names no file of ours, and nothing is read or removed.
  if (file === undefined || !isLaidDown(file)) return null;
  try {
    const before = JSON.parse(readFileSync(file, "utf8")) as Record<string, string | null>;
    for (const [name, value] of Object.entries(before)) {
      if (value === null) delete process.env[name];
      else process.env[name] = value;
    }
    return null;
  } catch (error) {
    return `could not read the environment that it was started with (${String(error)})`;
  } finally {
    takeAway(file);
  }
}

/** Whether a file is in a folder of ours, which only this user can have made. */
function isLaidDown(file: string): boolean {
  const folder = dirname(file);
  const isNamed = basename(folder).startsWith(folderName) && basename(file) === fileName;
  if (!isNamed || !places().includes(dirname(folder))) return false;
  try {
    const { uid, mode } = lstatSync(folder);
    return uid === process.getuid?.() && (mode & 0o077) === 0 && lstatSync(file).isFile();
  } catch {
    return false;
  }
}

/** The file and its folder, and nothing besides. */
function takeAway(file: string): void {
  try {
    unlinkSync(file);
    rmdirSync(dirname(file));
  } catch {
    // Taken already.
  }
}

const isStartedAnew = () => startFlags.every((flag) => process.execArgv.includes(flag));

/** Starts this process anew if its command stays; does not return then. */
export function startAnew(args: readonly string[]): void {
  // A parent's channel would be closed by it, and a debugger's connection too.
  const isHeld = process.channel !== undefined || inspectorUrl() !== undefined || isProfiled();
  if (isStartedAnew() || isHeld || !stays(args)) return;
  const { execve, execPath, execArgv, argv } = process;
  if (typeof execve !== "function") return;
  const laid = layDown(process.env);
  try {
    execve.call(
      process,
      execPath,
      [execPath, ...startFlags, ...execArgv, ...argv.slice(1)],
      laid.env,
    );
  } catch {
    // A system without it, or one that refuses.
    laid.takeBack();
  }
}

/** A profiler's signal on its way would end the new program, which does not know it yet. */
const isProfiled = (): boolean =>
  /(?:^|[\s"])--(?:cpu[-_])?prof(?=[\s"=]|$)/u.test(
    [...process.execArgv, process.env["NODE_OPTIONS"]].join(" "),
  );

/** Flags may stand before a command. */
const stays = (args: readonly string[]): boolean =>
  args.some(
    (arg, at) =>
      staying.has(arg) || (arg === "workflow" && stayingWorkflow.has(args[at + 1] ?? "")),
  );

/** How a copy of this process is started by it: the same flags, and no secret in its block. */
export function startOfCopy(env: NodeJS.ProcessEnv): { flags: readonly string[] } & Laid {
  return { flags: startFlags, ...layDown(env) };
}

interface Laid {
  env: Record<string, string>;
  /** For where nobody has taken it. */
  takeBack(): void;
}

/** What a start that was killed in between left: it has keys, and nobody will take it. A start takes a second. */
const abandonedMs = 10 * 60_000;

function removeAbandoned(place: string): void {
  for (const name of readdirSync(place).filter((one) => one.startsWith(folderName))) {
    const folder = join(place, name);
    const found = lstatSync(folder, { throwIfNoEntry: false });
    const isOurs = found?.isDirectory() === true && found.uid === process.getuid?.();
    if (isOurs && Date.now() - found.mtimeMs > abandonedMs) takeAway(join(folder, fileName));
  }
}

/** Memory first: a disk keeps what was written to it for longer than a file lives. */
const places = () => ["/dev/shm", tmpdir()];

/**
 * Where Node keeps what it compiled, for the start to come: asked for by its code, the cache serves the first files of that
 * code too late, and for them a checkout would load all that reads TypeScript. The place is Node's own.
 */
const cacheVariable = "NODE_COMPILE_CACHE";
const cacheFolder = () => join(tmpdir(), "node-compile-cache");

function layDown(env: NodeJS.ProcessEnv): Laid {
  const all = Object.entries(env).filter((one): one is [string, string] => one[1] !== undefined);
  const isShown = (name: string) => readAtStart.test(name) && !isSecretWord.test(name);
  const shown = all.filter(([name]) => isShown(name));
  // For the start alone: it is laid down as null, and taken away then.
  const forStart = {
    ...(env[cacheVariable] === undefined ? { [cacheVariable]: cacheFolder() } : {}),
    ...(env[arenaVariable] === undefined ? { [arenaVariable]: "1" } : {}),
  };
  const hidden = JSON.stringify({
    ...Object.fromEntries(all.filter(([name]) => !isShown(name))),
    ...Object.fromEntries(Object.keys(forStart).map((name) => [name, null])),
  });
  for (const place of places()) {
    let folder: string | null = null;
    try {
      removeAbandoned(place);
      folder = mkdtempSync(join(place, folderName));
      const file = join(folder, fileName);
      writeFileSync(file, hidden, { mode: 0o600, flag: "wx" });
      const small = { ...Object.fromEntries(shown), ...forStart, [fileVariable]: file };
      return { env: small, takeBack: () => takeAway(file) };
    } catch {
      // Full, or not ours to write: the next place, and no piece of it is left here.
      if (folder !== null) rmSync(folder, { recursive: true, force: true });
    }
  }
  return { env: Object.fromEntries(all), takeBack: () => {} };
}
