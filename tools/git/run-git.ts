import { spawn } from "node:child_process";
import type { Answer } from "./answer.ts";

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
  /** Output and input are bytes, a character each (`latin1`): file names need not be UTF-8. */
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
  const child = spawn("git", args, { cwd, env, stdio: "pipe", detached: true });
  const kill = (): void => {
    signalGroup(child.pid, "SIGTERM");
    setTimeout(() => signalGroup(child.pid, "SIGKILL"), graceMs).unref();
  };
  stop.addEventListener("abort", kill, { once: true });
  const stdout = collect(child.stdout, request.outputLimit ?? outputLimit, kill, isBytes);
  const stderr = collect(child.stderr, errorLimit, () => undefined, false);
  // Git may end before it has read its input.
  child.stdin.on("error", () => undefined);
  child.stdin.end(input, isBytes ? "latin1" : "utf8");
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

function collect(
  stream: NodeJS.ReadableStream,
  limit: number,
  onFull: () => void,
  isBytes: boolean,
) {
  const chunks: Buffer[] = [];
  let size = 0;
  stream.on("data", (chunk: Buffer) => {
    if (size > limit) return;
    chunks.push(chunk);
    size += chunk.length;
    if (size > limit) onFull();
  });
  return (): { text: string; truncated: boolean } => ({
    // Streaming, so that a character cut in two at the limit is left out.
    text: isBytes
      ? Buffer.concat(chunks).subarray(0, limit).toString("latin1")
      : new TextDecoder().decode(Buffer.concat(chunks).subarray(0, limit), { stream: true }),
    truncated: size > limit,
  });
}

function firstLine(stderr: string): string {
  const lines = stderr.split("\n").filter((line) => !/^(warning|hint):/.test(line));
  return (lines[0] ?? "").replace(/^(fatal|error): /, "").slice(0, 500);
}

function signalGroup(leader: number | undefined, signal: NodeJS.Signals): void {
  try {
    if (leader !== undefined) process.kill(-leader, signal);
  } catch {
    // It has ended by itself.
  }
}
