import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import {
  appendFile,
  chmod,
  mkdir,
  mkdtemp,
  readFile,
  realpath,
  rename,
  rm,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createToolHost } from "../../adapters/mcp/host.ts";
import type { Json, JsonObject } from "../../machines/contracts/json.ts";
import type { ToolHost } from "../../machines/contracts/ports/tool-host.ts";

const run = promisify(execFile);
const server = fileURLToPath(new URL("../../tools/git/server.ts", import.meta.url));
const never = new AbortController().signal;
const quiet = () => undefined;
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };

let root = "";
let workspace = "";
let canary = "";
let host: ToolHost;

/** Plain git as a person runs it, with nothing guarded. */
const git = async (cwd: string, ...args: string[]): Promise<string> => {
  const env = { PATH: process.env["PATH"], HOME: root, GIT_CONFIG_NOSYSTEM: "1" };
  return (await run("git", args, { cwd, env })).stdout.trim();
};

async function makeRepository(name: string): Promise<string> {
  const folder = join(workspace, name);
  await mkdir(folder);
  await git(folder, "init", "--quiet", "--initial-branch=main");
  await git(folder, "config", "user.name", "Ada");
  await git(folder, "config", "user.email", "ada@example.org");
  await writeFile(join(folder, "a.txt"), "one\n");
  await git(folder, "add", "a.txt");
  await git(folder, "commit", "--quiet", "--message=first");
  return folder;
}

async function call(tool: string, input: JsonObject): Promise<Json> {
  const outcome = await host.call(tool, input, never);
  if (!outcome.ok) throw new Error(`${outcome.failure.kind}: ${outcome.failure.message}`);
  return outcome.value.content;
}

/** The message of a refusal by the tool itself. */
async function refusal(tool: string, input: JsonObject): Promise<string> {
  const outcome = await host.call(tool, input, never);
  if (outcome.ok) throw new Error(`was done: ${JSON.stringify(outcome.value.content)}`);
  expect(outcome.failure.kind).toBe("tool_failed");
  return outcome.failure.message;
}

beforeAll(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), "stateplane-git-")));
  workspace = join(root, "workspace");
  canary = join(root, "canary");
  await mkdir(workspace);
  host = createToolHost({
    servers: [{ name: "git", command: process.execPath, args: [server, "--workspace", workspace] }],
    log,
    clientInfo: { name: "stateplane-test", version: "0" },
  });
});
afterEach(async () => {
  await rm(workspace, { recursive: true });
  await mkdir(workspace);
  await rm(canary, { force: true });
});
afterAll(async () => {
  await host.close();
  await rm(root, { recursive: true });
});

describe("the git server", () => {
  let repository = "";
  beforeEach(async () => {
    repository = await makeRepository("project");
  });

  test("says of each tool whether it is safe to repeat", async () => {
    const tools = await host.list(never);
    if (!tools.ok) throw new Error(tools.failure.message);
    const safety = tools.value.map((tool) => [tool.name, tool.readOnly, tool.safeToRepeat]);
    expect(safety).toEqual([
      ["git_status", true, true],
      ["git_diff", true, true],
      ["git_log", true, true],
      ["git_add", false, true],
      ["git_commit", false, false],
    ]);
    expect(tools.value.every((tool) => tool.outputSchema !== null)).toBe(true);
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
    expect(await call("git_add", input)).toEqual({ files: ["sub", "a.txt"] });
    expect(await git(repository, "diff", "--cached", "--name-status")).toBe(
      "D\ta.txt\nA\tsub/*.txt\nA\tsub/-n",
    );
    await call("git_add", { repo: "project", files: ["sub"] });
    expect(await refusal("git_add", { repo: "project", files: ["ignored"] })).toContain("ignored");
    expect(await refusal("git_add", { repo: "project", files: ["*.txt"] })).toContain("*.txt");
    await call("git_add", { repo: "project", files: ["."] });
    expect(await git(repository, "ls-files")).toBe(".gitignore\nsub/*.txt\nsub/-n");
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
    const cut = host.call("git_status", { repo: "project" }, abort.signal);
    setTimeout(() => abort.abort(), 5);
    await cut;
    expect(existsSync(join(repository, ".git", "index.lock"))).toBe(false);
    expect(await call("git_status", { repo: "project" })).toMatchObject({ clean: true });
  });

  test("it refuses to start without a workspace, in one line", async () => {
    const started = run(process.execPath, [server], { env: { PATH: process.env["PATH"] } });
    await expect(started).rejects.toMatchObject({
      code: 2,
      stderr: "stateplane-mcp-git: give --workspace DIR, or set FD_WORKSPACE_DIR\n",
    });
  });
});

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
    const diff = await host.call("git_diff", { repo: "project", file: path }, never);
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
    const outcome = await host.call("git_log", { repo: "project", format: "%H" }, never);
    expect(outcome).toMatchObject({ ok: false, failure: { kind: "invalid_input" } });
  });
});

