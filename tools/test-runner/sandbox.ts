import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readlinkSync,
  realpathSync,
  rmSync,
} from "node:fs";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { createHash, randomUUID } from "node:crypto";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import which from "which";
import { isInside } from "../shared/check-path.ts";
import { type ProgramOutput, runProgram } from "../shared/run-program.ts";
import type { Answer } from "../shared/server-tool.ts";
import { foldersUp, type Project } from "./project.ts";
import { cargoHome, type Toolchains } from "./toolchains.ts";

/** What one run may use, beside its time. */
export const limits = {
  /** Kept of each stream, bytes. */
  outputBytes: 8 * 1_048_576,
  reportBytes: 32 * 1_048_576,
  /** Of /tmp, in memory, bytes. */
  folderBytes: 2_048 * 1_048_576,
  /** RLIMIT_FSIZE, bytes. */
  fileBytes: 1_024 * 1_048_576,
  /** RLIMIT_NOFILE. */
  openFiles: 4_096,
  /** Of all its processes together: memory that is its own, bytes, and how many they are. Watched. */
  residentBytes: 4_096 * 1_048_576,
  processes: 512,
} as const;

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

/** Folders of a project that its tests have no business to write: what runs later, outside, and nobody reviews. */
const kept = [".git", "node_modules", ".venv", "venv"];
/** Below the nearest node_modules, what Vite writes before it can read its configuration. */
const scratch = [".vite", ".vite-temp"];

const system = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
const etc = ["/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"];

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
  const caches = mkdtempSync(join(tmpdir(), "stateplane-test-cache-"));
  process.once("exit", () => rmSync(caches, { recursive: true, force: true }));
  const bwrap = which.sync("bwrap", { nothrow: true }) ?? "/usr/bin/bwrap";
  const shown = [root, ...system, ...toolchains.show].map(realOrSame);
  const reports = "/tmp/.reports";
  return {
    kind: "bubblewrap",
    toolchains,
    isVisible: (path) => shown.some((folder) => isInside(folder, path)),
    async run(run) {
      const args = run.args.map((word) => word.replace(reportFolder, reports));
      const box = [
        ...boxWords(run, toolchains),
        ...cacheWords(caches, run.project),
        "--chdir",
        run.project.folder,
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
      return start(run, { program: bwrap, args: [...box], reports, words: args, cwd: "/" });
    },
  };
}

/** On this machine as it is, with the environment alone cleaned. */
export function unboxed(toolchains: Toolchains): Runner {
  return {
    kind: "none",
    toolchains,
    isVisible: () => true,
    async run(run) {
      const reports = await mkdtemp(join(tmpdir(), "stateplane-reports-"));
      try {
        const args = run.args.map((word) => word.replace(reportFolder, reports));
        const cwd = run.project.folder;
        const box = { program: "/bin/sh", args: ["-c", script, "sh"], reports, words: args, cwd };
        return await start(run, box, toolchains);
      } finally {
        await rm(reports, { recursive: true, force: true });
      }
    },
  };
}

/** Why no sandbox can be built here, in one sentence, or null. */
export async function sandboxProblem(
  runner: Runner,
  project: Project,
  signal: AbortSignal,
): Promise<string | null> {
  const mend =
    "install bubblewrap (apt-get install bubblewrap), or start the server with --no-sandbox: then the project's code " +
    "runs with all that this user may read, write and reach";
  if (process.platform !== "linux") return `no sandbox: it needs Linux; ${mend}`;
  const probe = { project, program: "true", args: [], writable: false, files: [] };
  const ran = await runner.run({ ...probe, timeoutMs: 10_000, signal });
  if (ran.ok && ran.value.exitCode === 0) return null;
  const why = ran.ok ? ran.value.stderr.split("\n")[0]?.trim() : ran.problem;
  return `no sandbox works here (${why ?? "it gave no answer"}): ${mend}`;
}

function boxWords({ project, writable }: Run, toolchains: Toolchains): string[] {
  const { root, folder } = project;
  const bind = (how: string, path: string, to = path) => [how, path, to];
  const own = writable ? kept.map((name) => join(folder, name)).filter(isPlainFolder) : [];
  const modules = foldersUp(project)
    .map((up) => join(up, "node_modules"))
    .find(isPlainFolder);
  return [
    "--unshare-all",
    "--unshare-user",
    "--disable-userns",
    "--uid",
    "65534",
    "--gid",
    "65534",
    "--hostname",
    "sandbox",
    "--new-session",
    "--die-with-parent",
    "--cap-drop",
    "ALL",
    "--clearenv",
    ...Object.entries(environment("/tmp", toolchains)).flatMap(([key, value]) => [
      "--setenv",
      key,
      value,
    ]),
    ...system.flatMap((path) => {
      const stat = lstatSync(path, { throwIfNoEntry: false });
      if (stat === undefined) return [];
      return stat.isSymbolicLink()
        ? ["--symlink", readlinkSync(path), path]
        : bind("--ro-bind", path);
    }),
    ...etc.filter((path) => existsSync(path)).flatMap((path) => bind("--ro-bind", path)),
    "--proc",
    "/proc",
    "--remount-ro",
    "/proc",
    "--dev",
    "/dev",
    "--size",
    String(limits.folderBytes),
    "--perms",
    "1777",
    "--tmpfs",
    "/tmp",
    ...toolchains.show.flatMap((path) => bind("--ro-bind", realOrSame(path), path)),
    ...toolchains.links.flatMap(([inside, outside]) => bind("--ro-bind", outside, inside)),
    ...bind("--ro-bind", root),
    ...(writable ? bind("--bind", folder) : []),
    ...own.flatMap((path) => bind("--ro-bind", path)),
    ...(modules === undefined ? [] : scratchFolders(modules)).flatMap((path) => [
      "--size",
      String(64 * 1_048_576),
      "--tmpfs",
      path,
    ]),
  ];
}

