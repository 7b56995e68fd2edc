import { mkdirSync, rmdirSync } from "node:fs";
import { lstat, readdir, readlink, realpath } from "node:fs/promises";
import { basename, join } from "node:path";
import { exactText, shownBytes, someOf, toBytes } from "../shared/bytes.ts";
import { isInside } from "../shared/check-path.ts";
import type { HeldPaths } from "../shared/held-paths.ts";
import type { Answer } from "../shared/server-tool.ts";
import { systemProblem } from "../shared/temporary-folder.ts";
import { foldersUp, type Project } from "./project.ts";

/**
 * What runs later, outside of the sandbox, and nobody reviews: git folders, whose configuration names programs; the
 * programs of node_modules and of virtual environments. A project's tests find them read-only, wherever in the project
 * they are, and none that a run made stays there.
 */
const guardedNames = new Set([".git", "node_modules", ".venv", "venv"]);
/** Where the project's folder is a virtual environment itself, what of it runs. */
const environmentParts = new Set(["bin", "lib", "lib64", "pyvenv.cfg"]);

/** Of a project's folders, how many files and folders are looked at. */
const entryLimit = 500_000;

/** What git takes for a repository's folder or a worktree's, whatever its name (gitrepository-layout(5)). */
function isGitFolder(names: ReadonlySet<string>): boolean {
  if (!names.has("HEAD")) return false;
  return names.has("commondir") || (names.has("objects") && names.has("refs"));
}

/** A path that holds such a thing: bytes, a character each, relative to the project. */
export interface Guarded {
  path: string;
  /** What it is, so that it is known again under another name: a folder above it may be moved. */
  identity: string;
  isLink: boolean;
}

/**
 * Finds them in a project; nothing below one of them is looked at.
 *
 * @param top - leads to the project
 * @param folder - its real path
 */
async function findGuarded(top: string, folder: string): Promise<Answer<Guarded[]>> {
  const found = new Map<string, Guarded>();
  const take = async (path: string): Promise<void> => {
    const at = bytesOf(join(top, path));
    const stat = await lstat(at, { bigint: true }).catch(() => null);
    if (stat === null) return;
    const isLink = stat.isSymbolicLink();
    const text = isLink ? await readlink(at, "latin1").catch(() => "") : "";
    const identity = isLink ? `${path} -> ${text}` : `${stat.dev}:${stat.ino}:${stat.mode >> 12n}`;
    found.set(path, { path, identity, isLink });
    if (!isLink) return;
    // What it leads to is as good as itself.
    const target = (await realpath(at, "latin1").catch(() => "")) || "";
    const real = toBytes(folder);
    if (isInside(real, target) && target !== real) await take(target.slice(real.length + 1));
  };
  const folders = [""];
  let seen = 0;
  for (let at = folders.pop(); at !== undefined; at = folders.pop()) {
    const options = { encoding: "buffer", withFileTypes: true } as const;
    const entries = await readdir(bytesOf(join(top, at)), options).catch(() => []);
    seen += entries.length;
    if (seen > entryLimit) {
      const problem =
        `the project has more than ${entryLimit} files and folders, too many to look through for what its tests must ` +
        "not write: name a folder in it";
      return { ok: false, problem };
    }
    const named = entries.map((entry) => ({ entry, name: entry.name.toString("latin1") }));
    const names = new Set(named.map(({ name }) => name));
    const isEnvironment = names.has("pyvenv.cfg");
    if (at !== "" && (isEnvironment || isGitFolder(names))) {
      await take(at);
      continue;
    }
    for (const { entry, name } of named) {
      const path = at === "" ? name : `${at}/${name}`;
      const isPart = isEnvironment && environmentParts.has(name);
      if (isPart || guardedNames.has(name.toLowerCase())) await take(path);
      else if (entry.isDirectory()) folders.push(path);
    }
  }
  return { ok: true, value: [...found.values()] };
}

/** Those that a run has made or put in another's place. */
function planted(before: readonly Guarded[], after: readonly Guarded[]): Guarded[] {
  const known = new Set(before.map(({ identity }) => identity));
  return after.filter(({ identity }) => !known.has(identity));
}

