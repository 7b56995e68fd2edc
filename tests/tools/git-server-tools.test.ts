import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { appendFile, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import * as fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { useGitRoom } from "../support/git-room.ts";
import { value } from "../support/value.ts";
import { callTool } from "../support/call-tool.ts";

const run = promisify(execFile);
const never = new AbortController().signal;
const { workspace, server, host, git, makeRepository, call, refusal } = useGitRoom();

describe("the git server", () => {
  let repository = "";
  beforeEach(async () => {
    repository = await makeRepository("project");
  });

  test("says of each tool whether it is safe to repeat", async () => {
    const tools = value(await host.list(never));
    const safety = tools.map((tool) => [tool.name, tool.readOnly, tool.safeToRepeat]);
    expect(safety).toEqual([
      ["git_status", true, true],
      ["git_diff", true, true],
      ["git_log", true, true],
      ["git_show", true, true],
      ["git_add", false, true],
      ["git_commit", false, false],
      ["git_branch", false, false],
      ["git_checkout", false, false],
      ["git_clone", false, false],
      ["git_push", false, true],
    ]);
    expect(tools.every((tool) => tool.outputSchema !== null)).toBe(true);
  });

  test("status tells the branch and every file that differs, whatever its name", async () => {
    expect(await call("git_status", { repo: "project" })).toEqual({
      branch: "main",
      clean: true,
      files: [],
      truncated: false,
    });
    await git(repository, "mv", "a.txt", "b c.txt");
    await writeFile(join(repository, "new\nline é.txt"), "x");
    const status = (await call("git_status", { repo: "project" })) as JsonObject;
    expect(status["clean"]).toBe(false);
    expect(status["files"]).toEqual([
      { path: "b c.txt", state: "R.", from: "a.txt" },
      { path: "new\nline é.txt", state: "??" },
    ]);
  });

  test("diff shows what is not staged, what is, and one file alone", async () => {
    await appendFile(join(repository, "a.txt"), "two\n");
    const unstaged = (await call("git_diff", { repo: "project" })) as JsonObject;
    expect(unstaged["diff"]).toContain("+two");
    expect(await call("git_diff", { repo: "project", staged: true })).toEqual({
      diff: "",
      truncated: false,
    });
    await call("git_add", { repo: "project", files: ["a.txt"] });
    const staged = await call("git_diff", { repo: "project", staged: true, file: "a.txt" });
    expect((staged as JsonObject)["diff"]).toContain("+two");
    expect(await call("git_diff", { repo: "project", staged: true, file: "b.txt" })).toMatchObject({
      diff: "",
    });
  });

  test("a diff larger than a quarter of a megabyte is cut off, and says so", async () => {
    await writeFile(join(repository, "a.txt"), "é line of text\n".repeat(100_000));
    const diff = (await call("git_diff", { repo: "project" })) as JsonObject;
    expect(diff["truncated"]).toBe(true);
    const size = Buffer.byteLength(String(diff["diff"]));
    expect(size).toBeGreaterThan(260_000);
    expect(size).toBeLessThanOrEqual(262_144);
    expect(diff["diff"]).not.toContain("\uFFFD");
  });

  test("add stages files, folders and deletions, and twice is as good as once", async () => {
    await mkdir(join(repository, "sub"));
    await writeFile(join(repository, "sub", "-n"), "x");
    await writeFile(join(repository, "sub", "*.txt"), "x");
    await writeFile(join(repository, ".gitignore"), "ignored\n");
    await writeFile(join(repository, "ignored"), "x");
    await rm(join(repository, "a.txt"));
    const input = { repo: "project", files: ["sub", "./a.txt"] };
    expect(await call("git_add", input)).toEqual({ files: ["a.txt", "sub/*.txt", "sub/-n"] });
    expect(await git(repository, "diff", "--cached", "--name-status")).toBe(
      "D\ta.txt\nA\tsub/*.txt\nA\tsub/-n",
    );
    await call("git_add", { repo: "project", files: ["sub"] });
    expect(await refusal("git_add", { repo: "project", files: ["ignored"] })).toContain("ignored");
    expect(await refusal("git_add", { repo: "project", files: ["*.txt"] })).toContain("*.txt");
    await call("git_add", { repo: "project", files: ["."] });
    expect(await git(repository, "ls-files")).toBe(".gitignore\nsub/*.txt\nsub/-n");
  });

  test("add stages a file that became a folder, and a folder that became a file", async () => {
    await mkdir(join(repository, "folder"));
    await writeFile(join(repository, "folder", "inner"), "x");
    await call("git_add", { repo: "project", files: ["."] });
    await call("git_commit", { repo: "project", message: "a folder" });
    await rm(join(repository, "a.txt"));
    await mkdir(join(repository, "a.txt"));
    await writeFile(join(repository, "a.txt", "x"), "x");
    await rm(join(repository, "folder"), { recursive: true });
    await writeFile(join(repository, "folder"), "x");
    await call("git_add", { repo: "project", files: ["a.txt"] });
    expect(await git(repository, "ls-files")).toBe("a.txt/x\nfolder/inner");
    await call("git_add", { repo: "project", files: ["."] });
    expect(await git(repository, "ls-files")).toBe("a.txt/x\nfolder");
  });

  test("calls at once that change one repository wait for each other", async () => {
    const names = Array.from({ length: 8 }, (_, at) => `n${at}`);
    await Promise.all(names.map((name) => writeFile(join(repository, name), name)));
    await Promise.all(names.map((name) => call("git_add", { repo: "project", files: [name] })));
    const staged = await git(repository, "diff", "--cached", "--name-only");
    expect(staged.split("\n")).toEqual(names);
  });

  test("add stages names of any bytes, and says which it staged [git.names]", async () => {
    const names = [Buffer.from([0x66, 0xff, 0xfe]), Buffer.from("naïve ☃")];
    for (const name of names) {
      await writeFile(Buffer.concat([Buffer.from(`${repository}/`), name]), "x");
    }
    const { files } = (await call("git_add", { repo: "project", files: ["."] })) as {
      files: string[];
    };
    expect(files).toEqual(expect.arrayContaining(["f\\xff\\xfe", "naïve ☃"]));
    expect(await git(repository, "status", "--porcelain", "-z")).not.toContain("??");
    expect(await git(repository, "ls-files", "--others", "--exclude-standard")).toBe("");
  });

  test("all files are staged under their very names, or nothing is [git.names]", async () => {
    const byte = fc.integer({ min: 1, max: 255 }).filter((code) => code !== 0x2f);
    const name = fc
      .array(byte, { minLength: 1, maxLength: 12 })
      .map((bytes) => Buffer.from(bytes).toString("latin1"))
      .filter((text) => !/^\.{1,2}$|^\.git/i.test(text));
    let staged = 0;
    const stage = async (names: string[]): Promise<void> => {
      await rm(repository, { recursive: true });
      repository = await makeRepository("project");
      for (const bytes of names) {
        await writeFile(Buffer.from(`${repository}/${bytes}`, "latin1"), "x");
      }
      const before = await listIndex(repository);
      const outcome = await callTool(host, "git_add", { repo: "project", files: ["."] }, never);
      const after = await listIndex(repository);
      if (!outcome.ok) {
        expect(outcome.failure.message).toContain("nothing was staged");
        expect(after).toEqual(before);
        return;
      }
      staged += 1;
      expect(after).toEqual([...new Set([...before, ...names])].sort());
      const { files } = outcome.value.content as { files: string[] };
      expect(files).toHaveLength(names.filter((text) => text !== "a.txt").length);
    };
    const names = fc.uniqueArray(name, { minLength: 1, maxLength: 4 });
    await fc.assert(fc.asyncProperty(names, stage), {
      numRuns: 12,
      examples: [[["\xff", "\xfe"]], [["ok", "back\\slash"]]],
    });
    expect(staged).toBeGreaterThan(0);
  });

  test("status and diff show a name that is not UTF-8 by its bytes [git.names]", async () => {
    const path = Buffer.concat([Buffer.from(`${repository}/é-`), Buffer.from([0xff])]);
    await writeFile(path, "one\n");
    expect(await call("git_status", { repo: "project" })).toMatchObject({
      files: [{ path: "é-\\xff", state: "??" }],
    });
    await call("git_add", { repo: "project", files: ["."] });
    await writeFile(path, Buffer.from([0x64, 0xe9, 0x0a]));
    const { diff } = (await call("git_diff", { repo: "project" })) as { diff: string };
    expect(diff).toContain("+++ b/é-\\xff");
    expect(diff).toContain("+d\\xe9");
  });

  test("commit records what is staged, as whom it is told", async () => {
    await writeFile(join(repository, "b.txt"), "b");
    await call("git_add", { repo: "project", files: ["b.txt"] });
    const message = "--amend: not an option\n\n# kept\nbody  \n";
    const author = "Grace Hopper <grace@example.org>";
    const made = await call("git_commit", { repo: "project", message, author });
    const hash = await git(repository, "rev-parse", "HEAD");
    expect(made).toEqual({ hash, subject: "--amend: not an option" });
    expect(await git(repository, "log", "-1", "--format=%an <%ae> by %cn%n%B")).toBe(
      "Grace Hopper <grace@example.org> by Ada\n--amend: not an option\n\n# kept\nbody",
    );
    expect(await git(repository, "rev-list", "--count", "HEAD")).toBe("2");
    expect(await git(repository, "status", "--porcelain")).toBe("");
    expect(await git(repository, "fsck", "--strict")).toBe("");
    expect(await refusal("git_commit", { repo: "project", message: "x" })).toContain(
      "nothing is staged",
    );
  });

  test("the first commit of a repository that names nobody has an identity of ours", async () => {
    const bare = join(workspace, "fresh");
    await mkdir(bare);
    await git(bare, "init", "--quiet", "--initial-branch=trunk");
    expect(await call("git_log", { repo: "fresh" })).toEqual({ commits: [], truncated: false });
    expect(await refusal("git_commit", { repo: "fresh", message: "x" })).toContain("nothing is");
    await writeFile(join(bare, "f"), "f");
    await call("git_add", { repo: "fresh", files: ["f"] });
    await call("git_commit", { repo: "fresh", message: "begin" });
    expect(await git(bare, "log", "--format=%D|%an|%ce|%s")).toBe(
      "HEAD -> trunk|Stateplane|stateplane@localhost|begin",
    );
  });

  test("commit leaves a merge under way to whoever began it", async () => {
    await writeFile(
      join(repository, ".git", "MERGE_HEAD"),
      await git(repository, "rev-parse", "HEAD"),
    );
    expect(await refusal("git_commit", { repo: "project", message: "x" })).toContain("MERGE_HEAD");
  });

  test("log lists the newest commits first, as many as asked for", async () => {
    await git(repository, "commit", "--quiet", "--allow-empty", "--message=second\n\nbody");
    const both = (await call("git_log", { repo: "project" })) as JsonObject;
    expect(both["commits"]).toMatchObject([
      { subject: "second", author: "Ada <ada@example.org>" },
      { subject: "first" },
    ]);
    const one = (await call("git_log", { repo: "project", count: 1 })) as JsonObject;
    expect(one["commits"]).toHaveLength(1);
  });

  test("a call that is cut short leaves no lock behind", async () => {
    const abort = new AbortController();
    const cut = callTool(host, "git_status", { repo: "project" }, abort.signal);
    setTimeout(() => abort.abort(), 5);
    await cut;
    expect(existsSync(join(repository, ".git", "index.lock"))).toBe(false);
    expect(await call("git_status", { repo: "project" })).toMatchObject({ clean: true });
  });

  test("it refuses to start without a workspace, in one line", async () => {
    const started = run(process.execPath, [server], { env: { PATH: process.env["PATH"] } });
    await expect(started).rejects.toMatchObject({
      code: 2,
      stderr: "stateplane-mcp-git: give --root DIR, or set FD_WORKSPACE_DIR\n",
    });
  });
});

async function listIndex(repository: string): Promise<string[]> {
  const options = { cwd: repository, encoding: "latin1" } as const;
  return (await run("git", ["ls-files", "-z"], options)).stdout.split("\0").slice(0, -1).sort();
}
