import { type } from "arktype";
import { checkPath } from "../shared/check-path.ts";
import { patchFlags } from "./diff.ts";
import { gitTool } from "./git-tool.ts";
import { commitFlags } from "./log.ts";
import { resolveCommit } from "./references.ts";
import { openRepository } from "./repository.ts";

/** Hash, parents, author, date, message; a NUL after each. */
const format = "--format=tformat:%H%x00%P%x00%an <%ae>%x00%aI%x00%B%x00";

export const show = gitTool({
  name: "git_show",
  description:
    "One commit: its author, date and message, and what it changed. repo: the repository's folder in the " +
    "workspace. revision: a branch, tag or commit, HEAD unless given. file: what it changed in one file or " +
    "folder, relative to the repository.",
  annotations: {
    title: "Git show",
    readOnlyHint: true,
    destructiveHint: false,
    idempotentHint: true,
    openWorldHint: false,
  },
  input: type({ "+": "reject", repo: "string", revision: "string = 'HEAD'", "file?": "string" }),
  output: type({
    hash: "string",
    parents: "string[]",
    author: "string",
    date: "string",
    message: "string",
    diff: "string",
    truncated: "boolean",
  }),
  async run({ repo, revision, file }, { workspace, signal }) {
    const opened = await openRepository(workspace, repo, { onFilter: "skip", signal });
    if (!opened.ok) return opened;
    const path = file === undefined ? null : await checkPath(opened.value.folder, file);
    if (path !== null && !path.ok) return path;
    const commit = await resolveCommit(opened.value, revision);
    if (!commit.ok) return commit;
    if (commit.value === null) return { ok: false, problem: "there are no commits yet" };
    const about = await opened.value.git({
      command: ["show"],
      flags: ["--no-patch", ...commitFlags, format],
      operands: [commit.value],
      paths: [],
    });
    if (!about.ok) return about;
    const [hash = "", parents = "", author = "", date = "", message = ""] =
      about.value.stdout.split("\0");
    const patch = await opened.value.git({
      command: ["show"],
      flags: ["--format=", ...commitFlags, ...patchFlags, "--ignore-submodules=none"],
      operands: [commit.value],
      paths: path === null ? [] : [path.value],
    });
    if (!patch.ok) return patch;
    const { stdout: diff } = patch.value;
    const truncated = patch.value.truncated || about.value.truncated;
    const structured = {
      hash,
      parents: parents.split(" ").filter(Boolean),
      author,
      date,
      message: message.trimEnd(),
      diff,
      truncated,
    };
    const head = `commit ${hash}\nAuthor: ${author}\nDate:   ${date}\n\n${structured.message}\n`;
    const end = truncated ? "\n[cut off: the commit goes on]" : "";
    return { ok: true, value: { text: `${head}\n${diff}${end}`, structured } };
  },
});