/** The folder on the way to a project in which no tests may write, the project's own included; null where there is none. */
async function guardedAbove({
  root,
  folder,
}: Pick<Project, "root" | "folder">): Promise<string | null> {
  for (const at of foldersUp({ root, folder })) {
    const names = new Set(await readdir(at).catch(() => []));
    const isNamed = at !== root && guardedNames.has(basename(at).toLowerCase());
    const isOthers = at !== folder && names.has("pyvenv.cfg");
    if (isNamed || isOthers || isGitFolder(names)) return at;
  }
  return null;
}

const bytesOf = (path: string): Buffer => Buffer.from(path, "latin1");

/** How a run writes, and what it must not; see `boxWords`. */
export interface Writable {
  /** The project's own folder as it is held. */
  top: number;
  guarded: readonly Guarded[];
  /** Whether an empty folder lies in the place of a `.git` that the project does not have. */
  isGitPlaceTaken: boolean;
}

/**
 * Runs `work` in a project with what is guarded there read-only, and removes what the run has made of that kind. The one
 * place that programs look at unasked, `.git` of the project itself, is taken beforehand, so that nothing appears there
 * even for a while.
 *
 * @param remove - removes paths (bytes, relative to the project) where nothing else of this machine can be reached, and
 *   what is guarded cannot be written
 * @returns what was removed
 */
export async function keepGuarded<T>(
  project: Project,
  held: HeldPaths,
  work: (writable: Writable) => Promise<Answer<T>>,
  remove: (paths: readonly string[], kept: readonly Guarded[]) => Promise<Answer<unknown>>,
): Promise<Answer<{ value: T; removed: string[] }>> {
  const { root, folder } = project;
  const above = await guardedAbove({ root, folder });
  if (above !== null) {
    const problem = `nothing may write in ${above}: what is there runs later outside of the sandbox, and nobody reviews it`;
    return { ok: false, problem };
  }
  const top = held.hold(folder);
  const before = await findGuarded(held.pathOf(top), folder);
  if (!before.ok) return before;
  const guarded = before.value;
  const odd = guarded.find(({ path }) => exactText(path) === null);
  if (odd !== undefined) {
    const problem = `${shownBytes(odd.path)} can't be kept from the project's tests: its name is not UTF-8`;
    return { ok: false, problem };
  }
  const git = join(held.pathOf(top), ".git");
  const isGitPlaceTaken =
    !guarded.some(({ path }) => path === ".git") && tryTo(() => mkdirSync(git));
  const done = await work({ top, guarded, isGitPlaceTaken });
  if (isGitPlaceTaken) tryTo(() => rmdirSync(git));
  const after = await findGuarded(held.pathOf(top), folder);
  const added = after.ok ? planted(guarded, after.value) : [];
  const made = added.map(({ path }) => path);
  const kept = after.ok ? after.value.filter((one) => !added.includes(one)) : [];
  const removed = made.length === 0 ? after : await remove(made, kept);
  const now = made.length === 0 ? after : await findGuarded(held.pathOf(top), folder);
  const left = now.ok ? planted(guarded, now.value) : [];
  if (!removed.ok || !now.ok || left.length > 0) {
    const what =
      left.length > 0 ? someOf(left.map(({ path }) => shownBytes(path))) : "what it made";
    const why = removed.ok ? (now.ok ? "" : `: ${now.problem}`) : `: ${removed.problem}`;
    const problem =
      `the run may have left programs that run outside of the sandbox, and they could not be removed (${what})${why}; ` +
      "remove them before anything else is done in this project";
    return { ok: false, problem };
  }
  return done.ok ? { ok: true, value: { value: done.value, removed: made.map(shownBytes) } } : done;
}

/** Whether it was done; the system may refuse, which is all the same here. */
function tryTo(act: () => void): boolean {
  try {
    act();
    return true;
  } catch (error) {
    systemProblem(error);
    return false;
  }
}