/** Where compilers keep what they made. */
const cacheFolder = "/tmp/.cache";

/** A project's own cache for as long as this server runs: Go, say, compiles its library for half a minute without one. */
function cacheWords(caches: string, { folder }: Project): string[] {
  const own = join(caches, createHash("sha256").update(folder).digest("hex"));
  mkdirSync(own, { recursive: true });
  return ["--bind", own, cacheFolder];
}

/** Made where they are missing, as Vite would: what is mounted needs a place to be mounted at. */
function scratchFolders(modules: string): string[] {
  if (!existsSync(join(modules, ".bin"))) return [];
  return scratch
    .map((name) => join(modules, name))
    .filter((path) => {
      try {
        if (!existsSync(path)) mkdirSync(path);
        return isPlainFolder(path);
      } catch {
        return false;
      }
    });
}

/** A link in its place would show or hide what it leads to. */
function isPlainFolder(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function realOrSame(path: string): string {
  return existsSync(path) ? realpathSync(path) : path;
}

/** All that is in a run's environment. */
function environment(home: string, { path, links }: Toolchains): Record<string, string> {
  const folders = [...new Set(path), "/usr/local/bin", "/usr/bin", "/bin"];
  return {
    PATH: folders.join(delimiter),
    HOME: home,
    TMPDIR: "/tmp",
    LANG: "C.UTF-8",
    USER: "nobody",
    CI: "true",
    NO_COLOR: "1",
    PYTHONDONTWRITEBYTECODE: "1",
    PYTHONUNBUFFERED: "1",
    COVERAGE_FILE: "/tmp/.coverage",
    RUST_BACKTRACE: "0",
    CARGO_NET_OFFLINE: "true",
    CARGO_TERM_COLOR: "never",
    GOTOOLCHAIN: "local",
    GOPROXY: "off",
    GOCACHE: `${cacheFolder}/go`,
    GOTELEMETRY: "off",
    ...(links.length === 0 ? {} : { CARGO_HOME: cargoHome }),
  };
}

async function start(
  run: Run,
  box: { program: string; args: string[]; reports: string; words: string[]; cwd: string },
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

const watchEveryMs = 200;

/** Calls `exceeded` once when the processes below `pid` hold more together than the limits; returns how to stop. */
function watch(pid: number, exceeded: () => void): () => void {
  let stopped = false;
  const look = async () => {
    const { bytes, processes } = await usage(pid);
    if (stopped) return;
    if (bytes > limits.residentBytes || processes > limits.processes) exceeded();
    else timer = setTimeout(() => void look(), watchEveryMs);
  };
  let timer = setTimeout(() => void look(), watchEveryMs);
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

/** proc(5): RssAnon and RssShmem of /proc/PID/status in kB, and the children of each of its threads. */
async function usage(pid: number): Promise<{ bytes: number; processes: number }> {
  const total = { bytes: 0, processes: 0 };
  const pending = [pid];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    const status = await readFile(`/proc/${at}/status`, "utf8").catch(() => "");
    for (const [, size] of status.matchAll(/^Rss(?:Anon|Shmem):\s+(\d+) kB$/gm)) {
      total.bytes += Number(size) * 1024;
    }
    total.processes += 1;
    if (total.processes > limits.processes) break;
    const threads = await readdir(`/proc/${at}/task`).catch(() => []);
    for (const thread of threads) {
      const list = await readFile(`/proc/${at}/task/${thread}/children`, "utf8").catch(() => "");
      pending.push(...list.split(" ").filter(Boolean).map(Number));
    }
  }
  return total;
}

/** Ends what has left the run's process group, by the mark in its environment; again, until there is none. */
async function killMarked(mark: string): Promise<void> {
  for (let round = 0; round < 10; round += 1) {
    const pids = (await readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name));
    const marked: number[] = [];
    for (const pid of pids) {
      const env = await readFile(`/proc/${pid}/environ`, "latin1").catch(() => "");
      if (env.includes(`STATEPLANE_RUN=${mark}`)) marked.push(Number(pid));
    }
    if (marked.length === 0) return;
    for (const pid of marked) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // Gone already.
      }
    }
  }
}
