import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import type { Answer } from "./server-tool.ts";
import { shownBytes, withoutCutCharacter } from "./bytes.ts";

/** Milliseconds between SIGTERM, on which a program cleans up (git its lock files), and SIGKILL. */
const graceMs = 1_000;
/** Where a program finds the first of {@link ProgramRequest.descriptors}: behind its three streams and the report. */
export const firstDescriptor = 4;
/** Milliseconds that a program's streams may stay open after its end: a descendant may hold them. */
const lingerMs = 2_000;

export interface ProgramRequest {
  program: string;
  args: readonly string[];
  cwd: string;
  /** All of it: nothing of ours is inherited. */
  env: Readonly<Record<string, string>>;
  input?: string;
  /** Output and input are bytes, a character each (`latin1`), to be read or sent back exactly; else shown ones. */
  isBytes?: boolean;
  /** Bytes kept of standard output, of standard error, and of what comes on descriptor 3. */
  limits: { stdout: number; stderr: number; report?: number };
  /** Open descriptors of ours that it gets, from {@link firstDescriptor} on. */
  descriptors?: readonly number[];
  /** Whether a program that writes more to standard output is stopped there, or the rest is read away. */
  whenFull: "stop" | "discard";
  timeoutMs: number;
  signal: AbortSignal;
  /** Called as soon as it runs, with its process id, which is its process group's too. */
  onStart?(pid: number): void;
}

export interface ProgramOutput {
  stdout: string;
  stderr: string;
  /** What was written to descriptor 3, which is open only where `limits.report` is given. */
  report: string;
  /** The standard output was larger than the limit. */
  truncated: boolean;
  /** The report was larger than its limit. */
  reportTruncated: boolean;
  /** Null if a signal ended it: ours, when it was stopped. */
  exitCode: number | null;
  /** Why it was stopped by us. */
  stopped: "time" | "cancelled" | "full" | null;
}

/**
 * Runs a program, without a shell and in a process group of its own, which is killed as a whole. How it ends is a value;
 * a problem is one that could not be started.
 */
export async function runProgram(request: ProgramRequest): Promise<Answer<ProgramOutput>> {
  const { input = "", isBytes = false, limits, signal } = request;
  const timeUp = AbortSignal.timeout(request.timeoutMs);
  const stop = AbortSignal.any([signal, timeUp]);
  if (stop.aborted)
    return { ok: false, problem: `cancelled before ${request.program} was started` };
  const child = start(request);
  if (child.pid !== undefined) request.onStart?.(child.pid);
  let killing: NodeJS.Timeout | undefined;
  const kill = (): void => {
    signalGroup(child.pid, "SIGTERM");
    killing ??= setTimeout(() => signalGroup(child.pid, "SIGKILL"), graceMs);
  };
  stop.addEventListener("abort", kill, { once: true });
  const onFull = request.whenFull === "stop" ? kill : () => undefined;
  const stdout = collect(child.stdout, limits.stdout, onFull, isBytes);
  const stderr = collect(child.stderr, limits.stderr, () => undefined, false);
  const third = child.stdio[3] as NodeJS.ReadableStream | null | undefined;
  const report = collect(third ?? null, limits.report ?? 0, () => undefined, false);
  // It may end before it has read its input.
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(input, isBytes ? "latin1" : "utf8");
  const ending = await endOf(child);
  stop.removeEventListener("abort", kill);
  clearTimeout(killing);
  if (ending instanceof Error) {
    return { ok: false, problem: `${request.program} can't be started: ${ending.message}` };
  }
  const out = stdout();
  const reported = report();
  const isFull = out.truncated && request.whenFull === "stop";
  const stopped = signal.aborted ? "cancelled" : timeUp.aborted ? "time" : isFull ? "full" : null;
  return {
    ok: true,
    value: {
      stdout: out.text,
      stderr: stderr().text,
      report: reported.text,
      truncated: out.truncated,
      reportTruncated: reported.truncated,
      exitCode: ending,
      stopped,
    },
  };
}

/** The exit code once the streams are closed too, or have had their time; null for an end by a signal. */
async function endOf(child: ChildProcess): Promise<number | null | Error> {
  const ended = Promise.withResolvers<number | null | Error>();
  let lingering: NodeJS.Timeout | undefined;
  child.once("error", ended.resolve);
  child.once("exit", (code) => {
    // What the program left behind in its group goes with it.
    signalGroup(child.pid, "SIGKILL");
    lingering = setTimeout(() => ended.resolve(code), lingerMs);
  });
  child.once("close", (code) => ended.resolve(code));
  const ending = await ended.promise;
  clearTimeout(lingering);
  for (const stream of child.stdio) stream?.destroy();
  return ending;
}

/**
 * The program with pipes for its streams and nothing else of ours: in the place of each descriptor that it would inherit
 * from whoever started this server (a lock, a file with a secret) it gets the null device. Node closes its own in a
 * child, but "ignore" leaves a descriptor above 2 as it is. Where there is no /proc they can't be listed.
 */
function start(request: ProgramRequest): ChildProcess {
  const { program, args, cwd, env, limits, descriptors = [] } = request;
  const inherited = inheritedDescriptors();
  const pipes = limits.report === undefined && descriptors.length === 0 ? 3 : firstDescriptor;
  const own = pipes + descriptors.length;
  const empty = openSync("/dev/null", "r+");
  try {
    const others = Array.from(
      { length: Math.max(0, Math.max(0, ...inherited) + 1 - own) },
      (_, at) => (inherited.includes(at + own) ? empty : ("ignore" as const)),
    );
    return spawn(program, args, {
      cwd,
      env,
      stdio: [...Array.from({ length: pipes }, () => "pipe" as const), ...descriptors, ...others],
      detached: true,
    });
  } finally {
    closeSync(empty);
  }
}

/** FD_CLOEXEC as /proc/PID/fdinfo shows it: O_CLOEXEC, octal. */
const closesOnExec = 0o2000000;

function inheritedDescriptors(): number[] {
  try {
    return readdirSync("/proc/self/fd").map(Number).filter(isInherited);
  } catch {
    return [];
  }
}

function isInherited(descriptor: number): boolean {
  if (descriptor <= 2) return false;
  try {
    const flags = /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, "utf8"));
    return flags !== null && (Number.parseInt(flags[1] ?? "", 8) & closesOnExec) === 0;
  } catch {
    // The one that read the list is closed again.
    return false;
  }
}

/** Keeps the head of a stream and reads the rest away, so that the writer is never held up. */
function collect(
  stream: NodeJS.ReadableStream | null,
  limit: number,
  onFull: () => void,
  isBytes: boolean,
) {
  const chunks: Buffer[] = [];
  let size = 0;
  stream?.on("error", () => undefined);
  stream?.on("data", (chunk: Buffer) => {
    if (size > limit) return;
    chunks.push(chunk);
    size += chunk.length;
    if (size > limit) onFull();
  });
  return (): { text: string; truncated: boolean } => {
    const bytes = Buffer.concat(chunks).subarray(0, limit).toString("latin1");
    const truncated = size > limit;
    if (isBytes) return { text: bytes, truncated };
    return { text: shownBytes(truncated ? withoutCutCharacter(bytes) : bytes), truncated };
  };
}

function signalGroup(leader: number | undefined, signal: NodeJS.Signals): void {
  try {
    if (leader !== undefined) process.kill(-leader, signal);
  } catch {
    // It has ended by itself.
  }
}