/** Each makes plain git run `touch canary`; `naive` is the command that does. */
const hostileRepositories: {
  title: string;
  prepare(repository: string, command: string): Promise<void>;
  naive: string[];
}[] = [
  {
    title: "core.fsmonitor",
    prepare: (repository, command) => config(repository, "core.fsmonitor", command),
    naive: ["status"],
  },
  {
    title: "diff.external",
    prepare: (repository, command) => config(repository, "diff.external", command),
    naive: ["diff"],
  },
  {
    title: "a diff driver's command",
    async prepare(repository, command) {
      await attribute(repository, "diff=evil");
      await config(repository, "diff.evil.command", command);
    },
    naive: ["diff"],
  },
  {
    title: "a diff driver's textconv",
    async prepare(repository, command) {
      await attribute(repository, "diff=evil");
      await config(repository, "diff.evil.textconv", command);
    },
    naive: ["diff"],
  },
  ...["evil", "a=b", "x.y"].flatMap((name) =>
    ["clean", "process"].map((kind) => ({
      title: `a filter "${name}" by its ${kind} command`,
      async prepare(repository: string, command: string) {
        await attribute(repository, `filter=${name}`);
        await config(repository, `filter.${name}.${kind}`, command);
      },
      naive: ["add", "a.txt"],
    })),
  ),
  {
    title: "a filter in an included file",
    async prepare(repository, command) {
      await attribute(repository, "filter=evil");
      await writeFile(join(repository, ".git", "more"), `[filter "evil"]\nclean = ${command}\n`);
      await config(repository, "include.path", "more");
    },
    naive: ["add", "a.txt"],
  },
  {
    title: "a filter in the configuration of the worktree",
    async prepare(repository, command) {
      await attribute(repository, "filter=evil");
      await config(repository, "extensions.worktreeConfig", "true");
      const file = join(repository, ".git", "config.worktree");
      await writeFile(file, `[filter "evil"]\nclean = ${command}\n`);
    },
    naive: ["add", "a.txt"],
  },
  ...["pre-commit", "commit-msg", "post-commit", "post-index-change", "reference-transaction"].map(
    (hook) => ({
      title: `the hook ${hook}`,
      prepare: (repository: string, command: string) =>
        script(join(repository, ".git", "hooks", hook), command),
      naive: ["commit", "--all", "--message=x"],
    }),
  ),
  {
    title: "a folder of hooks",
    async prepare(repository, command) {
      await mkdir(join(repository, "hooks"));
      await script(join(repository, "hooks", "pre-commit"), command);
      await config(repository, "core.hooksPath", join(repository, "hooks"));
    },
    naive: ["commit", "--all", "--message=x"],
  },
  {
    title: "a signing program",
    async prepare(repository, command) {
      await config(repository, "commit.gpgSign", "true");
      await script(join(repository, ".git", "sign"), command);
      await config(repository, "gpg.program", join(repository, ".git", "sign"));
    },
    naive: ["commit", "--all", "--message=x"],
  },
  {
    title: "a program that verifies signatures in the log",
    async prepare(repository, command) {
      await script(join(repository, ".git", "verify"), command);
      await config(repository, "gpg.program", join(repository, ".git", "verify"));
      await config(repository, "log.showSignature", "true");
      const commit = await git(repository, "cat-file", "commit", "HEAD");
      const [head = "", ...message] = commit.split("\n\n");
      const signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----";
      const file = join(repository, ".git", "signed");
      await writeFile(file, `${head}\n${signature}\n\n${message.join("\n\n")}\n`);
      const hash = await git(repository, "hash-object", "-t", "commit", "-w", file);
      await git(repository, "update-ref", "HEAD", hash);
    },
    naive: ["log"],
  },
  {
    title: "a remote that is asked for a missing object",
    async prepare(repository, command) {
      const object = await git(repository, "rev-parse", "HEAD:a.txt");
      await rm(join(repository, ".git", "objects", object.slice(0, 2), object.slice(2)));
      await config(repository, "core.repositoryFormatVersion", "1");
      await config(repository, "extensions.partialClone", "origin");
      await config(repository, "remote.origin.promisor", "true");
      await config(repository, "remote.origin.url", `ext::${command}`);
      await config(repository, "protocol.ext.allow", "always");
    },
    naive: ["diff"],
  },
  {
    title: "a submodule with a filter of its own",
    async prepare(repository, command) {
      const inner = join(repository, "inner");
      await mkdir(inner);
      await git(inner, "init", "--quiet");
      await config(inner, "user.name", "x");
      await config(inner, "user.email", "x@y");
      await writeFile(join(inner, "a.txt"), "one\n");
      await git(inner, "add", "a.txt");
      await git(inner, "commit", "--quiet", "--message=inner");
      const head = await git(inner, "rev-parse", "HEAD");
      await git(repository, "update-index", "--add", "--cacheinfo", `160000,${head},inner`);
      const modules = '[submodule "inner"]\npath = inner\nurl = ./inner\nignore = none\n';
      await writeFile(join(repository, ".gitmodules"), modules);
      await attribute(inner, "filter=evil");
      await config(inner, "filter.evil.clean", command);
      await writeFile(join(inner, "a.txt"), "two\n");
    },
    naive: ["status"],
  },
];

