import { type Outcome, fail, ok } from "../../machines/contracts/outcome.ts";
import type { SandboxRequest } from "../../machines/contracts/ports/sandbox.ts";
import { terminal } from "../../machines/contracts/failure.ts";
import { fileProblem } from "./file-problem.ts";
import { layout } from "./layout.ts";
import { limits } from "./limits.ts";
import { shellQuote } from "./shell-quote.ts";

interface Language {
  interpreter: string;
  codeFile: string;
}

const languages: Record<SandboxRequest["language"], Language> = {
  python: { interpreter: "python3", codeFile: ".code.py" },
  bash: { interpreter: "bash", codeFile: ".code.sh" },
  node: { interpreter: "node", codeFile: ".code.js" },
};

/** Read-only in one shell or another; setting them would end the shell. */
const reserved = new Set(["UID", "EUID", "PPID", "SHELLOPTS", "BASHOPTS"]);

/**
 * The request as one POSIX shell program, which goes into the sandbox by standard input: so neither code nor
 * environment ever stands on a command line, on a disk, or in the environment of a process outside.
 * On descriptor 3 the program says `started` before the code runs, or `missing` if the interpreter is not there.
 */
export function writeProgram(request: SandboxRequest): Outcome<string> {
  const language = languages[request.language];
  const problem =
    fileProblem(Object.keys(request.files), language.codeFile) ?? envProblem(request.env);
  if (problem !== null) return fail(terminal("invalid_input", problem));
  const files = { ...request.files, [language.codeFile]: request.code };
  const program = [
    `cd ${layout.home} || exit 125`,
    ...Object.entries(files).map(([path, content]) => writeFile(path, content)),
    // Looked up before the run's own PATH can matter.
    `set -- "$(command -v ${language.interpreter})"`,
    `[ -n "$1" ] || { echo missing >&3; exit 127; }`,
    ...Object.entries(request.env).map(([name, value]) => `export ${name}=${shellQuote(value)}`),
    `echo started >&3`,
    `exec "$1" ${language.codeFile} </dev/null 3>&-`,
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

function writeFile(path: string, content: string): string {
  const cut = path.lastIndexOf("/");
  const folder = cut < 0 ? "" : `mkdir -p ${shellQuote(`./${path.slice(0, cut)}`)} && `;
  const parts = content.split("\0").map((part) => `printf %s ${shellQuote(part)}`);
  const print = `{ ${parts.join(`; printf '\\000'; `)}; } > ${shellQuote(`./${path}`)}`;
  return `${folder}${print} || exit 125`;
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
