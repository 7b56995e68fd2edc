import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import type { Readable, Writable } from "node:stream";
import { finished } from "node:stream/promises";
import {
  fail,
  type Failure,
  ok,
  type Outcome,
  retryable,
  terminal,
} from "../../machines/contracts/domain/failure.ts";
import type { SandboxOutputs, SandboxRun } from "../../machines/contracts/ports/sandbox.ts";
import { captureWords, splitMarked } from "./files-out.ts";
import { replaceInherited } from "./descriptors.ts";
import { findCgroups, type RunGroup } from "./cgroup.ts";
import { baseEnv } from "./host-view.ts";
import { limits } from "./program.ts";
import { captureOutput } from "./output.ts";
import { watchMemory } from "./memory.ts";

export interface Box {
  /** Builds the sandbox and runs `sh` in it, which evaluates the program it reads from standard input. */
  command: readonly string[];
  /** From {@link writeProgram}. */
  program: string;
  /** From {@link seccompFilter}: what the command finds on descriptor 4. */
  filter: Buffer;
  timeoutMs: number;
  /** What all its processes may hold together, where that is less than the limit. */
  residentBytes?: number;
  /** The files that the program writes out at its end. */
  outputs?: SandboxOutputs | undefined;
  /** Where a container runs it: what its marks are, how the engine is called, how a run is ended. */
  engine?: { mark: string; env: Record<string, string>; remove: () => void } | undefined;
  /** In place of the usual environment. */
  env?: Record<string, string> | undefined;
  /** It has no namespace of its own: its process group, and its cgroup where it has one, hold it together. */
  isBare?: boolean | undefined;
  /** Called when it has ended. */
  tidy?: (() => Promise<void>) | undefined;
  /** What to install when the program finds its interpreter missing. */
  interpreter: string;
}

/**
 * Runs a program in a box. The box is a process group of its own whose first process takes its whole pid
 * namespace down with it, and a cgroup where one can be had; time limit, memory limit and abort all end in the same SIGKILL.
 * A program that fails is a value; only a box that could not be built, or an abort, is a failure. Where this user can make
 * cgroups nothing runs without one: what doctor says of the limits holds for each run.
 */
export async function runBoxed(box: Box, signal: AbortSignal): Promise<Outcome<SandboxRun>> {
  const cancelled = fail(terminal("cancelled", "the sandbox run was cancelled"));
  if (signal.aborted) {
    await box.tidy?.();
    return cancelled;
  }
  const began = performance.now();
  const { residentBytes = limits.residentBytes, isBare = false } = box;
  const [command = "", ...args] = box.command;
  const env = box.env ?? box.engine?.env ?? baseEnv;
  const started = await startInGroup(box, residentBytes, () => startBox(command, args, env));
  if (!started.ok) {
    await box.tidy?.();
    return started;
  }
  const { child, group } = started.value;
  const [stdin, out, err, words, filter] = child.stdio as unknown as [
    Writable,
    Readable,
    Readable,
    Readable,
    Writable,
  ];
  const split = box.engine === undefined ? null : splitMarked(err, box.engine.mark);
  // Nobody in a container can write there; unread it would never close.
  if (split !== null) words.resume();
  const stdout = captureOutput(out);
  const stderr = captureOutput(split?.stderr ?? err);
  const said = captureWords(split?.words ?? words, box.outputs);
  stdin.on("error", () => {});
  filter.on("error", () => {});
  filter.end(box.filter);

  const kill = () => {
    const running = child.exitCode === null && child.signalCode === null;
    if (child.pid !== undefined && running) killGroup(child.pid);
    group?.kill();
    box.engine?.remove();
  };
  const over = { time: false, memory: false };
  const end = (reason: "time" | "memory") => {
    over[reason] = true;
    kill();
  };
  const outside = { why: null as Failure | null };
  // Until it has its program the box runs nothing of anybody's.
  void enterGroup(group, child.pid).then((problem) => {
    outside.why = problem;
    if (problem === null) stdin.end(box.program);
    else kill();
  });
  const timer = setTimeout(() => end("time"), box.timeoutMs);
  const unwatch =
    // In a container the engine limits it.
    child.pid === undefined || box.engine !== undefined
      ? () => {}
      : watchMemory(child.pid, { residentBytes, isBare, group }, () => end("memory"));
  signal.addEventListener("abort", kill, { once: true });
  if (isBare) endWithFirst(child, kill);

  const exit = await new Promise<number | Error>((resolve) => {
    child.once("error", resolve);
    child.once("close", (code) => resolve(code ?? killedBySignal));
  });
  if (split !== null && !(exit instanceof Error)) {
    await Promise.all([finished(split.stderr), finished(split.words)]);
  }
  clearTimeout(timer);
  unwatch();
  signal.removeEventListener("abort", kill);
  over.memory ||= !over.time && group?.ranOut() === true;
  void group?.end();
  await box.tidy?.();

  if (signal.aborted) return cancelled;
  if (outside.why !== null) return fail(outside.why);
  if (exit instanceof Error) return fail(notStarted(command, exit));
  if (said.first() === "missing") return fail(interpreterMissing(box));
  if (!over.time && !over.memory && said.first() !== "started") {
    const reason = stderr.text().trim().split("\n")[0] || `exit code ${exit}`;
    return fail(terminal("sandbox_failed", `the sandbox could not be built: ${reason}`));
  }
  const leftOutBytes = stdout.leftOutBytes() + stderr.leftOutBytes();
  return ok({
    exitCode: over.time ? null : exit,
    timedOut: over.time,
    killed: !over.time && (over.memory || exit === killedBySignal),
    stdout: stdout.text(),
    stderr: stderr.text() + (over.memory ? memoryNote(residentBytes) : ""),
    truncated: leftOutBytes > 0,
    leftOutBytes,
    ...(box.outputs === undefined ? {} : said.files(box.outputs)),
    durationMs: Math.round(performance.now() - began),
  });
}

