import { execFile } from "node:child_process";
import { copyFile, cp, mkdir, readdir, realpath, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { cutText } from "../machines/contracts/domain/text.ts";
import type { EvalTask, Observation } from "./contracts.ts";
import { linkProblem } from "./within.ts";

/*
 * The folder of one trial. It is a git repository with a remote of its own, so that an agent can branch, commit and push.
 * What changed in it is seen by a second repository, outside of it, that the agent does not know: neither its commits nor
 * its git configuration, hooks or attributes change what is seen, and nothing that it left there is run.
 */

const run = promisify(execFile);
const largestDiff = 1024 * 1024;
const mostBytes = 64 * 1024 * 1024;

export interface TrialFolder {
  /** Absolute. */
  folder: string;
  /** Its name in the workspace: what tools with the workspace as their root call it by. */
  name: string;
  /** What changed since it was made ready. */
  look(): Promise<Pick<Observation, "files" | "diff">>;
  remove(): Promise<void>;
}

/** Where a task's fixture is: beside its dataset. */
export const fixtureOf = ({ fixture, from }: EvalTask): string | null =>
  fixture === undefined ? null : resolve(dirname(from.file), fixture);

/** Where folders of trials are made. */
export interface Workplace {
  /** The root of the agent's tools. */
  workspace: string;
  /** Outside of it. */
  unseen: string;
}

/** Makes a fixture ready, a folder or a git bundle. @throws Error that says what is wrong with it */
export async function prepareFolder(
  fixture: string,
  { workspace, unseen }: Workplace,
  name: string,
): Promise<TrialFolder> {
  const folder = join(workspace, name);
  const remote = join(workspace, `${name}.remote.git`);
  const hidden = join(unseen, name);
  const remove = async () => {
    for (const path of [folder, remote, hidden]) await rm(path, { recursive: true, force: true });
  };
  await remove();
  await mkdir(workspace, { recursive: true });
  const isBundle = (await stat(fixture)).isFile();
  if (isBundle) await cloneBundle(fixture, workspace, folder);
  else await cp(fixture, folder, { recursive: true, verbatimSymlinks: true });
  const leads = await linkProblem(folder);
  if (leads !== null) throw new Error(`${fixture}: ${leads}`);
  if ((await stat(join(folder, ".git")).catch(() => null)) === null) await commitAll(folder);
  await ownRepository(folder, fixture);
  await git(folder, "config", "user.name", "Eval");
  await git(folder, "config", "user.email", "eval@example.com");
  await git(workspace, "clone", "--quiet", "--bare", folder, remote);
  await git(folder, "remote", "remove", "origin").catch(() => {});
  await git(folder, "remote", "add", "origin", remote);
  const look = await watchFolder(folder, hidden);
  return { folder, name, remove, look };
}

/** What follows changes the settings and remotes of the repository that git finds here. @throws where it is another's */
async function ownRepository(folder: string, fixture: string): Promise<void> {
  const asked = ["--absolute-git-dir", "--show-toplevel"];
  const found = await git(folder, "rev-parse", ...asked).catch(() => "");
  const real = await realpath(folder);
  const [own, tree] = found.trim().split("\n");
  if (own === join(real, ".git") && tree === real) return;
  throw new Error(`${fixture}: its .git is not a repository of its own, with its files beside it`);
}

/**
 * Remembers what is in a folder, in a repository of our own. Which files are seen is for the fixture's rules to say alone:
 * what an agent has git ignore is seen, and so is what it puts into a repository within, and as its bytes stand there.
 */
async function watchFolder(folder: string, hidden: string): Promise<TrialFolder["look"]> {
  const rules = join(hidden, "rules");
  await mkdir(rules, { recursive: true });
  const inTree = (tree: string) => [`--git-dir=${hidden}`, `--work-tree=${tree}`];
  const seen = (...args: string[]) => git(folder, ...inTree(folder), ...args);
  await git(hidden, "init", "--quiet", "--bare", hidden);
  await mkdir(join(hidden, "info"), { recursive: true });
  const asTheyAre = "* -text !eol -ident !filter !working-tree-encoding !diff\n";
  await writeFile(join(hidden, "info", "attributes"), asTheyAre);
  await seen("add", "--all");
  await seen(...author, "commit", "--quiet", "--allow-empty", "--message", "Before");
  for (const path of (await seen("ls-files", "-z", "--", ":(glob)**/.gitignore")).split("\0")) {
    if (path === "") continue;
    await mkdir(dirname(join(rules, path)), { recursive: true });
    await copyFile(join(folder, path), join(rules, path)).catch(() => {});
  }
  const update = ["update-index", "--add", "--remove", "--replace", "-z", "--stdin"];
  const check = ["check-ignore", "--no-index", "-z", "--stdin"];
  const plain = ["diff", "--cached", "--no-ext-diff", "--no-textconv", "--no-renames"];
  return async () => {
    const known = (await seen("ls-files", "-z")).split("\0").filter((path) => path !== "");
    const found = await filesIn(folder);
    // Exit code 1 says that none is ignored.
    const ignored = await gitWith(found, rules, ...inTree(rules), ...check).catch(
      (error: { code?: unknown }) => {
        if (error.code === 1) return "";
        throw error;
      },
    );
    const left = new Set(ignored.split("\0"));
    const all = new Set([...known, ...found.filter((path) => !left.has(path))]);
    await gitWith([...all], folder, ...inTree(folder), ...update);
    const names = await seen(...plain, "--name-status", "-z", "HEAD");
    const diff = await seen(...plain, "HEAD");
    return { files: readNames(names), diff: cutText(diff, largestDiff) };
  };
}

/** Files and links, but for what is git's own, at any depth. */
async function filesIn(folder: string, within = ""): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(join(folder, within), { withFileTypes: true })) {
    if (entry.name === ".git") continue;
    const path = within === "" ? entry.name : `${within}/${entry.name}`;
    if (entry.isDirectory()) found.push(...(await filesIn(folder, path)));
    else if (entry.isFile() || entry.isSymbolicLink()) found.push(path);
  }
  return found;
}

