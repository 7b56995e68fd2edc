import { existsSync, lstatSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, isAbsolute, join } from "node:path";
import which from "which";
import { isInside } from "../shared/check-path.ts";
import { runProgram } from "../shared/run-program.ts";
import type { Answer } from "../shared/server-tool.ts";
import { foldersUp, type Project } from "./project.ts";

/** The languages of this machine: where their programs are, and what of the disk they need to see. */
export interface Toolchains {
  /** Folders of programs, first come first. */
  path: string[];
  /** Files and folders outside of `/usr` that a sandbox shows, read-only. */
  show: string[];
  /** A folder in the sandbox, and the one of the machine that is shown there. */
  links: [inside: string, outside: string][];
}

/** Cargo's home in a run: a writable place of its own, into which the machine's downloaded packages are shown. */
export const cargoHome = "/tmp/cargo";

const probeTimeoutMs = 20_000;

/**
 * Asks each language's own program, in a folder that nobody can prepare, where it lives. Nothing here comes from a project:
 * what a `pyvenv.cfg` names, say, could be any folder of the machine.
 */
export async function findToolchains(
  extra: readonly string[],
  signal: AbortSignal,
): Promise<Toolchains> {
  const node = realpathSync(process.execPath);
  const found: Toolchains = { path: [dirname(node)], show: [node], links: [] };
  const ask = (program: string, args: readonly string[]) => askProgram(program, args, signal);
  const [python, rust, go] = await Promise.all([
    ask("python3", [
      "-I",
      "-c",
      "import sys; print(sys.executable, sys.base_prefix, sys.prefix, sep='\\n')",
    ]),
    ask("rustc", ["--print", "sysroot"]),
    ask("go", ["env", "GOROOT", "GOMODCACHE"]),
  ]);
  const [executable, ...prefixes] = python;
  if (executable !== undefined) {
    found.path.push(dirname(executable));
    found.show.push(...prefixes);
  }
  const [sysroot] = rust;
  if (sysroot !== undefined) {
    found.path.push(join(sysroot, "bin"));
    found.show.push(sysroot);
    const home = process.env["CARGO_HOME"] ?? join(homedir(), ".cargo");
    // Not the home itself, which holds the keys to registries.
    for (const name of ["registry", "git"]) {
      if (existsSync(join(home, name))) found.links.push([join(cargoHome, name), join(home, name)]);
    }
  }
  const [goRoot, modules] = go;
  if (goRoot !== undefined && modules !== undefined) {
    found.path.push(join(goRoot, "bin"));
    found.show.push(goRoot, modules);
  }
  const usable = found.show.filter(
    (path) => isAbsolute(path) && existsSync(path) && !isBroad(path),
  );
  return { ...found, show: [...new Set([...usable, ...extra])] };
}

/** A folder that holds more than a toolchain: the home of the person, or one above it. `/usr` is shown anyway. */
function isBroad(path: string): boolean {
  return isInside(path, homedir()) || isInside("/usr", path) || path === "/";
}

async function askProgram(
  program: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<string[]> {
  const path = which.sync(program, { nothrow: true });
  if (path === null) return [];
  const { PATH = "", HOME = "/", ...rest } = process.env;
  const own = ["RUSTUP_HOME", "CARGO_HOME", "PYENV_ROOT", "GOPATH", "GOMODCACHE"] as const;
  const homes = own.flatMap((name) => (rest[name] === undefined ? [] : [[name, rest[name]]]));
  const ran = await runProgram({
    program: path,
    args,
    cwd: "/",
    env: { PATH, HOME, GOTOOLCHAIN: "local", ...Object.fromEntries(homes) },
    limits: { stdout: 16_384, stderr: 1_024 },
    whenFull: "discard",
    timeoutMs: probeTimeoutMs,
    signal,
  });
  if (!ran.ok || ran.value.exitCode !== 0) return [];
  return ran.value.stdout.split("\n").filter(Boolean);
}

/** How a program of a project is started: itself, or as a module of the project's Python. */
export interface FoundProgram {
  program: string;
  args: string[];
}

/**
 * The program of a name that a project means: its own (`node_modules/.bin`, `.venv/bin`), else the toolchains', else the
 * one on our PATH.
 *
 * @param isVisible - whether a real path can be seen where it is to run
 */
export function findProgram(
  name: string,
  project: Project,
  toolchains: Toolchains,
  isVisible: (path: string) => boolean,
): Answer<FoundProgram> {
  const local = ["node_modules/.bin", ".venv/bin", "venv/bin"];
  const folders = foldersUp(project).flatMap((folder) => local.map((path) => join(folder, path)));
  const ours = (process.env["PATH"] ?? "").split(delimiter).filter(isAbsolute);
  let hidden: string | null = null;
  for (const folder of [...folders, ...toolchains.path, ...ours]) {
    const path = join(folder, name);
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) continue;
    try {
      if (isVisible(realpathSync(path))) return { ok: true, value: { program: path, args: [] } };
    } catch {
      // A link to nowhere is as good as none.
      continue;
    }
    hidden ??= path;
  }
  const problem =
    hidden === null
      ? `${name} is not installed: neither in the project nor on the server's PATH`
      : `${name} is at ${hidden}, which the sandbox does not show: start the server with --show and the folder it is in`;
  return { ok: false, problem };
}
