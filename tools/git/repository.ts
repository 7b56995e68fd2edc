import { join } from "node:path";
import type { Answer } from "./answer.ts";
import { exactText, shownBytes } from "./bytes.ts";
import { findRepository } from "./find-repository.ts";
import { configEnvironment, guards } from "./guards.ts";
import type { ConfigEntry } from "./guards.ts";
import { runGit } from "./run-git.ts";
import type { GitOutput } from "./run-git.ts";

export interface GitOptions {
  input?: string;
  /** See `GitRequest`. */
  isBytes?: boolean;
  env?: Record<string, string>;
  /** Bytes. */
  outputLimit?: number;
}

export interface Repository {
  folder: string;
  /** The value of a configuration key (lower case) as git would see it. */
  config(key: string): string | undefined;
  git(args: string[], options?: GitOptions): Promise<Answer<GitOutput>>;
}

/** Bytes; a configuration that doesn't fit could hide a filter, so the repository is refused then. */
const configLimit = 1_048_576;

/**
 * Opens a repository whose content nobody vouches for. Git is told where the repository and its files are,
 * so that neither a parent folder nor `core.worktree` leads it elsewhere; it sees no configuration but the
 * repository's, with all that would run a command laid over; no hooks, no network, no terminal.
 */
export async function openRepository(
  workspace: string,
  repo: string,
  { onFilter, signal }: { onFilter: "refuse" | "skip"; signal: AbortSignal },
): Promise<Answer<Repository>> {
  const found = await findRepository(workspace, repo);
  if (!found.ok) return found;
  const folder = found.value;
  const base = environment(workspace, folder);
  const listing = await runGit({
    cwd: folder,
    args: ["config", "--list", "--includes", "--null"],
    env: { ...base, ...configEnvironment(guards([], onFilter)) },
    outputLimit: configLimit,
    isBytes: true,
    signal,
  });
  if (!listing.ok) return listing;
  if (listing.value.truncated) {
    return { ok: false, problem: `the configuration of repository "${repo}" is too large` };
  }
  const config: ConfigEntry[] = [];
  for (const [key, value] of readEntries(listing.value.stdout)) {
    const name = exactText(key);
    // What is laid over a filter must bear its very name, and the environment carries text alone.
    if (name === null) {
      const said = shownBytes(key).slice(0, 200).toWellFormed();
      const problem = `the configuration of repository "${repo}" has a key that is not UTF-8: ${said}`;
      return { ok: false, problem };
    }
    config.push([name, value]);
  }
  const guarded = { ...base, ...configEnvironment(guards(config, onFilter)) };
  return {
    ok: true,
    value: {
      folder,
      config: (key) => config.findLast(([name]) => name === key)?.[1] ?? undefined,
      git: (args, options = {}) =>
        runGit({ cwd: folder, args, ...options, env: { ...guarded, ...options.env }, signal }),
    },
  };
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

function environment(workspace: string, folder: string): Record<string, string> {
  return {
    PATH: process.env["PATH"] ?? "/usr/local/bin:/usr/bin:/bin",
    // Nothing can be put there, so nothing of a user's is found.
    HOME: "/dev/null",
    LC_ALL: "C.UTF-8",
    GIT_DIR: join(folder, ".git"),
    GIT_COMMON_DIR: join(folder, ".git"),
    GIT_WORK_TREE: folder,
    GIT_CEILING_DIRECTORIES: workspace,
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
    GIT_ASKPASS: "false",
    GIT_SSH_COMMAND: "false",
  };
}