/** A bundle of branches alone says nothing of which one is meant: its first is. */
async function cloneBundle(bundle: string, workspace: string, folder: string): Promise<void> {
  await git(workspace, "clone", "--quiet", bundle, folder);
  const has = await git(folder, "rev-parse", "--quiet", "--verify", "HEAD").catch(() => null);
  if (has !== null) return;
  const names = await git(folder, "for-each-ref", "--format=%(refname:lstrip=3)", "refs/remotes");
  const [first = ""] = names.split("\n");
  if (first === "") throw new Error(`${bundle} holds no branch: expected a git bundle of one`);
  await git(folder, "checkout", "--quiet", "-B", first, `refs/remotes/origin/${first}`);
}

const author = ["-c", "user.name=Eval", "-c", "user.email=eval@example.com"];

async function commitAll(folder: string): Promise<void> {
  await git(folder, "init", "--quiet", "--initial-branch=main");
  await git(folder, "add", "--all");
  await git(folder, ...author, "commit", "--quiet", "--allow-empty", "--message", "Begin");
}

const git = (folder: string, ...args: string[]): Promise<string> => gitWith([], folder, ...args);

/** @param paths what it reads, each ended by a zero */
async function gitWith(
  paths: readonly string[],
  folder: string,
  ...args: string[]
): Promise<string> {
  const env = {
    PATH: process.env["PATH"] ?? "",
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_TERMINAL_PROMPT: "0",
    LC_ALL: "C",
  };
  const safe = ["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0"];
  const options = { cwd: folder, env, maxBuffer: mostBytes, timeout: 120_000 };
  const running = run("git", [...safe, ...args], options);
  // Where git ends before it has read all, its exit says why.
  running.child.stdin?.on("error", () => {});
  running.child.stdin?.end(paths.map((path) => `${path}\0`).join(""));
  return (await running).stdout;
}

/** Pairs of a letter and a path, each ended by a zero. */
function readNames(text: string): NonNullable<Observation["files"]> {
  const parts = text.split("\0");
  const files = { changed: [] as string[], created: [] as string[], deleted: [] as string[] };
  for (let at = 0; at + 1 < parts.length; at += 2) {
    const path = parts[at + 1] ?? "";
    if (parts[at] === "A") files.created.push(path);
    else if (parts[at] === "D") files.deleted.push(path);
    else files.changed.push(path);
  }
  return files;
}
