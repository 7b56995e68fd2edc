import { type } from "arktype";
import { shownBytes, someOf, toBytes } from "../shared/bytes.ts";
import { checkPath } from "../shared/check-path.ts";
import type { CommandLine } from "../shared/command-line.ts";
import { gitTool } from "./git-tool.ts";
import { openRepository } from "./repository.ts";
import { submodulesIn } from "./submodules.ts";

/** Bytes of file names staged in one call. */
const listLimit = 16 * 1_048_576;

/**
 * Built on `ls-files` and `update-index`, because `git add` runs `git status` inside submodules, under
 * whatever filters their own configuration names.
 */
export const add = gitTool({
  name: "git_add",
  description:
    "Stages files for the next commit, deletions too. repo: the repository's folder in the workspace. " +
    "files: files or folders, relative to the repository; `.` for all. Ignored files are not staged, and " +
    "files that need a filter (Git LFS, say) are refused. A file whose name is not UTF-8 is staged by its " +
    "folder; such bytes are shown as \\xNN. Submodules are not staged.",
  annotations: {
    title: "Git add",
    readOnlyHint: false,
    destructiveHint: false,
    idempotentHint: true,
    openWorldHint: false,
  },
  input: type({ "+": "reject", repo: "string", files: "1 <= string[] <= 1000" }),
  output: type({ files: "string[]" }),
  async run({ repo, files }, { workspace, signal }) {
    const opened = await openRepository(workspace, repo, { onFilter: "refuse", signal });
    if (!opened.ok) return opened;
    const { folder, git } = opened.value;
    const paths: string[] = [];
    for (const file of files) {
      const path = await checkPath(folder, file);
      if (!path.ok) return path;
      paths.push(path.value);
    }
    // `.` in an empty repository is no mistake, and matches nothing.
    const strict = paths.includes(".") ? [] : (["--error-unmatch"] as const);
    const listed = await git(
      {
        command: ["ls-files"],
        flags: ["-z", ...strict, "--cached", "--others", "--exclude-standard", "--deduplicate"],
        paths,
      },
      { outputLimit: listLimit, isBytes: true },
    );
    if (!listed.ok) return { ok: false, problem: `nothing was staged: ${listed.problem}` };
    if (listed.value.truncated) return { ok: false, problem: "too many files for one call" };
    const submodules = await submodulesIn(opened.value, paths);
    if (!submodules.ok) return submodules;
    const asModule = paths.find((path) => submodules.value.has(toBytes(path)));
    if (asModule !== undefined) {
      const problem = `${JSON.stringify(asModule)} is a submodule, whose commit is not staged here`;
      return { ok: false, problem };
    }
    // A trailing slash is a repository inside this one; staging it would record a submodule.
    const names = listed.value.stdout
      .split("\0")
      .filter((name) => name && !name.endsWith("/") && !submodules.value.has(name))
      // A file that became a folder is taken out before what is in the folder is put in.
      .sort();
    const nested = paths.filter(
      (path) => path !== "." && listed.value.stdout === `${toBytes(path)}/\0`,
    );
    if (nested.length > 0) {
      return { ok: false, problem: `${JSON.stringify(nested[0])} is a repository of its own` };
    }
    const staged = await git(
      { command: ["update-index"], flags: ["--add", "--remove", "--replace", "-z", "--stdin"] },
      { input: names.map((name) => `${name}\0`).join(""), isBytes: true },
    );
    if (!staged.ok) return { ok: false, problem: `nothing was staged: ${staged.problem}` };
    // What git has staged by now, not what it was asked for.
    const asked = names.length === 0 ? null : await git(stagedNames(paths), { isBytes: true });
    if (asked !== null && !asked.ok) return { ok: false, problem: asked.problem };
    // A NUL follows each name, so what stands after the last one is empty or was cut off.
    const changed = (asked?.value.stdout ?? "").split("\0").slice(0, -1);
    const rest = asked?.value.truncated === true ? ", and more than can be listed" : "";
    const shown = changed.map(shownBytes);
    const left = [...submodules.value].map(shownBytes);
    const told = left.length === 0 ? "" : `; submodules are not staged (${someOf(left)})`;
    const done =
      shown.length === 0
        ? `Nothing to stage in ${paths.join(", ")}`
        : `Staged ${someOf(shown)}${rest}`;
    const text = `${done}${told}`;
    return { ok: true, value: { text, structured: { files: shown } } };
  },
});

/** Names whose staged content is another than the last commit's. */
const stagedNames = (paths: string[]): CommandLine => ({
  command: ["diff"],
  flags: [
    "--cached",
    "--name-only",
    "--no-renames",
    "--no-ext-diff",
    "--no-textconv",
    "--ignore-submodules=none",
    "-z",
  ],
  paths,
});
