import { existsSync } from "node:fs";
import { appendFile, mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { useGitRoom } from "./support/git-room.ts";
import { callTool } from "./support/call-tool.ts";

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

  test.each(
    [
      "..",
      ".",
      "",
      ".git",
      "-C",
      "--help",
      "project/..",
      "project/sub",
      "/etc",
      "plain",
      "linked",
      "nested",
      "borrowed",
      "missing",
      "project\n",
      "project\0",
      "proj*",
      "~",
    ].map((repo) => [repo]),
  )("names the repository %j and is refused by every tool", async (repo) => {
    await refusal("git_status", { repo });
    await refusal("git_diff", { repo });
    await refusal("git_log", { repo });
    await refusal("git_add", { repo, files: ["."] });
    await refusal("git_commit", { repo, message: "x" });
  });

  test("is not given a parent's repository for a folder that has none", async () => {
    await git(workspace, "init", "--quiet");
    await refusal("git_status", { repo: "plain" });
    await rm(join(workspace, ".git"), { recursive: true });
  });

  test.each(
    [
      () => `--output=${canary}`,
      () => "--pathspec-from-file=/etc/passwd",
      () => "--no-index",
      () => "--ext-diff",
      () => "-O/etc/passwd",
      () => "../outside/secret",
      () => "sub/../../outside/secret",
      () => join(root, "outside", "secret"),
      () => "way-out/secret",
      () => ".git/config",
      () => ".GIT/hooks/pre-commit",
      () => ":(top,glob)**",
      () => ":/",
      () => "a\0b",
      () => "",
    ].map((file) => [file]),
  )("gives %s as a file, and nothing is written, staged or told", async (file) => {
    const path = file();
    expect(await refusal("git_add", { repo: "project", files: [path] })).not.toContain("root:");
    const diff = await callTool(host, "git_diff", { repo: "project", file: path }, never);
    if (diff.ok) expect(diff.value.content).toEqual({ diff: "", truncated: false });
    expect(existsSync(canary)).toBe(false);
    expect(await git(join(workspace, "project"), "diff", "--cached", "--name-only")).toBe("");
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
    expect(message).toContain("author");
  });

  test("gives arguments that are none of the tool's, and is refused", async () => {
    const outcome = await callTool(host, "git_log", { repo: "project", format: "%H" }, never);
    expect(outcome).toMatchObject({ ok: false, failure: { kind: "invalid_input" } });
  });
});
