import { type CommandLine, commandWords } from "../shared/command-line.ts";
import { runProgram } from "../shared/run-program.ts";
import type { Answer } from "../shared/server-tool.ts";

const defaultTimeoutMs = 60_000;
/** Bytes of output that are kept unless a caller needs more. */
const outputLimit = 262_144;
const errorLimit = 4_096;

export interface GitOptions {
  input?: string;
  /** See `ProgramRequest`. */
  isBytes?: boolean;
  env?: Record<string, string>;
  /** Bytes. */
  outputLimit?: number;
  timeoutMs?: number;
  /** Exit codes that are answers whatever stands on stderr, beside 0. */
  answers?: readonly number[];
}

export interface GitOutput {
  stdout: string;
  /** The output was larger than the limit; git was stopped there. */
  truncated: boolean;
  exitCode: number;
  /** The first line on stderr that is no warning or progress. */
  said: string;
}

/**
 * Runs git, for at most a minute unless told otherwise. Exit code 1 with nothing on stderr is an answer, not a failure:
 * that is how git says "no".
 */
export async function runGit(
  line: CommandLine,
  options: GitOptions & { cwd: string; env: Record<string, string>; signal: AbortSignal },
): Promise<Answer<GitOutput>> {
  const { timeoutMs = defaultTimeoutMs, answers = [] } = options;
  const ran = await runProgram({
    ...options,
    program: "git",
    args: commandWords(line, "--end-of-options"),
    limits: { stdout: options.outputLimit ?? outputLimit, stderr: errorLimit },
    whenFull: "stop",
    timeoutMs,
  });
  if (!ran.ok) return ran;
  const { stdout, stderr, truncated, exitCode, stopped } = ran.value;
  if (stopped === "cancelled") return { ok: false, problem: "cancelled" };
  if (stopped === "time") {
    return { ok: false, problem: `git took longer than ${timeoutMs / 1_000} s and was stopped` };
  }
  const code = exitCode ?? -1;
  const said = firstLine(stderr);
  if (truncated || code === 0 || (code === 1 && stderr === "") || answers.includes(code)) {
    return { ok: true, value: { stdout, truncated, exitCode: code, said } };
  }
  const command = line.command.join(" ");
  return { ok: false, problem: said || `git ${command} failed (exit code ${code})` };
}

/** What git said was wrong, in its first line that is no warning or progress. */
function firstLine(stderr: string): string {
  const lines = stderr
    .split("\n")
    .filter((line) => !/^(warning|hint|remote):|^Cloning into /.test(line));
  return (lines[0] ?? "")
    .replace(/^(fatal|error): /, "")
    .slice(0, 500)
    .toWellFormed();
}
