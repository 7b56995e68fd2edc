import { type } from "arktype";
import { gitTool } from "./git-tool.ts";
import {
  branchProblem,
  currentBranch,
  readReference,
  resolveCommit,
  shortHash,
} from "./references.ts";
import { openRepository } from "./repository.ts";

export const checkout = gitTool({
  name: "git_checkout",
  description:
    "Switches a repository's working tree to another branch; refused where that would overwrite a changed " +
    "or ignored file. repo: its folder in the workspace. branch: a local branch. create: make it first, at " +
    "the current commit, or at `from`: a branch such as origin/feature, a tag or a commit.",
  annotations: {
    title: "Git checkout",
    readOnlyHint: false,
    destructiveHint: false,
    idempotentHint: false,
    openWorldHint: false,
  },
  input: type({
    "+": "reject",
    repo: "string",
    branch: "string",
    create: "boolean = false",
    "from?": "string",
  }),
  output: type({ branch: "string", commit: "string | null", created: "boolean" }),
  async run({ repo, branch, create, from }, { workspace, signal }) {
    const problem = branchProblem(branch);
    if (problem !== null) return { ok: false, problem };
    if (from !== undefined && !create) {
      return { ok: false, problem: "from says where a new branch begins: give create: true too" };
    }
    const opened = await openRepository(workspace, repo, { onFilter: "skip", signal });
    if (!opened.ok) return opened;
    const repository = opened.value;
    const there = await readReference(repository, `refs/heads/${branch}`);
    if (!create && there === null) {
      const remote = await readReference(repository, `refs/remotes/origin/${branch}`);
      const hint =
        remote === null ? "" : `; to begin it from origin's: create: true, from: origin/${branch}`;
      return { ok: false, problem: `there is no branch "${branch}"${hint}` };
    }
    if (create && there !== null)
      return { ok: false, problem: `there is a branch "${branch}" already` };
    const start = from === undefined ? null : await resolveCommit(repository, from);
    if (start !== null && !start.ok) return start;
    const switched = await repository.git({
      command: ["switch"],
      flags: [
        "--quiet",
        "--no-guess",
        ...(create ? (["--no-track"] as const) : []),
        "--no-recurse-submodules",
        "--no-overwrite-ignore",
      ],
      // Not every git takes the word here; neither a branch's name nor a hash looks like an option.
      endOfOptions: false,
      ...(create
        ? { values: [["--create", branch]], operands: start?.value ? [start.value] : [] }
        : { operands: [branch] }),
    });
    if (!switched.ok) return { ok: false, problem: `nothing was switched: ${switched.problem}` };
    const now = await currentBranch(repository);
    if (!now.ok) return now;
    const commit = await resolveCommit(repository, "HEAD");
    if (!commit.ok) return commit;
    if (now.value !== branch) {
      return { ok: false, problem: `git is on ${now.value ?? "no branch"}, not on "${branch}"` };
    }
    const at = commit.value === null ? "without commits yet" : `at ${shortHash(commit.value)}`;
    const text = `${create ? "Created and switched" : "Switched"} to ${branch}, ${at}`;
    const structured = { branch, commit: commit.value, created: create };
    return { ok: true, value: { text, structured } };
  },
});
