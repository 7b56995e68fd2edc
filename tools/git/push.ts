import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type } from "arktype";
import type { Answer } from "../shared/server-tool.ts";
import { inTemporaryFolder } from "../shared/temporary-folder.ts";
import { transferTimeoutMs } from "./clone.ts";
import { gitTool } from "./git-tool.ts";
import { branchProblem, currentBranch, readReference, shortHash } from "./references.ts";
import { findRemote, isProtected, type Remote } from "./remotes.ts";
import { openRepository, type Repository } from "./repository.ts";
import { runGit } from "./run-git.ts";

/**
 * The repository's configuration has no say in a push: it could rewrite the address (`url.*.insteadOf`), name the program
 * at the other end (`remote.*.receivepack`), turn off the check of certificates or read a file of cookies. So git is run
 * in an empty repository of our own that borrows the objects, with one commit, one branch and the address we checked.
 */
export const push = gitTool({
  name: "git_push",
  description:
    "Pushes one branch to the branch of the same name of a remote, if that only adds commits there; never " +
    "by force, never a deletion, and not to a protected branch. repo: the repository's folder in the " +
    "workspace. remote: a configured remote's name, origin unless given. branch: the current one unless " +
    "given. set_upstream: also make it the branch that the local one follows.",
  annotations: {
    title: "Git push",
    readOnlyHint: false,
    destructiveHint: false,
    idempotentHint: true,
    openWorldHint: true,
  },
  input: type({
    "+": "reject",
    repo: "string",
    remote: "string = 'origin'",
    "branch?": "string",
    set_upstream: "boolean = false",
  }),
  output: type({
    remote: "string",
    url: "string",
    branch: "string",
    commit: "string",
    /** What became of the remote's branch. */
    change: "'created' | 'updated' | 'none'",
    upstreamSet: "boolean",
  }),
  async run({ repo, remote, branch: given, set_upstream: setsUpstream }, context) {
    const { workspace, remotes, signal } = context;
    const opened = await openRepository(workspace, repo, { onFilter: "skip", signal });
    if (!opened.ok) return opened;
    const repository = opened.value;
    const branch = await chooseBranch(repository, given);
    if (!branch.ok) return branch;
    if (isProtected(remotes, branch.value)) {
      const problem = `branch "${branch.value}" is protected: nothing is pushed to it; push another branch`;
      return { ok: false, problem };
    }
    const commit = await readReference(repository, `refs/heads/${branch.value}`);
    if (commit === null) {
      return { ok: false, problem: `no branch "${branch.value}" in repository "${repo}"` };
    }
    const address = addressOf(repository, remote);
    if (!address.ok) return address;
    const target = await findRemote(address.value, context);
    if (!target.ok) return target;
    const other = await target.value.secondNameOf(branch.value);
    if (other !== null) {
      const problem = `branch "${branch.value}" of ${remote} is another name of "${other}" there: push that, if it is meant`;
      return { ok: false, problem };
    }
    const pushed = await send(repository, target.value, {
      commit,
      branch: branch.value,
      signal,
    });
    if (!pushed.ok) return pushed;
    await repository.git({
      command: ["update-ref", "-m", "push"],
      operands: [`refs/remotes/${remote}/${branch.value}`, commit],
    });
    const upstreamSet = setsUpstream && (await follow(repository, remote, branch.value));
    const structured = {
      remote,
      url: target.value.address,
      branch: branch.value,
      commit,
      change: pushed.value,
      upstreamSet,
    };
    const at = `${branch.value} at ${shortHash(commit)}`;
    const done =
      pushed.value === "none"
        ? `${remote} already has ${at}`
        : `${pushed.value === "created" ? "Created" : "Updated"} ${at} at ${remote} (${target.value.address})`;
    const missed = setsUpstream && !upstreamSet ? "; the upstream could not be set" : "";
    return { ok: true, value: { text: `${done}${missed}`, structured } };
  },
});

async function chooseBranch(repository: Repository, given?: string): Promise<Answer<string>> {
  const current =
    given === undefined ? await currentBranch(repository) : ({ ok: true, value: given } as const);
  if (!current.ok) return current;
  if (current.value === null) {
    return { ok: false, problem: "no branch is checked out: say which branch to push" };
  }
  const problem = branchProblem(current.value);
  return problem === null ? { ok: true, value: current.value } : { ok: false, problem };
}

