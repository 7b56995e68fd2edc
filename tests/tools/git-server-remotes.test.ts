import { existsSync } from "node:fs";
import { appendFile, chmod, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { callTool } from "../support/call-tool.ts";
import { useGitRoom } from "../support/git-room.ts";

const never = new AbortController().signal;
const { root, workspace, canary, host, git, makeRepository, call, refusal } = useGitRoom([
  "--allow-host",
  "git.example.com",
  "--protect",
  "main",
  "--protect",
  "release/*",
]);

describe("the git server and other repositories", () => {
  let project = "";
  beforeEach(async () => {
    project = await makeRepository("project");
    await git(workspace, "clone", "--quiet", "--bare", "project", "shared.git");
    await git(project, "remote", "add", "origin", join(workspace, "shared.git"));
  });

  test("clones a repository of the workspace, and says what came [git.remotes]", async () => {
    const hash = await git(project, "rev-parse", "HEAD");
    const made = await call("git_clone", { url: "shared.git", name: "copy" });
    const url = join(workspace, "shared.git");
    expect(made).toEqual({ repo: "copy", url, branch: "main", commit: hash });
    expect(await readFile(join(workspace, "copy", "a.txt"), "utf8")).toBe("one\n");
    const again = await refusal("git_clone", { url: "shared.git", name: "copy" });
    expect(again).toContain('"copy" is there already');
    expect(await call("git_clone", { url: `file://${project}`, name: "third" })).toMatchObject({
      repo: "third",
      commit: hash,
    });
  });

  test("a clone that fails leaves no folder behind [git.remotes]", async () => {
    const message = await refusal("git_clone", { url: "shared.git", name: "copy", branch: "nope" });
    expect(message).toContain("nothing was cloned: Remote branch nope not found");
    expect(existsSync(join(workspace, "copy"))).toBe(false);
  });

  const notReached = "can't be reached";
  test.each([
    ["ext::sh -c touch% canary", notReached],
    ["ssh://git@example.com/x.git", notReached],
    ["ssh://-oProxyCommand=touch/x", notReached],
    ["git@example.com:x.git", notReached],
    ["-oProxyCommand=touch:x", notReached],
    ["git://example.com/x.git", notReached],
    ["http://git.example.com/x.git", notReached],
    ["ftp://git.example.com/x.git", notReached],
    ["fd::17", notReached],
    ["/etc", notReached],
    ["../outside", notReached],
    ["file:///etc", notReached],
    ["file://elsewhere/etc", notReached],
    ["--upload-pack=touch canary", notReached],
    ["https://example.com/x.git", "host example.com is not allowed"],
    ["https://git.example.com.evil.org/x.git", "is not allowed"],
    ["https://git.example.com:8443/x.git", "is not allowed"],
    ["https://user:secret@git.example.com/x.git", "must not hold a user name"],
    ["https://git.example.com@evil.org/x.git", "must not hold a user name"],
    ["https://127.0.0.1/x.git", "is not allowed"],
    ["outside", "no git repository"],
    ["linked", "is a link, which is not followed"],
    ["", notReached],
    ["\0", notReached],
  ])("does not clone from or push to %j: %s [git.remotes]", async (url, reason) => {
    await mkdir(join(root, "outside"), { recursive: true });
    await git(join(root, "outside"), "init", "--quiet");
    await symlink(join(root, "outside"), join(workspace, "linked"));
    expect(await refusal("git_clone", { url, name: "copy" })).toContain(reason);
    expect(existsSync(join(workspace, "copy"))).toBe(false);
    if (url !== "" && url !== "\0") {
      await git(project, "checkout", "--quiet", "-b", "topic");
      await git(project, "config", "remote.origin.url", url);
      expect(await refusal("git_push", { repo: "project" })).toContain(reason);
    }
    expect(existsSync(canary)).toBe(false);
  });

  test("pushes a branch that only adds commits, and says what it did [git.push]", async () => {
    await git(project, "checkout", "--quiet", "-b", "topic");
    const hash = await git(project, "rev-parse", "HEAD");
    const pushed = await call("git_push", { repo: "project", set_upstream: true });
    expect(pushed).toEqual({
      remote: "origin",
      url: join(workspace, "shared.git"),
      branch: "topic",
      commit: hash,
      change: "created",
      upstreamSet: true,
    });
    expect(await git(join(workspace, "shared.git"), "rev-parse", "topic")).toBe(hash);
    expect(await git(project, "rev-parse", "topic@{upstream}")).toBe(hash);
    expect(await call("git_push", { repo: "project" })).toMatchObject({ change: "none" });
    await git(project, "commit", "--quiet", "--allow-empty", "--message=more");
    expect(await call("git_push", { repo: "project" })).toMatchObject({ change: "updated" });
    expect(await git(project, "status", "--short", "--branch")).toBe("## topic...origin/topic");
  });

  test("never overwrites what a remote's branch has [git.push]", async () => {
    await git(project, "checkout", "--quiet", "-b", "topic");
    await git(project, "commit", "--quiet", "--allow-empty", "--message=theirs");
    await git(project, "push", "--quiet", "origin", "topic");
    await git(project, "commit", "--quiet", "--amend", "--allow-empty", "--message=ours");
    for (const [key, value] of [
      ["remote.origin.push", "+refs/heads/*:refs/heads/*"],
      ["push.default", "matching"],
      ["push.followTags", "true"],
    ] as const) {
      await git(project, "config", key, value);
    }
    const before = await git(join(workspace, "shared.git"), "for-each-ref");
    const message = await refusal("git_push", { repo: "project" });
    expect(message).toContain('the remote\'s branch "topic" was not changed: [rejected]');
    expect(await git(join(workspace, "shared.git"), "for-each-ref")).toBe(before);
    await git(project, "config", "remote.origin.mirror", "true");
    expect(await refusal("git_push", { repo: "project" })).toContain("is a mirror");
  });

  test.each(["main", "MAIN", "release/1.0"])(
    "does not push to the protected branch %s [git.push]",
    async (branch) => {
      await git(project, "branch", branch).catch(() => undefined);
      const before = await git(join(workspace, "shared.git"), "for-each-ref");
      expect(await refusal("git_push", { repo: "project", branch })).toContain("is protected");
      expect(
        await refusal("git_branch", { repo: "project", name: branch, delete: true }),
      ).toContain("is protected");
      expect(await git(join(workspace, "shared.git"), "for-each-ref")).toBe(before);
    },
  );

  test.each([
    ["remote", "--receive-pack=touch canary; git-receive-pack"],
    ["remote", "--mirror"],
    ["remote", "https://git.example.com/x.git"],
    ["remote", "../shared.git"],
    ["remote", "ori gin"],
    ["branch", "--force"],
    ["branch", "+topic"],
    ["branch", ":main"],
    ["branch", "topic:main"],
    ["branch", "topic:refs/heads/main"],
    ["branch", "refs/heads/main"],
    ["branch", "HEAD"],
    ["branch", "topic\nmain"],
    ["branch", "*"],
    ["branch", ""],
  ])("is given %s %j to push, and pushes nothing [git.options] [git.push]", async (name, value) => {
    await git(project, "checkout", "--quiet", "-b", "topic");
    const before = await git(join(workspace, "shared.git"), "for-each-ref");
    await refusal("git_push", { repo: "project", [name]: value });
    expect(await git(join(workspace, "shared.git"), "for-each-ref")).toBe(before);
    expect(existsSync(canary)).toBe(false);
  });

  test("has no say for a pushed repository's configuration [git.closed]", async () => {
    const evil = `touch ${canary}; git-receive-pack`;
    await git(project, "checkout", "--quiet", "-b", "topic");
    for (const [key, value] of [
      ["remote.origin.receivepack", evil],
      ["remote.origin.uploadpack", evil],
      ["remote.origin.vcs", "ext"],
      ["url.ext::sh.pushInsteadOf", workspace],
      [`url.${root}/.insteadOf`, `${workspace}/`],
      ["core.sshCommand", evil],
      ["credential.helper", `!${evil}`],
      ["core.fsmonitor", evil],
    ] as const) {
      await git(project, "config", key, value);
    }
    await hook(project, "pre-push");
    await hook(project, "reference-transaction");
    expect(await call("git_push", { repo: "project" })).toMatchObject({ change: "created" });
    expect(existsSync(canary)).toBe(false);
  });

  test("runs no hook of the repository that is pushed to or cloned from [git.closed]", async () => {
    const shared = join(workspace, "shared.git");
    await git(project, "checkout", "--quiet", "-b", "topic");
    const hooks = ["pre-receive", "update", "post-receive", "post-update", "reference-transaction"];
    for (const name of hooks) await hook(shared, name);
    await mkdir(join(shared, "more"));
    await git(shared, "config", "core.hooksPath", join(shared, "hooks"));
    await git(shared, "config", "uploadpack.packObjectsHook", `touch ${canary};`);
    await git(shared, "config", "core.fsmonitor", `touch ${canary}`);
    await git(shared, "config", "core.alternateRefsCommand", `touch ${canary}`);
    expect(await call("git_push", { repo: "project" })).toMatchObject({ change: "created" });
    expect(await call("git_clone", { url: "shared.git", name: "copy" })).toMatchObject({
      repo: "copy",
    });
    expect(existsSync(canary)).toBe(false);
    // The hooks are real ones.
    await git(project, "push", "--quiet", "origin", "topic:other");
    expect(existsSync(canary)).toBe(true);
  });

  test("switching branches runs no hook and no filter, and keeps what would be lost [git.closed]", async () => {
    await git(project, "checkout", "--quiet", "-b", "other");
    await writeFile(join(project, "ignored"), "theirs\n");
    await writeFile(join(project, ".gitattributes"), "a.txt filter=evil\n");
    await appendFile(join(project, "a.txt"), "two\n");
    await git(project, "add", ".");
    await git(project, "commit", "--quiet", "--message=other");
    await git(project, "checkout", "--quiet", "main");
    await hook(project, "post-checkout");
    await git(project, "config", "filter.evil.smudge", `touch ${canary}; cat`);
    await writeFile(join(project, ".git", "info", "exclude"), "ignored\n");
    await writeFile(join(project, "ignored"), "mine\n");
    const input = { repo: "project", branch: "other" };
    expect(await refusal("git_checkout", input)).toContain("would be overwritten");
    expect(await readFile(join(project, "ignored"), "utf8")).toBe("mine\n");
    await writeFile(join(project, "ignored"), "theirs\n");
    await git(project, "clean", "-fxq");
    expect(await call("git_checkout", input)).toMatchObject({ branch: "other", created: false });
    expect(await readFile(join(project, "a.txt"), "utf8")).toBe("one\ntwo\n");
    expect(existsSync(canary)).toBe(false);
  });

  test("branches are made, switched to, listed and, once merged, deleted", async () => {
    const repo = "project";
    const hash = await git(project, "rev-parse", "HEAD");
    expect(await call("git_branch", { repo, name: "topic" })).toMatchObject({
      change: "created",
      current: "main",
      branches: [
        { name: "main", commit: hash, remote: false },
        { name: "topic", commit: hash, remote: false },
      ],
    });
    expect(await call("git_checkout", { repo, branch: "topic" })).toEqual({
      branch: "topic",
      commit: hash,
      created: false,
    });
    await git(project, "commit", "--quiet", "--allow-empty", "--message=ahead");
    expect(await call("git_checkout", { repo, branch: "again", create: true, from: hash })).toEqual(
      { branch: "again", commit: hash, created: true },
    );
    const remove = { repo, name: "topic", delete: true };
    // Its upstream says merged; what is true of the current branch decides.
    await git(project, "config", "branch.topic.remote", ".");
    await git(project, "config", "branch.topic.merge", "refs/heads/topic");
    expect(await refusal("git_branch", remove)).toContain("has commits that the current");
    expect(await refusal("git_branch", { ...remove, name: "again" })).toContain("the current one");
    await git(project, "merge", "--quiet", "topic");
    expect(await call("git_branch", remove)).toMatchObject({ change: "deleted" });
    expect(await refusal("git_checkout", { repo, branch: "topic" })).toContain(
      "there is no branch",
    );
    expect(await refusal("git_checkout", { repo, branch: "main", create: true })).toContain(
      "already",
    );
  });

  test("show gives a commit and its patch, of one file too", async () => {
    await appendFile(join(project, "a.txt"), "two\n");
    await writeFile(join(project, "b.txt"), "b\n");
    await git(project, "add", ".");
    await git(project, "commit", "--quiet", "--message=second\n\nwith a body");
    const shown = (await call("git_show", { repo: "project", file: "a.txt" })) as JsonObject;
    expect(shown).toMatchObject({
      hash: await git(project, "rev-parse", "HEAD"),
      parents: [await git(project, "rev-parse", "HEAD~1")],
      author: "Ada <ada@example.org>",
      message: "second\n\nwith a body",
      truncated: false,
    });
    expect(shown["diff"]).toContain("+two");
    expect(shown["diff"]).not.toContain("b.txt");
    const first = await call("git_show", { repo: "project", revision: "HEAD~1" });
    expect(first).toMatchObject({ message: "first", parents: [] });
  });

  test.each(["--output=canary", "HEAD --output=canary", "HEAD\n", "a..b", ":/x", "HEAD:a.txt", ""])(
    "is asked for the revision %j, and shows nothing [git.options]",
    async (revision) => {
      for (const tool of ["git_show", "git_log"]) {
        expect(await refusal(tool, { repo: "project", revision })).toContain("is not a branch");
      }
      const from = { repo: "project", branch: "new", create: true, from: revision };
      expect(await refusal("git_checkout", from)).toContain("is not a branch");
      expect(await git(project, "branch", "--list", "new")).toBe("");
    },
  );

  test("reads no repository that borrows from another or includes a file [git.closed]", async () => {
    const other = join(root, "other");
    await git(root, "init", "--quiet", "other");
    const alternates = join(project, ".git", "objects", "info", "alternates");
    await mkdir(join(project, ".git", "objects", "info"), { recursive: true });
    await writeFile(alternates, `${join(other, ".git", "objects")}\n`);
    for (const tool of ["git_log", "git_show", "git_status", "git_push"]) {
      expect(await refusal(tool, { repo: "project" })).toContain("leads to another repository");
    }
    expect(await refusal("git_clone", { url: "project", name: "copy" })).toContain("another");
    const including = await makeRepository("including");
    await writeFile(join(root, "identity"), "[user]\nname = Somebody Outside\n");
    await git(including, "config", "include.path", join(root, "identity"));
    const message = await refusal("git_commit", { repo: "including", message: "x" });
    expect(message).toContain("includes another file (include.path)");
  });

  test("a call that is cancelled leaves no half of a clone", async () => {
    const abort = new AbortController();
    const cut = callTool(host, "git_clone", { url: "shared.git", name: "copy" }, abort.signal);
    setTimeout(() => abort.abort(), 15);
    await cut;
    await expect
      .poll(async () => {
        const outcome = await callTool(host, "git_status", { repo: "copy" }, never);
        return outcome.ok || outcome.failure.message.includes("no git repository");
      })
      .toBe(true);
  });
});

async function hook(repository: string, name: string): Promise<void> {
  const folder = existsSync(join(repository, ".git")) ? join(repository, ".git") : repository;
  await mkdir(join(folder, "hooks"), { recursive: true });
  await writeFile(join(folder, "hooks", name), `#!/bin/sh\ntouch ${canary}\n`);
  await chmod(join(folder, "hooks", name), 0o755);
}
