import { type } from "arktype";
import { gitTool } from "./git-tool.ts";
import { readStatus } from "./read-status.ts";
import { stagedSubmodules } from "./submodules.ts";
import { openRepository } from "./repository.ts";

export const status = gitTool({
  name: "git_status",
  description:
    "Which files of a repository are changed, staged, untracked or in conflict. repo: its folder in the " +
    "workspace. A file's state is two letters, index then working tree: M modified, A added, D deleted, " +
    "R renamed, C copied, T type changed, U unmerged, . unchanged, ?? untracked. Bytes of a name that are " +
    "not UTF-8 are shown as \\xNN. Submodules are not looked into: one is listed where its commit is staged.",
  annotations: {
    title: "Git status",
    readOnlyHint: true,
    destructiveHint: false,
    idempotentHint: true,
    openWorldHint: false,
  },
  input: type({ "+": "reject", repo: "string" }),
  output: type({
    branch: "string | null",
    clean: "boolean",
    files: type({ path: "string", state: "string", "from?": "string" }).array(),
    truncated: "boolean",
  }),
  async run({ repo }, { workspace, signal }) {
    const opened = await openRepository(workspace, repo, { onFilter: "skip", signal });
    if (!opened.ok) return opened;
    const listed = await opened.value.git({
      command: ["status"],
      flags: [
        "--porcelain=v2",
        "--branch",
        "--null",
        "--untracked-files=all",
        "--ignore-submodules=all",
      ],
      paths: [],
    });
    if (!listed.ok) return listed;
    const { truncated } = listed.value;
    const { branch, files: plain } = readStatus(listed.value.stdout);
    const submodules = await stagedSubmodules(opened.value);
    if (!submodules.ok) return submodules;
    const files = [...plain, ...submodules.value];
    const clean = files.length === 0 && !truncated;
    const lines = files.map(({ path, state }) => `${state} ${path}`);
    if (truncated) lines.push("[cut off: there are more files]");
    const text = clean ? "Working tree clean" : lines.join("\n");
    return { ok: true, value: { text, structured: { branch, clean, files, truncated } } };
  },
});
