import { closeSync, writeSync } from "node:fs";
import { url as inspectorUrl } from "node:inspector";
import { Worker } from "node:worker_threads";
import { inheritableDescriptors } from "../adapters/sandbox/descriptors.ts";
import { messageOf, placeOf, stackOf } from "../machines/contracts/domain/users-code.ts";
import { toCliError, printError } from "./output/errors.ts";

/**
 * Nets under what nobody foresaw.
 *
 * - A descriptor that this process inherited is closed at the start: every child (sandbox, tool server, Redis) would
 *   inherit it in turn, and a user's code could read a file or write to a folder of whoever started us. Node cannot
 *   keep it from a child: `stdio: "ignore"` leaves descriptors above 2 as they are.
 * - What is thrown where nobody catches it is said in one line and ends the process with 1, after what was opened
 *   has been released, within a bound. Jobs are left, not released: a job that fells workers must be counted.
 * - An event loop that stands still for longer than a lease is ended from a thread. Others have taken the jobs by
 *   then, and a process that neither works nor ends helps nobody. The thread takes 17 MiB, so a worker has it from its
 *   first jobs on, begun before anything of them is looked at.
 */
export function guardProcess({ isDebug }: { isDebug: boolean }): void {
  closeInherited();
  silenceSqlite();
  // A full disk or a closed pipe under the log is no reason to stop working.
  process.stderr.on("error", () => {});
  process.on("uncaughtException", (error) => void fall("uncaught exception", error, isDebug));
  process.on("unhandledRejection", (reason) => void fall("unhandled rejection", reason, isDebug));
}

/** Node 22 says at every start that its SQLite is experimental; every other warning passes. */
function silenceSqlite(): void {
  const emit = process.emitWarning.bind(process) as (...args: unknown[]) => void;
  const passOn = (warning: string | Error, ...rest: unknown[]) => {
    if (!String(warning).startsWith("SQLite is an experimental feature")) emit(warning, ...rest);
  };
  process.emitWarning = passOn as typeof process.emitWarning;
}

/** What a falling process lets go of, in the reverse order. */
const held: (() => Promise<unknown>)[] = [];
const releaseMs = 5_000;
let isFalling = false;

/** Has `release` called if this process falls. @returns takes that back */
export function releaseOnFall(release: () => Promise<unknown>): () => void {
  held.push(release);
  return () => void held.splice(held.indexOf(release), 1);
}

async function fall(what: string, error: unknown, isDebug: boolean): Promise<void> {
  if (isFalling) return;
  isFalling = true;
  setTimeout(() => process.exit(1), releaseMs);
  printError(`${what}, the process ends: ${lastWords(error, isDebug)}`);
  for (const release of held.toReversed()) await release().catch(() => {});
  process.exit(1);
}

/** Of an error of a user's code its words and its place; of one of ours the stack, since it may not happen twice. */
function lastWords(error: unknown, isDebug: boolean): string {
  const known = toCliError(error)?.message;
  if (known !== undefined) return known;
  const place = placeOf(error, process.cwd());
  if (place !== null && !isDebug)
    return `${messageOf(error)} (at ${place}; --debug shows the stack)`;
  return stackOf(error).replaceAll(/\s*\n\s*/gu, " | ");
}

/** Closes every descriptor above 2 that children would get; Node opens its own so that they don't. */
function closeInherited(): void {
  const channel = channelDescriptor();
  for (const fd of inheritableDescriptors()) {
    if (fd === channel) continue;
    try {
      closeSync(fd);
    } catch {
      // Gone already.
    }
  }
}

/** The descriptor of the channel to a supervising parent. */
function channelDescriptor(): number | null {
  const channel = process.channel as { fd?: number } | undefined;
  return channel?.fd ?? null;
}

/** The thread's turns while the loop may stand still. */
const turns = 20;

/**
 * Ends this process when its event loop stands still for `limitMs`. The thread counts its own turns, not time: a
 * process that is stopped (SIGSTOP, a suspended machine) stops its threads with it, and finds one turn gone by when it
 * goes on. Off under a debugger.
 *
 * The watch begins when it is told to, and once.
 */
export function watchLoop(limitMs: number): LoopWatch {
  let stop: (() => void) | null = null;
  return {
    begin: () => void (stop ??= inspectorUrl() === undefined ? beginWatch(limitMs) : () => {}),
    end: () => stop?.(),
  };
}

export interface LoopWatch {
  begin(): void;
  end(): void;
}

function beginWatch(limitMs: number): () => void {
  const beats = new Int32Array(new SharedArrayBuffer(4));
  const turnMs = Math.ceil(limitMs / turns);
  const line = `stateplane: the event loop stood still for ${limitMs} ms, the process ends\n`;
  const thread = new Worker(watcher, {
    eval: true,
    env: {},
    workerData: { beats, turnMs, turns, line },
    resourceLimits: { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 1 },
  });
  thread.on("error", (error) => {
    writeSync(2, `stateplane: the watch over the event loop ended: ${error.message}\n`);
  });
  thread.unref();
  const timer = setInterval(() => Atomics.add(beats, 0, 1), Math.max(1, turnMs / 2)).unref();
  return () => {
    clearInterval(timer);
    void thread.terminate();
  };
}

/** A string, since a path to a file would be another in the built package. Ends by a signal: a thread has no exit. */
const watcher = `
const { workerData: { beats, turnMs, turns, line } } = require("node:worker_threads");
const { writeSync } = require("node:fs");
const never = new Int32Array(new SharedArrayBuffer(4));
let seen = -1, still = 0;
for (;;) {
  Atomics.wait(never, 0, 0, turnMs);
  const beat = Atomics.load(beats, 0);
  still = beat === seen ? still + 1 : 0;
  seen = beat;
  if (still < turns) continue;
  try { writeSync(2, line); } catch {}
  process.kill(process.pid, "SIGKILL");
}
`;
