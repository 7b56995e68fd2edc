import type { Answer } from "../shared/server-tool.ts";
import type { Repository } from "./repository.ts";

/**
 * Why a name can't be a branch's, or null. The rules of git-check-ref-format(1), and two of ours: no leading dash
 * anywhere a shell or an option parser might look, and nothing that git gives a meaning of its own.
 */
export function branchProblem(name: string): string | null {
  const said = JSON.stringify(name.slice(0, 100).toWellFormed());
  const parts = name.split("/");
  const isName =
    name.length <= 200 &&
    name.isWellFormed() &&
    !/[\p{Cc} ~^:?*[\\]|\.\.|@\{/u.test(name) &&
    parts.every((part) => part !== "" && !/^[.-]|\.$|\.lock$/.test(part)) &&
    !/^(?:@|HEAD)$/i.test(name) &&
    !name.startsWith("refs/");
  return isName ? null : `${said} can't be the name of a branch`;
}

/**
 * The commit that a revision names, or null for the `HEAD` of a repository without commits. What a caller gives is
 * looked up here alone: everywhere else git gets the hash.
 */
export async function resolveCommit(
  { git }: Repository,
  revision: string,
): Promise<Answer<string | null>> {
  const said = JSON.stringify(revision.slice(0, 100).toWellFormed());
  if (!/^[\p{L}\p{N}_.@][\p{L}\p{N}_.@/{}^~+=#%-]*$/u.test(revision) || revision.length > 300) {
    return { ok: false, problem: `${said} is not a branch, tag or commit` };
  }
  const found = await git({
    command: ["rev-parse"],
    flags: ["--verify", "--quiet"],
    operands: [`${revision}^{commit}`],
  });
  if (!found.ok) return { ok: false, problem: `${said} is not a branch, tag or commit` };
  const hash = found.value.stdout.trim();
  if (found.value.exitCode === 0 && /^[0-9a-f]{40,64}$/.test(hash)) {
    return { ok: true, value: hash };
  }
  return revision === "HEAD"
    ? { ok: true, value: null }
    : { ok: false, problem: `${said} is not a branch, tag or commit of this repository` };
}

/**
 * The commit of a reference by its full name, or null where there is none of exactly that name: what looks revisions up
 * would also take a tag called `refs/heads/main` for it.
 */
export async function readReference(
  { git }: Repository,
  name: `refs/${string}`,
): Promise<string | null> {
  const found = await git({
    command: ["show-ref"],
    flags: ["--verify", "--hash"],
    operands: [name],
  });
  const hash = found.ok && found.value.exitCode === 0 ? found.value.stdout.trim() : "";
  return /^[0-9a-f]{40,64}$/.test(hash) ? hash : null;
}

/** The branch that another is a second name of (a symbolic reference), or null. */
export async function secondNameOf({ git }: Repository, branch: string): Promise<string | null> {
  const found = await git({
    command: ["symbolic-ref"],
    flags: ["--quiet"],
    operands: [`refs/heads/${branch}`],
  });
  const target = found.ok && found.value.exitCode === 0 ? found.value.stdout.trim() : "";
  return target === "" ? null : target.replace(/^refs\/heads\//, "");
}

/** The branch that `HEAD` is on, born or not; null where it is detached. */
export async function currentBranch({ git }: Repository): Promise<Answer<string | null>> {
  const head = await git({
    command: ["symbolic-ref"],
    flags: ["--quiet"],
    operands: ["HEAD"],
  });
  if (!head.ok) return head;
  const name = head.value.stdout.trim();
  const isBranch = head.value.exitCode === 0 && name.startsWith("refs/heads/");
  return { ok: true, value: isBranch ? name.slice("refs/heads/".length) : null };
}

/** As much of a hash as a person reads. */
export const shortHash = (hash: string): string => hash.slice(0, 10);
