import { shownBytes } from "../shared/bytes.ts";
import type { Answer } from "../shared/server-tool.ts";
import type { StatusFile } from "./read-status.ts";
import type { Repository } from "./repository.ts";

/** The mode of an entry that is another repository's commit. */
const gitlink = "160000";

/** Bytes of names; a repository with more of them is refused. */
const listLimit = 16 * 1_048_576;

/**
 * The submodules that the index has below some paths, as bytes, a character each. Git, when it is told to stage one,
 * reads what commit the submodule's own folder is at, wherever a `.git` file there leads.
 */
export async function submodulesIn(
  { git }: Repository,
  paths: readonly string[],
): Promise<Answer<ReadonlySet<string>>> {
  const listed = await git(
    { command: ["ls-files"], flags: ["-z", "--stage"], paths },
    { outputLimit: listLimit, isBytes: true },
  );
  if (!listed.ok) return listed;
  if (listed.value.truncated) return { ok: false, problem: "too many files for one call" };
  const found = listed.value.stdout
    .split("\0")
    .filter((entry) => entry.startsWith(`${gitlink} `))
    .map((entry) => entry.slice(entry.indexOf("\t") + 1));
  return { ok: true, value: new Set(found) };
}

/** The submodules whose staged commit is another than the last commit's. The index alone is compared, no folder looked into. */
export async function stagedSubmodules({ git }: Repository): Promise<Answer<StatusFile[]>> {
  const compared = await git(
    {
      command: ["diff"],
      flags: [
        "--cached",
        "--raw",
        "--no-renames",
        "--no-ext-diff",
        "--ignore-submodules=none",
        "-z",
      ],
      paths: [],
    },
    { outputLimit: listLimit, isBytes: true },
  );
  if (!compared.ok) return compared;
  const fields = compared.value.stdout.split("\0").slice(0, -1);
  const files: StatusFile[] = [];
  // `:100644 160000 HASH HASH LETTER`, then the path.
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const [before = "", after = "", , , letter = ""] = fields[at]?.slice(1).split(" ") ?? [];
    const path = shownBytes(fields[at + 1] ?? "");
    if (before === gitlink || after === gitlink) files.push({ path, state: `${letter}.` });
  }
  return { ok: true, value: files };
}