/** 128 and SIGKILL, as a shell tells it. */
const killedBySignal = 128 + 9;

function startBox(command: string, args: readonly string[], env: Readonly<Record<string, string>>) {
  const empty = openSync("/dev/null", "r");
  try {
    return spawn(command, args, {
      cwd: "/",
      // None of our own environment: a process inside could read it in /proc/1/environ.
      env: { ...env },
      detached: true,
      stdio: ["pipe", "pipe", "pipe", "pipe", "pipe", ...replaceInherited(5, empty)],
    });
  } finally {
    closeSync(empty);
  }
}

/** One more for each process that the drivers start above the program's own. */
const driversOwn = 8;

/** The group is null in a container, and where this user can make none: what the run holds is counted. */
async function startInGroup<T>(
  { engine, command }: Box,
  memoryBytes: number,
  start: () => T,
): Promise<Outcome<{ child: T; group: RunGroup | null }>> {
  const cgroups = findCgroups();
  let group: RunGroup | null = null;
  if (engine === undefined && !("missing" in cgroups)) {
    try {
      group = cgroups.make({ memoryBytes, processes: limits.processes + driversOwn });
    } catch (error) {
      return fail(withoutGroup(error));
    }
  }
  try {
    return ok({ child: start(), group });
  } catch (error) {
    await group?.end();
    return fail(notStarted(command[0] ?? "", error));
  }
}

async function enterGroup(
  group: RunGroup | null,
  pid: number | undefined,
): Promise<Failure | null> {
  if (group === null || pid === undefined) return null;
  return group.take(pid).then(() => null, withoutGroup);
}

const withoutGroup = (error: unknown) =>
  retryable(
    "unavailable",
    `the sandbox run was not begun, because it got no cgroup (${messageOf(error)}) to limit its memory; where a worker finds at its start that it can make none, it counts instead`,
  );

/** Out of processes, memory or descriptors: a machine may have them again in a moment. */
const passing: ReadonlySet<string> = new Set(["EAGAIN", "ENOMEM", "EMFILE", "ENFILE"]);

function notStarted(command: string, error: unknown): Failure {
  const message = `${command}: ${messageOf(error)}`;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return passing.has(code)
    ? retryable("unavailable", message)
    : terminal("sandbox_failed", message);
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** Without a namespace nothing else ends what the first process left behind, which would hold its streams open. */
function endWithFirst(child: ReturnType<typeof startBox>, kill: () => void): void {
  child.once("exit", () => {
    if (child.pid !== undefined) killGroup(child.pid);
    kill();
    const patience = setTimeout(() => child.stdio.forEach((stream) => stream?.destroy()), 1_000);
    child.once("close", () => clearTimeout(patience));
  });
}

const memoryNote = (most: number) =>
  `\nkilled: the run held more than ${Math.round(most / 1024 / 1024)} MiB of memory, files and kernel buffers included\n`;

function interpreterMissing({ interpreter, engine }: Box) {
  if (engine !== undefined) {
    return terminal(
      "unavailable",
      `the sandbox's image has no ${interpreter}: SANDBOX_IMAGE names it`,
    );
  }
  return terminal(
    "unavailable",
    `the sandbox has no ${interpreter}: install it under /usr (apt-get install ${packageOf(interpreter)}, or your system's way)`,
  );
}

function packageOf(interpreter: string): string {
  return interpreter === "node" ? "nodejs" : interpreter;
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Gone already.
  }
}
