import { access } from "node:fs/promises";
import { join } from "node:path";
import { exactText, shownBytes } from "../shared/bytes.ts";
import type { CommandLine } from "../shared/command-line.ts";
import type { Answer } from "../shared/server-tool.ts";
import { findRepository, type FoundRepository } from "./find-repository.ts";
import { configEnvironment, guards } from "./guards.ts";
import type { ConfigEntry } from "./guards.ts";
import { type GitOptions, type GitOutput, runGit } from "./run-git.ts";

export interface Repository extends FoundRepository {
  /** The value of a configuration key as git would see it, its section and last part in lower case. */
  config(key: string): string | undefined;
  /** All values of such a key. */
  configAll(key: string): string[];
  /** The environment that git runs in here, everything dangerous of the configuration closed. */
  environment: Readonly<Record<string, string>>;
  git(line: CommandLine, options?: GitOptions): Promise<Answer<GitOutput>>;
}

/** Bytes; a configuration that doesn't fit could hide a filter, so the repository is refused then. */
const configLimit = 1_048_576;

export interface OpenOptions {
  /** What becomes of a file that wants a filter; see {@link guards}. */
  onFilter: "refuse" | "skip";
  signal: AbortSignal;
  /** Whether a repository without a working tree will do. */
  bare?: boolean;
}

/**
 * Opens a repository whose content nobody vouches for. Git is told where the repository and its files are,
 * so that neither a parent folder nor `core.worktree` leads it elsewhere; it sees no configuration but the
 * repository's, with all that would run a command laid over; no hooks, no network, no terminal.
 */
export async function openRepository(
  workspace: string,
  repo: string,
  { onFilter, signal, bare = false }: OpenOptions,
): Promise<Answer<Repository>> {
  const found = await findRepository(workspace, repo, { bare });
  if (!found.ok) return found;
  const { folder, gitFolder } = found.value;
  const config = await readConfig(repo, gitFolder, signal);
  if (!config.ok) return config;
  const environment = {
    ...cleanEnvironment(),
    GIT_DIR: gitFolder,
    GIT_COMMON_DIR: gitFolder,
    GIT_CEILING_DIRECTORIES: workspace,
    ...(gitFolder === folder ? {} : { GIT_WORK_TREE: folder }),
    ...configEnvironment(guards(config.value, onFilter)),
  };
  const configAll = (key: string) =>
    config.value.flatMap(([name, value]) => (name === key && value !== null ? [value] : []));
  return {
    ok: true,
    value: {
      folder,
      gitFolder,
      config: (key) => configAll(key).at(-1),
      configAll,
      environment,
      git: (line, options = {}) =>
        runGit(line, { cwd: folder, ...options, env: { ...environment, ...options.env }, signal }),
    },
  };
}

/**
 * The repository's own configuration, read by a git that is in no repository: it follows nothing that the files name
 * before we have seen them.
 */
async function readConfig(
  repo: string,
  gitFolder: string,
  signal: AbortSignal,
): Promise<Answer<ConfigEntry[]>> {
  const where = `the configuration of repository "${repo}"`;
  const config: ConfigEntry[] = [];
  for (const file of ["config", "config.worktree"]) {
    const path = join(gitFolder, file);
    const isThere = await access(path).then(
      () => true,
      () => false,
    );
    if (!isThere) continue;
    const listing = await runGit(
      { command: ["config", "--file", path], flags: ["--list", "--no-includes", "--null"] },
      {
        cwd: "/",
        env: { ...cleanEnvironment(), GIT_CEILING_DIRECTORIES: "/", GIT_DIR: "/dev/null" },
        outputLimit: configLimit,
        isBytes: true,
        signal,
      },
    );
    if (!listing.ok) return listing;
    if (listing.value.truncated) return { ok: false, problem: `${where} is too large` };
    for (const [key, value] of readEntries(listing.value.stdout)) {
      const name = exactText(key);
      const said = shownBytes(key).slice(0, 200).toWellFormed();
      // What is laid over a filter must bear its very name, and the environment carries text alone.
      if (name === null) {
        return { ok: false, problem: `${where} has a key that is not UTF-8: ${said}` };
      }
      if (/^include(?:if\..*)?\.path$/s.test(name)) {
        return {
          ok: false,
          problem: `${where} includes another file (${said}), which is not read`,
        };
      }
      config.push([name, value]);
    }
  }
  return { ok: true, value: config };
}

function readEntries(listing: string): ConfigEntry[] {
  return listing
    .split("\0")
    .slice(0, -1)
    .map((entry) => {
      const end = entry.indexOf("\n");
      return end === -1 ? [entry, null] : [entry.slice(0, end), entry.slice(end + 1)];
    });
}

/** What git gets of an environment wherever it runs: nothing of a user's, no terminal, no protocol. */
export function cleanEnvironment(): Record<string, string> {
  return {
    PATH: process.env["PATH"] ?? "/usr/local/bin:/usr/bin:/bin",
    // Nothing can be put there, so nothing of a user's is found.
    HOME: "/dev/null",
    LC_ALL: "C.UTF-8",
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_ATTR_NOSYSTEM: "1",
    GIT_LITERAL_PATHSPECS: "1",
    GIT_OPTIONAL_LOCKS: "0",
    GIT_TERMINAL_PROMPT: "0",
    GIT_NO_REPLACE_OBJECTS: "1",
    GIT_NO_LAZY_FETCH: "1",
    // Unlike `protocol.allow`, not undone by a repository's `protocol.ext.allow`.
    GIT_ALLOW_PROTOCOL: "none",
    GIT_PAGER: "cat",
    GIT_EDITOR: "false",
    // Empty: no program is asked for a password, and git says what it would have asked for.
    GIT_ASKPASS: "",
    GIT_SSH_COMMAND: "false",
  };
}
