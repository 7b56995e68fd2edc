import { mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { createHash, randomUUID } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import which from "which";
import { isInside } from "../shared/check-path.ts";
import { HeldPaths } from "../shared/held-paths.ts";
import { type ProgramOutput, runProgram } from "../shared/run-program.ts";
import type { Answer } from "../shared/server-tool.ts";
import { inTemporaryFolder, systemProblem } from "../shared/temporary-folder.ts";
import { boxWords, environment, realOrSame, system } from "./box.ts";
import { FolderQueue } from "../shared/folder-queue.ts";
import { type Guarded, keepGuarded, type Writable } from "./guarded.ts";
import { killMarked, limits, watch } from "./limits.ts";
import type { Project } from "./project.ts";
import type { Toolchains } from "./toolchains.ts";

export interface Run {
  project: Project;
  program: string;
  args: readonly string[];
  /** Whether it may write into the project's folder. */
  writable: boolean;
  /** Files that are read when it has ended, by paths below {@link reportFolder}. */
  files: readonly string[];
  timeoutMs: number;
  signal: AbortSignal;
}

export interface RunOutput extends ProgramOutput {
  /** What the files held, in their order; empty where there was none. */
  contents: string[];
  durationMs: number;
  /** More memory or processes than allowed: it was stopped. */
  exceeded: boolean;
  /** What it had made and did not stay: see {@link keepGuarded}. */
  removed: string[];
}

/** In the arguments of a run, the folder of its reports; see {@link Run.files}. No caller can name it. */
export const reportFolder = `{${randomUUID()}}`;

/** Where programs run: in a sandbox, or plainly on this machine because the operator said so. */
export interface Runner {
  kind: "bubblewrap" | "none";
  toolchains: Toolchains;
  /** Whether a program that runs in here sees a real path of this machine. */
  isVisible(path: string): boolean;
  run(run: Run): Promise<Answer<RunOutput>>;
}

/**
 * Reads the files after the program has ended and sends them on descriptor 3, each behind a line that cannot be guessed.
 * This happens inside: a link that the tests put in a report's place leads to nothing that they could not read.
 */
const script =
  'mark=$1; count=$2; shift 2; reports=$1; shift; mkdir -p "$reports"; files=; n=0; ' +
  'while [ $n -lt "$count" ]; do files="$files $1"; shift; n=$((n+1)); done; ' +
  '"$@" 3>&- </dev/null; code=$?; ' +
  'for file in $files; do echo "$mark" >&3; [ -f "$reports/$file" ] && cat "$reports/$file" >&3; done; exit $code';

/** A sandbox of bubblewrap: the root read-only and the project writable where it must be; no network; nothing of ours. */
export function sandboxed(root: string, toolchains: Toolchains): Runner {
  const bwrap = which.sync("bwrap", { nothrow: true }) ?? "/usr/bin/bwrap";
  const shown = [root, ...system, ...toolchains.show].map(realOrSame);
  const reports = "/tmp/.reports";
  const queue = new FolderQueue();
  const cacheOf = cacheFolders();

  const inBox = async (run: Run, held: HeldPaths, writable: Writable | null) => {
    const { project } = run;
    const cache = cacheOf(project);
    const args = [
      ...boxWords({ toolchains, project, writable, cache, held }),
      "--chdir",
      project.folder,
      "--",
      "prlimit",
      `--nofile=${limits.openFiles}:${limits.openFiles}`,
      `--fsize=${limits.fileBytes}:${limits.fileBytes}`,
      "--core=0:0",
      "--",
      "sh",
      "-c",
      script,
      "sh",
    ];
    const words = run.args.map((word) => word.replace(reportFolder, reports));
    const { descriptors } = held;
    return start(run, { program: bwrap, args, reports, words, cwd: "/", descriptors });
  };
  const removeIn = (project: Project) => (paths: readonly string[], guarded: readonly Guarded[]) =>
    holding(async (held): Promise<Answer<ProgramOutput>> => {
      const writable = { top: held.hold(project.folder), guarded, isGitPlaceTaken: false };
      const cache = cacheOf(project);
      return runProgram({
        program: bwrap,
        args: [
          ...boxWords({ toolchains, project, writable, cache, held }),
          "--chdir",
          project.folder,
          "--",
          "xargs",
          "-0",
          "sh",
          "-c",
          'chmod -R -f u+rwX -- "$@"; rm -rf -- "$@"',
          "sh",
        ],
        cwd: "/",
        env: {},
        descriptors: held.descriptors,
        input: paths.map((path) => `./${path}\0`).join(""),
        isBytes: true,
        limits: { stdout: 0, stderr: 4_096 },
        whenFull: "discard",
        timeoutMs: 60_000,
        // Whoever has cancelled the run has not cancelled this.
        signal: new AbortController().signal,
      });
    });
  const runWriting = (run: Run, held: HeldPaths) =>
    queue.run(run.project.folder, run.signal, async (): Promise<Answer<RunOutput>> => {
      const work = (writable: Writable) => inBox(run, held, writable);
      const kept = await keepGuarded(run.project, held, work, removeIn(run.project));
      if (!kept.ok) return kept;
      return { ok: true, value: { ...kept.value.value, removed: kept.value.removed } };
    });
  return {
    kind: "bubblewrap",
    toolchains,
    isVisible: (path) => shown.some((folder) => isInside(folder, path)),
    run: (run) =>
      holding((held) => (run.writable ? runWriting(run, held) : inBox(run, held, null))),
  };
}

/** Gives up what was held in the end. That something can't be held is a problem: it is gone, or a link by now. */
async function holding<T>(use: (held: HeldPaths) => Promise<Answer<T>>): Promise<Answer<T>> {
  const held = new HeldPaths();
  try {
    return await use(held);
  } catch (error) {
    return { ok: false, problem: `the sandbox can't be built: ${systemProblem(error)}` };
  } finally {
    held.close();
  }
}

/** A project's own cache for as long as this server runs: Go, say, compiles its library for half a minute without one. */
function cacheFolders(): (project: Project) => string {
  let caches: string | null = null;
  return ({ folder }) => {
    if (caches === null) {
      const made = realpathSync(mkdtempSync(join(tmpdir(), "stateplane-test-cache-")));
      process.once("exit", () => rmSync(made, { recursive: true, force: true }));
      caches = made;
    }
    const own = join(caches, createHash("sha256").update(folder).digest("hex"));
    mkdirSync(own, { recursive: true });
    return own;
  };
}

/** On this machine as it is, with the environment alone cleaned. */
export function unboxed(toolchains: Toolchains): Runner {
  return {
    kind: "none",
    toolchains,
    isVisible: () => true,
    run(run) {
      return inTemporaryFolder("stateplane-reports-", (reports) => {
        const words = run.args.map((word) => word.replace(reportFolder, reports));
        const cwd = run.project.folder;
        const box = { program: "/bin/sh", args: ["-c", script, "sh"], reports, words, cwd };
        return start(run, box, toolchains);
      });
    },
  };
}

/** Why no sandbox can be built here, in one sentence, or null. */
export async function sandboxProblem(
  runner: Runner,
  project: Project,
  signal: AbortSignal,
): Promise<string | null> {
  // Where it is there already, installing it would mend nothing.
  const first =
    which.sync("bwrap", { nothrow: true }) === null
      ? "install bubblewrap (apt-get install bubblewrap)"
      : "let bubblewrap make namespaces here (docs/sandbox.md says how)";
  const mend =
    `${first}, or start the server with --no-sandbox: then the project's code ` +
    "runs with all that this user may read, write and reach";
  if (process.platform !== "linux") return `no sandbox: it needs Linux; ${mend}`;
  const probe = { project, program: "true", args: [], writable: false, files: [] };
  const ran = await runner.run({ ...probe, timeoutMs: 10_000, signal });
  if (ran.ok && ran.value.exitCode === 0) return null;
  const why = ran.ok ? ran.value.stderr.split("\n")[0]?.trim() : ran.problem;
  return `no sandbox works here (${why ?? "it gave no answer"}): ${mend}`;
}

async function start(
  run: Run,
  box: {
    program: string;
    args: string[];
    reports: string;
    words: string[];
    cwd: string;
    descriptors?: readonly number[];
  },
  plainly?: Toolchains,
): Promise<Answer<RunOutput>> {
  const mark = randomUUID();
  const began = performance.now();
  const state = { exceeded: false, stopWatching: () => {} };
  const over = new AbortController();
  // Found in the environment of whatever the run leaves behind, where no sandbox takes it along.
  const cookie = { STATEPLANE_RUN: mark };
  const ran = await runProgram({
    program: box.program,
    args: [
      ...box.args,
      mark,
      String(run.files.length),
      box.reports,
      ...run.files,
      run.program,
      ...box.words,
    ],
    cwd: box.cwd,
    descriptors: box.descriptors ?? [],
    env: plainly === undefined ? {} : { ...plainEnvironment(plainly), ...cookie },
    limits: {
      stdout: limits.outputBytes,
      stderr: limits.outputBytes,
      report: limits.reportBytes,
    },
    whenFull: "discard",
    timeoutMs: run.timeoutMs,
    signal: AbortSignal.any([run.signal, over.signal]),
    onStart: (pid) => {
      state.stopWatching = watch(pid, () => {
        state.exceeded = true;
        over.abort();
      });
    },
  });
  state.stopWatching();
  if (plainly !== undefined) await killMarked(mark);
  if (!ran.ok) return ran;
  const parts = ran.value.report.split(`${mark}\n`).slice(1);
  return {
    ok: true,
    value: {
      ...ran.value,
      contents: run.files.map((_, at) => parts[at] ?? ""),
      durationMs: Math.round(performance.now() - began),
      exceeded: state.exceeded,
      removed: [],
    },
  };
}

/** Without a sandbox the caches stay where the person has them. */
function plainEnvironment(toolchains: Toolchains): Record<string, string> {
  const home = process.env["HOME"] ?? "/";
  const {
    GOCACHE: _cache,
    CARGO_HOME: _home,
    COVERAGE_FILE: _file,
    ...rest
  } = environment(home, toolchains);
  return { ...rest, TMPDIR: tmpdir() };
}
