import { type } from "arktype";
import { gitTool } from "./git-tool.ts";
import {
  branchProblem,
  currentBranch,
  readReference,
  resolveCommit,
  shortHash,
} from "./references.ts";
import { isProtected } from "./remotes.ts";
import { openRepository, type Repository } from "./repository.ts";
import type { Answer } from "../shared/server-tool.ts";

export const branch = gitTool({
  name: "git_branch",
  description:
    "Lists the branches of a repository, those of its remotes too; with a name, creates that branch at the " +
    "current commit, without switching to it; with delete: true, deletes it if it is merged into the " +
    "current branch. repo: the repository's folder in the workspace.",
  annotations: {
    title: "Git branch",
    readOnlyHint: false,
    destructiveHint: true,
    idempotentHint: false,
    openWorldHint: false,
  },
  input: type({ "+": "reject", repo: "string", "name?": "string", delete: "boolean = false" }),
  output: type({
    change: "'none' | 'created' | 'deleted'",
    current: "string | null",
    branches: type({ name: "string", commit: "string", remote: "boolean" }).array(),
    truncated: "boolean",
  }),
  async run({ repo, name, delete: deletes }, { workspace, remotes, signal }) {
    const opened = await openRepository(workspace, repo, { onFilter: "skip", signal });
    if (!opened.ok) return opened;
    const repository = opened.value;
    const current = await currentBranch(repository);
    if (!current.ok) return current;
    if (name === undefined && deletes) {
      return { ok: false, problem: "name must say which branch to delete" };
    }
    let change: "none" | "created" | "deleted" = "none";
    let text = "";
    if (name !== undefined) {
      const problem = branchProblem(name);
      if (problem !== null) return { ok: false, problem };
      if (deletes && isProtected(remotes, name)) {
        return { ok: false, problem: `branch "${name}" is protected, and is not deleted` };
      }
      const done = deletes
        ? await remove(repository, name, current.value)
        : await create(repository, name);
      if (!done.ok) return done;
      change = deletes ? "deleted" : "created";
      text = `${deletes ? "Deleted" : "Created"} branch ${name} at ${shortHash(done.value)}`;
    }
    const listed = await list(repository);
    if (!listed.ok) return listed;
    const lines = listed.value.branches.map(({ name: one, commit, remote }) => {
      const mark = !remote && one === current.value ? "*" : " ";
      return `${mark} ${remote ? "remotes/" : ""}${one} ${shortHash(commit)}`;
    });
    if (listed.value.truncated) lines.push("[cut off: there are more branches]");
    const structured = { change, current: current.value, ...listed.value };
    return { ok: true, value: { text: text || lines.join("\n") || "No branches yet", structured } };
  },
});

async function list({ git }: Repository) {
  const listed = await git({
    command: ["for-each-ref"],
    flags: ["--format=%(objectname) %(refname)", "--sort=refname"],
    operands: ["refs/heads/", "refs/remotes/"],
  });
  if (!listed.ok) return listed;
  const { stdout, truncated } = listed.value;
  const lines = stdout.split("\n").slice(0, -1);
  const branches = lines.flatMap((line) => {
    const [commit = "", kind, name = ""] =
      /^(\S+) refs\/(heads|remotes)\/(.*)$/s.exec(line)?.slice(1) ?? [];
    return name === "" ? [] : [{ name, commit, remote: kind === "remotes" }];
  });
  return { ok: true, value: { branches, truncated } } as const;
}

async function create(repository: Repository, name: string): Promise<Answer<string>> {
  const head = await resolveCommit(repository, "HEAD");
  if (!head.ok) return head;
  if (head.value === null) return { ok: false, problem: "there is no commit yet to branch from" };
  const made = await repository.git({
    command: ["branch"],
    flags: ["--no-track", "--no-recurse-submodules"],
    operands: [name, head.value],
  });
  return made.ok ? { ok: true, value: head.value } : made;
}

/** Merged means into the current branch, whatever upstream the repository configures. */
async function remove(
  repository: Repository,
  name: string,
  current: string | null,
): Promise<Answer<string>> {
  const tip = await readReference(repository, `refs/heads/${name}`);
  if (tip === null) return { ok: false, problem: `there is no branch "${name}"` };
  if (name === current) return { ok: false, problem: `branch "${name}" is the current one` };
  const merged = await repository.git({
    command: ["merge-base"],
    flags: ["--is-ancestor"],
    operands: [tip, "HEAD"],
  });
  if (!merged.ok) return merged;
  if (merged.value.exitCode !== 0) {
    return { ok: false, problem: `branch "${name}" has commits that the current branch lacks` };
  }
  const removed = await repository.git({ command: ["branch"], flags: ["-D"], operands: [name] });
  return removed.ok ? { ok: true, value: tip } : removed;
}
