import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import type { Answer } from "./answer.ts";
import { shownBytes, withoutCutCharacter } from "./bytes.ts";

const timeoutMs = 60_000;
/** Milliseconds between SIGTERM, on which git removes its lock files, and SIGKILL. */
const graceMs = 1_000;
/** Bytes of output that are kept unless a caller needs more. */
const outputLimit = 262_144;
const errorLimit = 4_096;

export interface GitRequest {
  cwd: string;
  args: string[];
  env: Record<string, string>;
  input?: string;
  /** Output and input are bytes, a character each (`latin1`), to be read or sent back exactly; else shown ones. */
  isBytes?: boolean;
  outputLimit?: number;
  signal: AbortSignal;
}

export interface GitOutput {
  stdout: string;
  /** The output was larger than the limit; git was stopped there. */
  truncated: boolean;
  exitCode: number;
}

/**
 * Runs git, without a shell and in a process group of its own, for at most a minute. Exit code 1 with nothing
 * on stderr is an answer, not a failure: that is how git says "no".
 */
export async function runGit(request: GitRequest): Promise<Answer<GitOutput>> {
  const { cwd, args, env, input = "", isBytes = false, signal } = request;
  const stop = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  if (stop.aborted) return { ok: false, problem: "cancelled before git was started" };
  const child = start(args, { cwd, env });
  const kill = (): void => {
    signalGroup(child.pid, "SIGTERM");
    setTimeout(() => signalGroup(child.pid, "SIGKILL"), graceMs).unref();
  };
  stop.addEventListener("abort", kill, { once: true });
  const stdout = collect(child.stdout, request.outputLimit ?? outputLimit, kill, isBytes);
  const stderr = collect(child.stderr, errorLimit, () => undefined, false);
  // Git may end before it has read its input.
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(input, isBytes ? "latin1" : "utf8");
  const ended = Promise.withResolvers<number | string>();
  child.once("error", (error) => ended.resolve(`git can't be started: ${error.message}`));
  child.once("close", (code) => ended.resolve(code ?? -1));
  const ending = await ended.promise;
  stop.removeEventListener("abort", kill);
  if (typeof ending === "string") return { ok: false, problem: ending };
  if (signal.aborted) return { ok: false, problem: "cancelled" };
  if (stop.aborted) return { ok: false, problem: `git took longer than ${timeoutMs / 1_000} s` };
  const { text, truncated } = stdout();
  const said = stderr().text;
  if (truncated || ending === 0 || (ending === 1 && said === "")) {
    return { ok: true, value: { stdout: text, truncated, exitCode: ending } };
  }
  return { ok: false, problem: firstLine(said) || `git ${args[0] ?? ""} failed (${ending})` };
}

/**
 * Git with pipes for its streams and nothing else of ours: in the place of each descriptor that it would inherit from
 * whoever started this server (a lock, a file with a secret) it gets the null device. Node closes its own in a child,
 * but "ignore" leaves a descriptor above 2 as it is. Where there is no /proc they can't be listed.
 */
function start(args: string[], { cwd, env }: Pick<GitRequest, "cwd" | "env">): ChildProcess {
  const inherited = inheritedDescriptors();
  const empty = openSync("/dev/null", "r+");
  try {
    const others = Array.from({ length: Math.max(0, Math.max(2, ...inherited) - 2) }, (_, at) =>
      inherited.includes(at + 3) ? empty : ("ignore" as const),
    );
    return spawn("git", args, {
      cwd,
      env,
      stdio: ["pipe", "pipe", "pipe", ...others],
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

function collect(
  stream: NodeJS.ReadableStream | null,
  limit: number,
  onFull: () => void,
  isBytes: boolean,
) {
  const chunks: Buffer[] = [];
  let size = 0;
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

function firstLine(stderr: string): string {
  const lines = stderr.split("\n").filter((line) => !/^(warning|hint):/.test(line));
  return (lines[0] ?? "")
    .replace(/^(fatal|error): /, "")
    .slice(0, 500)
    .toWellFormed();
}

function signalGroup(leader: number | undefined, signal: NodeJS.Signals): void {
  try {
    if (leader !== undefined) process.kill(-leader, signal);
  } catch {
    // It has ended by itself.
  }
}
