import { delimiter } from "node:path";
import which from "which";

/** A program of the machine that Stateplane, or its tests, make use of. */
export interface Need {
  /** Any of these will do. */
  programs: readonly string[];
  what: string;
  /** Package names by package manager. */
  packages: Readonly<Record<PackageManager, string>>;
  /** Only there. */
  platform?: NodeJS.Platform;
}

export type PackageManager = "apt-get" | "brew";

export const needs: readonly Need[] = [
  {
    programs: ["redis-server", "valkey-server"],
    what: "a store with its own server; without it SQLite is used",
    packages: { "apt-get": "redis-server", brew: "redis" },
  },
  {
    programs: ["bwrap"],
    what: "the sandbox; without it util-linux's unshare is tried",
    packages: { "apt-get": "bubblewrap", brew: "" },
    platform: "linux",
  },
  {
    programs: ["git"],
    what: "the git MCP server",
    packages: { "apt-get": "git", brew: "git" },
  },
  {
    programs: ["python3"],
    what: "sandbox steps in Python",
    packages: { "apt-get": "python3", brew: "python3" },
  },
  {
    programs: ["ps"],
    what: "the tests, which look for processes left behind",
    packages: { "apt-get": "procps", brew: "" },
    platform: "linux",
  },
];

/** The needs of this platform that are not on the PATH. */
export function missingNeeds(path: string | undefined, platform: NodeJS.Platform): Need[] {
  return needs.filter(
    (need) => (need.platform ?? platform) === platform && findProgram(need.programs, path) === null,
  );
}

/** The package manager of this machine that we know how to ask. */
export function findPackageManager(path: string | undefined): PackageManager | null {
  if (findProgram(["apt-get"], path) !== null) return "apt-get";
  return findProgram(["brew"], path) === null ? null : "brew";
}

/** The command that gets these, for a person to type. */
export function installCommand(missing: readonly Need[], manager: PackageManager | null): string {
  const known = manager ?? "apt-get";
  const names = missing.map(({ packages }) => packages[known]).filter((name) => name !== "");
  return `${known} install ${names.join(" ")}`;
}

/** The first of these programs on the PATH, as a file's path; null when there is none. */
export function findProgram(names: readonly string[], path: string | undefined): string | null {
  // An empty entry means the working directory, where nobody's program should be started from by accident.
  const folders = (path ?? "").split(delimiter).filter((entry) => entry !== "");
  if (folders.length === 0) return null;
  for (const name of names) {
    const found = which.sync(name, { nothrow: true, path: folders.join(delimiter) });
    if (found !== null) return found;
  }
  return null;
}
