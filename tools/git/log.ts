import { type } from "arktype";
import { gitTool } from "./git-tool.ts";
import { openRepository } from "./repository.ts";
import { resolveCommit } from "./references.ts";

/** Hash, author, date (ISO 8601), subject; a NUL after each, the last one from `-z`. */
const format = "--format=tformat:%H%x00%an <%ae>%x00%aI%x00%s";

/** What of a commit is printed is ours to say, whatever the repository configures. */
export const commitFlags = [
  "--no-color",
  "--no-decorate",
  "--no-notes",
  "--no-mailmap",
  "--no-show-signature",
  "--encoding=UTF-8",
] as const;

export const log = gitTool({
  name: "git_log",
  description:
    "The latest commits of a repository's current branch, newest first. repo: its folder in the workspace. " +
    "revision: another branch, tag or commit to begin from. " +
    "count: how many, 10 unless given, at most 1000. oneline: one line a commit in the text.",
  annotations: {
    title: "Git log",
    readOnlyHint: true,
    destructiveHint: false,
    idempotentHint: true,
    openWorldHint: false,
  },
  input: type({
    "+": "reject",
    repo: "string",
    revision: "string = 'HEAD'",
    count: "1 <= number.integer <= 1000 = 10",
    oneline: "boolean = true",
  }),
  output: type({
    commits: type({ hash: "string", author: "string", date: "string", subject: "string" }).array(),
    truncated: "boolean",
  }),
  async run({ repo, revision, count, oneline }, { workspace, signal }) {
    const opened = await openRepository(workspace, repo, { onFilter: "skip", signal });
    if (!opened.ok) return opened;
    const { git } = opened.value;
    const at = await resolveCommit(opened.value, revision);
    if (!at.ok) return at;
    if (at.value === null) {
      const structured = { commits: [], truncated: false };
      return { ok: true, value: { text: "No commits yet", structured } };
    }
    const listed = await git({
      command: ["log"],
      flags: ["-z", "--no-patch", ...commitFlags, format],
      values: [["--max-count", count]],
      operands: [at.value],
      paths: [],
    });
    if (!listed.ok) return listed;
    const { stdout, truncated } = listed.value;
    const commits = readCommits(stdout);
    const texts = commits.map(({ hash, author, date, subject }) =>
      oneline
        ? `${hash.slice(0, 10)} ${subject}`
        : `commit ${hash}\nAuthor: ${author}\nDate:   ${date}\n\n    ${subject}\n`,
    );
    return { ok: true, value: { text: texts.join("\n"), structured: { commits, truncated } } };
  },
});

function readCommits(listing: string) {
  const fields = listing.split("\0").slice(0, -1);
  const commits = [];
  for (let index = 0; index + 3 < fields.length; index += 4) {
    const [hash = "", author = "", date = "", subject = ""] = fields.slice(index, index + 4);
    commits.push({ hash, author, date, subject });
  }
  return commits;
}