async function config(repository: string, key: string, value: string): Promise<void> {
  await git(repository, "config", key, value);
}

async function attribute(repository: string, text: string): Promise<void> {
  await writeFile(join(repository, ".gitattributes"), `a.txt ${text}\n`);
}

async function script(file: string, command: string): Promise<void> {
  await writeFile(file, `#!/bin/sh\n${command}\n`);
  await chmod(file, 0o755);
}

describe("a hostile repository", () => {
  test.each(hostileRepositories)("does not get to run a command by $title", async (attack) => {
    const repository = await makeRepository("hostile");
    await attack.prepare(repository, `touch ${canary}`);
    await writeFile(join(repository, "a.txt"), "changed\n");
    const pristine = join(root, "pristine");
    await run("cp", ["-a", repository, pristine]);

    // The attack is real: plain git falls for it. (Git may fail afterwards.)
    await git(repository, ...attack.naive).catch(() => undefined);
    expect(existsSync(canary)).toBe(true);
    await rm(canary);
    await rm(repository, { recursive: true });
    await rename(pristine, repository);
    await utimes(join(repository, "a.txt"), new Date(), new Date());

    const repo = "hostile";
    const inputs: [string, JsonObject][] = [
      ["git_status", { repo }],
      ["git_diff", { repo }],
      ["git_diff", { repo, staged: true, file: "a.txt" }],
      ["git_log", { repo, oneline: false }],
      ["git_add", { repo, files: ["a.txt"] }],
      ["git_add", { repo, files: ["."] }],
      ["git_commit", { repo, message: "x" }],
      ["git_status", { repo }],
    ];
    for (const [tool, input] of inputs) {
      await host.call(tool, input, never);
      expect(existsSync(canary), tool).toBe(false);
    }
  });

  test("does not reach files outside by core.worktree", async () => {
    const repository = await makeRepository("hostile");
    const outside = join(root, "elsewhere");
    await mkdir(outside, { recursive: true });
    await writeFile(join(outside, "secret"), "the secret\n");
    await config(repository, "core.worktree", outside);
    expect(await refusal("git_add", { repo: "hostile", files: ["secret"] })).toContain("secret");
    expect(await call("git_status", { repo: "hostile" })).toMatchObject({ clean: true });
  });

  test.each(["logs/HEAD", "index", "config", "refs/heads/main", "objects", "HEAD"])(
    "does not reach files outside by a link at .git/%s",
    async (name) => {
      const repository = await makeRepository("hostile");
      const inside = join(repository, ".git", name);
      const outside = join(root, `moved-${name.replaceAll("/", "-")}`);
      await rename(inside, outside);
      await symlink(outside, inside);
      const message = await refusal("git_commit", { repo: "hostile", message: "evil" });
      expect(message).toContain("is a link");
    },
  );

  test("that needs a filter is told so, and keeps its index", async () => {
    const repository = await makeRepository("large");
    await attribute(repository, "filter=lfs");
    await config(repository, "filter.lfs.clean", "git-lfs clean -- %f");
    await appendFile(join(repository, "a.txt"), "more\n");
    expect(await refusal("git_add", { repo: "large", files: ["a.txt"] })).toContain("lfs");
    expect(await readFile(join(repository, "a.txt"), "utf8")).toBe("one\nmore\n");
    expect(await git(repository, "diff", "--cached", "--name-only")).toBe("");
  });
});
