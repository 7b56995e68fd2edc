import type { Type } from "arktype";
import { someOf } from "../shared/bytes.ts";
import { type CommandLine, commandWords } from "../shared/command-line.ts";
import { type Answer, serverTool } from "../shared/server-tool.ts";
import type { Project } from "./project.ts";
import type { Run, RunOutput, Runner } from "./sandbox.ts";
import { findProgram } from "./toolchains.ts";

/** What every call to this server works with. */
export interface TestContext {
  /** A real path. */
  root: string;
  /** The time that a call may ask for, and gets unless it asks for less. */
  timeoutMs: number;
  /** The commands of the configuration, by name: words, the first of them a program. */
  commands: ReadonlyMap<string, readonly string[]>;
  /** Where programs run, or why they can't. Found out at the first call. */
  runner(signal: AbortSignal): Promise<Answer<Runner>>;
}

/** {@link serverTool} for this server's context. */
export const testTool = <Input extends Type, Output extends Type<object>>(
  definition: Parameters<typeof serverTool<TestContext, Input, Output>>[0],
) => serverTool<TestContext, Input, Output>(definition);

/** A program of the project, run to its end. That it was stopped is a problem; how it ended is the caller's to read. */
export async function runIn(
  context: TestContext & { signal: AbortSignal },
  project: Project,
  {
    program: name,
    line,
    ...rest
  }: Pick<Run, "writable" | "files"> & { program: string; line: CommandLine; timeoutMs?: number },
): Promise<Answer<RunOutput>> {
  const { signal } = context;
  const runner = await context.runner(signal);
  if (!runner.ok) return runner;
  const { toolchains, isVisible } = runner.value;
  const found = findProgram(name, project, toolchains, isVisible);
  if (!found.ok) return found;
  const { program } = found.value;
  const timeoutMs = Math.min(rest.timeoutMs ?? context.timeoutMs, context.timeoutMs);
  const args = commandWords(line);
  const ran = await runner.value.run({ ...rest, project, program, args, timeoutMs, signal });
  if (!ran.ok) return ran;
  const { stopped, exceeded } = ran.value;
  if (exceeded) {
    return {
      ok: false,
      problem: `${name} was stopped: it used too much memory or too many processes`,
    };
  }
  if (stopped === "cancelled") return { ok: false, problem: `${name} was cancelled` };
  if (stopped === "time") {
    const said = lastLines(ran.value);
    const problem = `${name} took longer than ${timeoutMs / 1_000} s and was stopped${said}`;
    return { ok: false, problem };
  }
  return ran;
}

/** What a person is told of what a run made and did not stay. */
export const describeRemoved = (paths: readonly string[]): string =>
  `Removed after the run, since what is there runs later and nobody reviews it: ${someOf(paths)}`;

/** The end of what a program said, to be put behind a problem. */
export function lastLines({ stdout, stderr }: { stdout: string; stderr: string }): string {
  const said = (stderr.trim() || stdout.trim()).split("\n").slice(-20).join("\n");
  const [start, end] = [Math.max(0, said.length - 3_000), said.length];
  return said === "" ? "" : `:\n${said.slice(start, end).toWellFormed()}`;
}
