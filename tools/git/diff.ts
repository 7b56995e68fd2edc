import { type } from "arktype";
import { checkPath } from "../shared/check-path.ts";
import { gitTool } from "./git-tool.ts";
import { openRepository } from "./repository.ts";

/** A patch as git makes it by itself, with no program of the repository's choosing and the usual prefixes. */
export const patchFlags = [
  "--no-color",
  "--no-ext-diff",
  "--no-textconv",
  "--submodule=short",
  "--src-prefix=a/",
  "--dst-prefix=b/",
] as const;

export const diff = gitTool({
  name: "git_diff",
  description:
    "The changes in a repository's working tree that are not staged, or those that are (staged: true). " +
    "repo: its folder in the workspace. file: one file or folder, relative to the repository. " +
    "Submodules are not looked into: a commit of one is shown where it is staged.",
  annotations: {
    title: "Git diff",
    readOnlyHint: true,
    destructiveHint: false,
    idempotentHint: true,
    openWorldHint: false,
  },
  input: type({ "+": "reject", repo: "string", staged: "boolean = false", "file?": "string" }),
  output: type({ diff: "string", truncated: "boolean" }),
  async run({ repo, staged, file }, { workspace, signal }) {
    const opened = await openRepository(workspace, repo, { onFilter: "skip", signal });
    if (!opened.ok) return opened;
    const path = file === undefined ? null : await checkPath(opened.value.folder, file);
    if (path !== null && !path.ok) return path;
    const compared = await opened.value.git({
      command: ["diff"],
      flags: [
        ...patchFlags,
        // Of what is staged, the commit of a submodule is told; into a submodule's own folder nobody looks.
        ...(staged
          ? (["--cached", "--ignore-submodules=none"] as const)
          : (["--ignore-submodules=all"] as const)),
      ],
      paths: path === null ? [] : [path.value],
    });
    if (!compared.ok) return compared;
    const { stdout, truncated } = compared.value;
    const text = truncated ? `${stdout}\n[cut off: the diff goes on]` : stdout || "No changes";
    return { ok: true, value: { text, structured: { diff: stdout, truncated } } };
  },
});