/** The one address of a configured remote; `remote` is a name and never an address itself. */
function addressOf({ config, configAll }: Repository, remote: string): Answer<string> {
  if (!/^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$/.test(remote) || branchProblem(remote) !== null) {
    return { ok: false, problem: "remote must be the name of a configured remote, such as origin" };
  }
  const pushed = configAll(`remote.${remote}.pushurl`);
  const addresses = pushed.length > 0 ? pushed : configAll(`remote.${remote}.url`);
  const [address, another] = addresses;
  if (address === undefined) return { ok: false, problem: `no remote "${remote}" is configured` };
  if (another !== undefined) {
    return { ok: false, problem: `remote "${remote}" has several addresses: expected one` };
  }
  return config(`remote.${remote}.mirror`) === "true"
    ? { ok: false, problem: `remote "${remote}" is a mirror, which a push would overwrite` }
    : { ok: true, value: address };
}

async function send(
  repository: Repository,
  { address, env, hint, serverCommand }: Remote,
  { commit, branch, signal }: { commit: string; branch: string; signal: AbortSignal },
): Promise<Answer<"created" | "updated" | "none">> {
  return inTemporaryFolder("stateplane-git-", async (empty) => {
    await prepareEmpty(empty, repository);
    const command = serverCommand("receive-pack");
    const sent = await runGit(
      {
        command: ["push"],
        flags: [
          "--porcelain",
          "--no-verify",
          "--no-follow-tags",
          "--no-signed",
          "--recurse-submodules=no",
        ],
        values: command === null ? [] : [["--receive-pack", command]],
        paths: [address, `${commit}:refs/heads/${branch}`],
      },
      {
        cwd: empty,
        env: {
          ...env,
          GIT_DIR: empty,
          GIT_OBJECT_DIRECTORY: join(repository.gitFolder, "objects"),
        },
        timeoutMs: transferTimeoutMs,
        answers: [1],
        signal,
      },
    );
    if (!sent.ok) return { ok: false, problem: `nothing was pushed: ${sent.problem}${hint}` };
    return readPushed(sent.value, branch);
  });
}

/** A git folder with nothing of its own (gitrepository-layout(5)). */
async function prepareEmpty(folder: string, { gitFolder, config }: Repository): Promise<void> {
  const format = config("extensions.objectformat") === "sha256" ? "sha256" : "sha1";
  const extension = format === "sha1" ? "" : `[extensions]\nobjectFormat = ${format}\n`;
  const version = format === "sha1" ? 0 : 1;
  await writeFile(join(folder, "HEAD"), "ref: refs/heads/none\n");
  await writeFile(
    join(folder, "config"),
    `[core]\nrepositoryFormatVersion = ${version}\nbare = true\n${extension}`,
  );
  await mkdir(join(folder, "refs"));
  await mkdir(join(folder, "objects"));
  // Without it, a clone with a part of its history seems to lack the rest.
  await copyFile(join(gitFolder, "shallow"), join(folder, "shallow")).catch(() => undefined);
}

/** Reads `git push --porcelain`: a letter, what went where, and a summary, with tabs between. */
function readPushed(
  { stdout, said }: { stdout: string; said: string },
  branch: string,
): Answer<"created" | "updated" | "none"> {
  const [flag, , summary = ""] =
    stdout
      .split("\n")
      .map((line) => line.split("\t"))
      .find((fields) => fields.length === 3) ?? [];
  if (flag === "*") return { ok: true, value: "created" };
  if (flag === " ") return { ok: true, value: "updated" };
  if (flag === "=") return { ok: true, value: "none" };
  const reason = summary === "" ? said : summary.slice(0, 300).toWellFormed();
  return { ok: false, problem: `the remote's branch "${branch}" was not changed: ${reason}` };
}

async function follow(repository: Repository, remote: string, branch: string): Promise<boolean> {
  for (const [key, value] of [
    ["remote", remote],
    ["merge", `refs/heads/${branch}`],
  ] as const) {
    const set = await repository.git({
      command: ["config", "--local"],
      operands: [`branch.${branch}.${key}`, value],
    });
    if (!set.ok || set.value.exitCode !== 0) return false;
  }
  return true;
}
