import { type Outcome, fail, ok, terminal } from "../../machines/contracts/domain/failure.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { SandboxRequest } from "../../machines/contracts/ports/sandbox.ts";
import { collectScript, saying } from "./files-out.ts";
import { shellQuote } from "./host-view.ts";

interface Language {
  interpreter: string;
  codeFile: string;
}

const languages: Record<SandboxRequest["language"], Language> = {
  python: { interpreter: "python3", codeFile: ".code.py" },
  bash: { interpreter: "bash", codeFile: ".code.sh" },
  node: { interpreter: "node", codeFile: ".code.js" },
  javascript: { interpreter: "node", codeFile: ".code.js" },
  typescript: { interpreter: "node", codeFile: ".code.ts" },
};

/** Read-only in one shell or another; setting them would end the shell. */
const reserved = new Set(["UID", "EUID", "PPID", "SHELLOPTS", "BASHOPTS"]);

/**
 * The request as one POSIX shell program, which goes into the sandbox by standard input: so neither code nor
 * environment ever stands on a command line, on a disk, or in the environment of a process outside.
 * On descriptor 3 the program says `started` before the code runs, or `missing` if the interpreter is not there.
 */
export function writeProgram(request: SandboxRequest, mark = ""): Outcome<string> {
  const language = languages[request.language];
  const problem =
    fileProblem(Object.keys(request.files), language.codeFile) ??
    envProblem(request.env) ??
    argumentProblem(request.args ?? []) ??
    outputProblem(request.outputs?.paths ?? []);
  if (problem !== null) return fail(terminal("invalid_input", problem));
  const files = { ...request.files, [language.codeFile]: request.code };
  const start = [
    ...Object.entries(request.env).map(([name, value]) => `export ${name}=${shellQuote(value)}`),
    `exec "$1" ${[language.codeFile, ...(request.args ?? []).map(shellQuote)].join(" ")} 3>&-`,
  ].join("\n");
  const program = [
    `cd "$HOME" || exit 125`,
    ...Object.entries(files).map(([path, content]) => writeFile(path, content)),
    // Opened and taken away before the code can look for it.
    ...(request.stdin === undefined ? [] : [writeTo(stdinFile, request.stdin)]),
    `exec </dev/null`,
    ...(request.stdin === undefined ? [] : [`exec <${stdinFile} && rm ${stdinFile} || exit 125`]),
    // Looked up before the run's own PATH can matter.
    `set -- "$(command -v ${language.interpreter})"`,
    `[ -n "$1" ] || { ${saying(mark, "echo missing")}; exit 127; }`,
    saying(mark, "echo started"),
    // A shell that waits says on its own standard error what ended its child.
    ...(request.outputs === undefined
      ? [start]
      : [`exec 4>&2 2>/dev/null; (\n${start} 2>&4 4>&-\n)`, collectScript(request.outputs, mark)]),
  ].join("\n");
  const size = Buffer.byteLength(program);
  return size <= limits.programBytes
    ? ok(program)
    : fail(
        terminal(
          "too_large",
          `sandbox: code, files and env are ${size} bytes together; at most ${limits.programBytes} are taken`,
        ),
      );
}

/** The interpreter a language needs, as it is named on a PATH. */
export function interpreterOf(language: SandboxRequest["language"]): string {
  return languages[language].interpreter;
}

/** No file of a run can stand there: the paths of its files lie below the working directory. */
const stdinFile = `"$TMPDIR/.stdin"`;

function argumentProblem(args: readonly string[]): string | null {
  const at = args.findIndex((word) => word.includes("\0"));
  return at < 0 ? null : `sandbox args: argument ${at + 1} has a NUL in it`;
}

function outputProblem(paths: readonly string[]): string | null {
  for (const path of paths) {
    const wrong = pathProblem(path);
    if (wrong !== null) return `sandbox output ${cutText(JSON.stringify(path), 200)}: ${wrong}`;
  }
  return null;
}

function writeFile(path: string, content: string): string {
  const cut = path.lastIndexOf("/");
  const folder = cut < 0 ? "" : `mkdir -p ${shellQuote(`./${path.slice(0, cut)}`)} && `;
  return `${folder}${writeTo(shellQuote(`./${path}`), content)}`;
}

/** @param target a word of shell */
function writeTo(target: string, content: string): string {
  const parts = content.split("\0").map((part) => `printf %s ${shellQuote(part)}`);
  return `{ ${parts.join(`; printf '\\000'; `)}; } > ${target} || exit 125`;
}

function envProblem(env: Record<string, string>): string | null {
  for (const [name, value] of Object.entries(env)) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/u.test(name) || reserved.has(name)) {
      return `sandbox env: ${JSON.stringify(name)} can't be set; expected letters, digits and _`;
    }
    if (value.includes("\0")) return `sandbox env: the value of ${name} has a NUL in it`;
  }
  return null;
}

/**
 * What is wrong with the paths of a run's files, or null. A path is relative, plain and inside the working
 * directory. Symlinks can't play a part: every file is written by the sandboxed user into an empty folder.
 */
export function fileProblem(paths: readonly string[], codeFile: string): string | null {
  const known = new Set(paths);
  for (const path of paths) {
    const wrong = pathProblem(path) ?? placeProblem(path, known, codeFile);
    if (wrong !== null) return `sandbox file ${cutText(JSON.stringify(path), 200)}: ${wrong}`;
  }
  return null;
}

function pathProblem(path: string): string | null {
  if (path === "") return "expected a path, found nothing";
  if (path.includes("\0")) return "the path has a NUL in it";
  if (path.startsWith("/")) return "expected a relative path, found an absolute one";
  if (path.length > 1024) return "the path is longer than 1024 characters";
  const parts = path.split("/");
  if (parts.includes("..")) return "the path leaves the working directory";
  return parts.includes("") || parts.includes(".")
    ? "expected plain names between single slashes"
    : null;
}

function placeProblem(path: string, known: Set<string>, codeFile: string): string | null {
  if (path === codeFile || path.startsWith(`${codeFile}/`)) return "the code itself stands there";
  const parts = path.split("/");
  const folders = parts.slice(1).map((_, index) => parts.slice(0, index + 1).join("/"));
  return folders.some((folder) => known.has(folder))
    ? "one of its folders is given as a file"
    : null;
}

const mebibyte = 1024 * 1024;

/**
 * What one sandboxed run may use. `dataBytes` is per process: measured, Node 24 starts with 768 MiB of it
 * and dies with 512. `residentBytes` is for all processes of the run together and is enforced by watching.
 */
export const limits = {
  /** RLIMIT_DATA, bytes. */
  dataBytes: 1024 * mebibyte,
  /** Anonymous and shared memory in use by the whole run, bytes. */
  residentBytes: 1024 * mebibyte,
  /** RLIMIT_NPROC: processes and threads. */
  processes: 128,
  /** RLIMIT_FSIZE, bytes. */
  fileBytes: 64 * mebibyte,
  /** RLIMIT_NOFILE. */
  openFiles: 256,
  /** Each of /tmp and the working directory, bytes. */
  folderBytes: 64 * mebibyte,
  /** Files and folders in each of /tmp, the working directory and /dev/shm: each takes memory, be it empty. */
  folderEntries: 32_768,
  /** /dev/shm, bytes. */
  sharedMemoryBytes: 16 * mebibyte,
  /** Kept of the head of stdout and of stderr, and of the tail of each, bytes. */
  headBytes: 48 * 1024,
  tailBytes: 16 * 1024,
  /** Code, files and environment together, bytes. */
  programBytes: 16 * mebibyte,
} as const;
