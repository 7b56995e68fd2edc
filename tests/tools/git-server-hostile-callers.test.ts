import { existsSync } from "node:fs";
import { appendFile, mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { useGitRoom } from "../support/git-room.ts";
import { callTool } from "../support/call-tool.ts";

const never = new AbortController().signal;
const { root, workspace, canary, host, git, makeRepository, call, refusal } = useGitRoom();

describe("a hostile caller", () => {
  beforeEach(async () => {
    const repository = await makeRepository("project");
    await appendFile(join(repository, "a.txt"), "changed\n");
    const outside = join(root, "outside");
    await rm(outside, { recursive: true, force: true });
    await mkdir(outside);
    await git(outside, "init", "--quiet");
    await writeFile(join(outside, "secret"), "secret");
    await symlink(outside, join(workspace, "linked"));
    await symlink(outside, join(repository, "way-out"));
    await mkdir(join(workspace, "plain", "nested"), { recursive: true });
    await mkdir(join(workspace, "borrowed"));
    await writeFile(join(workspace, "borrowed", ".git"), `gitdir: ${outside}/.git\n`);
  });

  const notAName = "repo must be one folder name";
  test.each([
    ["..", notAName],
    [".", notAName],
    ["", notAName],
    [".git", notAName],
    [".GIT", notAName],
    ["-C", notAName],
    ["--help", notAName],
    ["project/..", notAName],
    ["project/sub", notAName],
    ["/etc", notAName],
    ["project\n", notAName],
    ["project\0", notAName],
    ["proj*", notAName],
    ["~", notAName],
    ["plain", 'no git repository "plain"'],
    ["nested", 'no git repository "nested"'],
    ["missing", 'no git repository "missing"'],
    ["linked", "is a link, which is not followed"],
    ["borrowed", "must be a folder"],
  ])("names the repository %j and is told by every tool: %s", async (repo, reason) => {
    expect(await refusal("git_status", { repo })).toContain(reason);
    expect(await refusal("git_diff", { repo })).toContain(reason);
    expect(await refusal("git_log", { repo })).toContain(reason);
    expect(await refusal("git_add", { repo, files: ["."] })).toContain(reason);
    expect(await refusal("git_commit", { repo, message: "x" })).toContain(reason);
  });

  test("is not given a parent's repository for a folder that has none", async () => {
    await git(workspace, "init", "--quiet");
    expect(await refusal("git_status", { repo: "plain" })).toContain("no git repository");
    await rm(join(workspace, ".git"), { recursive: true });
  });

  const outside = "must be inside the repository";
  test.each([
    ["../outside/secret", outside],
    ["sub/../../outside/secret", outside],
    ["/etc/passwd", outside],
    ["way-out/secret", outside],
    ["way-out/not/there", outside],
    ["a\0b", outside],
    ["", outside],
    [".git/config", "must not lead into .git"],
    [".GIT/hooks/pre-commit", "must not lead into .git"],
    ["sub/.Git/config", "must not lead into .git"],
  ])("gives %j as a file, and is told by add and diff: %s", async (file, reason) => {
    const repo = "project";
    expect(await refusal("git_add", { repo, files: ["a.txt", file] })).toContain(reason);
    expect(await refusal("git_diff", { repo, file })).toContain(reason);
    expect(await git(join(workspace, repo), "diff", "--cached", "--name-only")).toBe("");
  });

  test.each([
    `--output=${canary}`,
    "--pathspec-from-file=/etc/passwd",
    "--no-index",
    "--ext-diff",
    "-O/etc/passwd",
    ":(top,glob)**",
    ":/",
    "*.txt",
  ])("gives %s as a file, and git takes it for a name that is not there", async (file) => {
    const repo = "project";
    const message = await refusal("git_add", { repo, files: [file] });
    expect(message).toContain("nothing was staged");
    expect(message).toContain("did not match any file");
    expect(await call("git_diff", { repo, file })).toEqual({ diff: "", truncated: false });
    expect(existsSync(canary)).toBe(false);
    expect(await git(join(workspace, repo), "diff", "--cached", "--name-only")).toBe("");
  });

  test.each([
    "Ada <a@b>\nEvil <e@f>",
    "--exec=touch",
    "Ada",
    "<a@b>",
    "Ada <a b>",
    "Ada <>",
    "Ada <a@b> <c@d>",
    "A\0 <a@b>",
  ])("signs as %j and is refused", async (author) => {
    await call("git_add", { repo: "project", files: ["a.txt"] });
    const message = await refusal("git_commit", { repo: "project", message: "x", author });
    expect(message).toContain("author must be one line of the form");
  });

  test("gives arguments that are none of the tool's, and is refused", async () => {
    const outcome = await callTool(host, "git_log", { repo: "project", format: "%H" }, never);
    expect(outcome).toMatchObject({ ok: false, failure: { kind: "invalid_input" } });
  });
});
