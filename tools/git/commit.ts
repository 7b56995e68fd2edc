import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { type } from "arktype";
import type { Answer } from "../shared/server-tool.ts";
import { gitTool } from "./git-tool.ts";
import { openRepository } from "./repository.ts";
import type { Repository } from "./repository.ts";
import { resolveCommit } from "./references.ts";

/** Operations that `git commit` would conclude, and we don't. */
const unfinished = ["MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD"];

const fallback = { name: "Stateplane", email: "stateplane@localhost" };

/**
 * Built on `write-tree`, `commit-tree` and `update-ref`: `git commit` looks at the whole working tree and
 * into submodules first. The branch moves only if it is still where the commit was made from.
 */
export const commit = gitTool({
  name: "git_commit",
  description:
    "Commits what is staged on the current branch. repo: the repository's folder in the workspace. " +
    "author: `Name <mail>`, the committer unless given. Hooks don't run and nothing is signed.",
  annotations: {
    title: "Git commit",
    readOnlyHint: false,
    destructiveHint: false,
    idempotentHint: false,
    openWorldHint: false,
  },
  input: type({ "+": "reject", repo: "string", message: "string <= 65536", "author?": "string" }),
  output: type({ hash: "string", subject: "string" }),
  async run({ repo, message, author }, { workspace, signal }) {
    const cleaned = message.replaceAll(/[ \t\r]+$/gm, "").trim();
    if (cleaned === "" || cleaned.includes("\0")) {
      return { ok: false, problem: "message must be text that is not empty" };
    }
    const authorship = author === undefined ? {} : readAuthor(author);
    if (authorship === null) {
      return { ok: false, problem: "author must be one line of the form: Name <mail>" };
    }
    const opened = await openRepository(workspace, repo, { onFilter: "refuse", signal });
    if (!opened.ok) return opened;
    const repository = opened.value;
    const present = new Set(await readdir(join(repository.folder, ".git")));
    const pending = unfinished.find((file) => present.has(file));
    if (pending !== undefined) {
      return { ok: false, problem: `${pending} is there: an operation has to be finished first` };
    }
    const staged = await readStaged(repository);
    if (!staged.ok) return staged;
    const { tree, parent } = staged.value;
    const env = { ...committer(repository), ...authorship };
    const made = await repository.git(
      {
        // Its short options take their value as a word of its own: here a hash that git gave us.
        command: ["commit-tree", ...(parent === null ? [] : ["-p", parent])],
        flags: ["--no-gpg-sign", "-F-"],
        operands: [tree],
      },
      { env, input: `${cleaned}\n` },
    );
    if (!made.ok) return made;
    const hash = made.value.stdout.trim();
    const subject = cleaned.split(/\n\s*\n/)[0]?.replaceAll("\n", " ") ?? "";
    const moved = await repository.git(
      {
        command: ["update-ref", "-m", `commit: ${subject}`],
        operands: ["HEAD", hash, parent ?? ""],
      },
      { env },
    );
    if (!moved.ok) return { ok: false, problem: `the branch was not moved: ${moved.problem}` };
    const text = `${hash.slice(0, 10)} ${subject}`;
    return { ok: true, value: { text, structured: { hash, subject } } };
  },
});

/** The tree of the index and the commit it would follow; a problem if there is nothing to commit. */
async function readStaged(
  repository: Repository,
): Promise<Answer<{ tree: string; parent: string | null }>> {
  const head = await resolveCommit(repository, "HEAD");
  if (!head.ok) return head;
  const parent = head.value;
  const { git } = repository;
  const written = await git({ command: ["write-tree"] });
  if (!written.ok) return written;
  const before =
    parent === null
      ? await git({ command: ["hash-object", "-t", "tree"], flags: ["--stdin"] })
      : await git({
          command: ["rev-parse"],
          flags: ["--verify"],
          operands: [`${parent}^{tree}`],
        });
  if (!before.ok) return before;
  const tree = written.value.stdout.trim();
  if (tree === before.value.stdout.trim()) return { ok: false, problem: "nothing is staged" };
  return { ok: true, value: { tree, parent } };
}

function readAuthor(author: string): Record<string, string> | null {
  const parts = /^([^<>\p{Cc}]*[^<>\s\p{Cc}]) <([^<>\s\p{Cc}]+)>$/u.exec(author);
  const [, name, email] = parts ?? [];
  if (name === undefined || email === undefined || author.length > 500) return null;
  return { GIT_AUTHOR_NAME: name, GIT_AUTHOR_EMAIL: email };
}

/** What git would not find out for itself: the repository need not say who we are. */
function committer({ config }: Repository): Record<string, string> {
  const name = config("user.name") ? {} : named("NAME", fallback.name);
  const email = config("user.email") ? {} : named("EMAIL", fallback.email);
  return { ...name, ...email };
}

function named(part: "NAME" | "EMAIL", value: string): Record<string, string> {
  return { [`GIT_AUTHOR_${part}`]: value, [`GIT_COMMITTER_${part}`]: value };
}
