import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { type } from "arktype";
import { nameProblem } from "./find-repository.ts";
import { gitTool } from "./git-tool.ts";
import { branchProblem, currentBranch, resolveCommit, shortHash } from "./references.ts";
import { findRemote } from "./remotes.ts";
import { openRepository } from "./repository.ts";
import { runGit } from "./run-git.ts";

/** Milliseconds that a transfer over the network may take. */
export const transferTimeoutMs = 10 * 60_000;

export const clone = gitTool({
  name: "git_clone",
  description:
    "Clones a repository into a new folder of the workspace. url: an https address of an allowed host, or " +
    "the name of another repository in the workspace. branch: the branch to check out, the remote's own " +
    "unless given. name: the new folder's name, the address's last part unless given. Submodules are not " +
    "cloned, and files in Git LFS stay the pointers that they are in git.",
  annotations: {
    title: "Git clone",
    readOnlyHint: false,
    destructiveHint: false,
    idempotentHint: false,
    openWorldHint: true,
  },
  input: type({ "+": "reject", url: "string <= 2000", "branch?": "string", "name?": "string" }),
  output: type({
    repo: "string",
    url: "string",
    branch: "string | null",
    commit: "string | null",
  }),
  async run({ url, branch, name }, context) {
    const { workspace, signal } = context;
    const wrong = branch === undefined ? null : branchProblem(branch);
    if (wrong !== null) return { ok: false, problem: wrong };
    const remote = await findRemote(url, context);
    if (!remote.ok) return remote;
    const { address, env, hint } = remote.value;
    const repo = name ?? /([^/]*?)(?:\/?\.git)?\/*$/.exec(address)?.[1] ?? "";
    const problem = nameProblem(repo);
    if (problem !== null) return { ok: false, problem: problem.replace("repo", "name") };
    const folder = join(workspace, repo);
    const serverCommand = remote.value.serverCommand("upload-pack");
    try {
      // From here on it is ours to remove, should anything fail.
      await mkdir(folder);
    } catch {
      return { ok: false, problem: `"${repo}" is there already` };
    }
    const cloned = await runGit(
      {
        command: ["clone"],
        flags: ["--quiet", "--no-local", "--no-recurse-submodules", "--template="],
        values: [
          ["--origin", "origin"],
          ...(branch === undefined ? [] : ([["--branch", branch]] as const)),
          ...(serverCommand === null ? [] : ([["--upload-pack", serverCommand]] as const)),
        ],
        paths: [address, folder],
      },
      { cwd: workspace, env, timeoutMs: transferTimeoutMs, signal },
    );
    if (!cloned.ok) {
      await rm(folder, { recursive: true, force: true });
      return { ok: false, problem: `nothing was cloned: ${cloned.problem}${hint}` };
    }
    const opened = await openRepository(workspace, repo, { onFilter: "skip", signal });
    if (!opened.ok) return opened;
    const head = await currentBranch(opened.value);
    if (!head.ok) return head;
    const commit = await resolveCommit(opened.value, "HEAD");
    if (!commit.ok) return commit;
    const at = commit.value === null ? "it has no commits" : `at ${shortHash(commit.value)}`;
    const text = `Cloned ${address} into ${repo}: ${head.value ?? "no branch"}, ${at}`;
    const structured = { repo, url: address, branch: head.value, commit: commit.value };
    return { ok: true, value: { text, structured } };
  },
});
