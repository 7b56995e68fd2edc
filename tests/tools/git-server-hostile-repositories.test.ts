import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import {
  appendFile,
  chmod,
  mkdir,
  readFile,
  rename,
  rm,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { useGitRoom } from "../support/git-room.ts";
import { callTool } from "../support/call-tool.ts";

const run = promisify(execFile);
const never = new AbortController().signal;
const { root, canary, host, git, makeRepository, call, refusal } = useGitRoom();

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
    title: "a filter whose name is not UTF-8",
    async prepare(repository, command) {
      const name = Buffer.from([0xff]);
      const attributes = Buffer.concat([Buffer.from("a.txt filter="), name, Buffer.from("\n")]);
      await writeFile(join(repository, ".gitattributes"), attributes);
      const section = [Buffer.from('[filter "'), name, Buffer.from(`"]\nclean = ${command}\n`)];
      await appendFile(join(repository, ".git", "config"), Buffer.concat(section));
    },
    naive: ["add", "a.txt"],
  },
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
      await callTool(host, tool, input, never);
      expect(existsSync(canary), tool).toBe(false);
    }
  });

  test("whose configuration has a key that is not UTF-8 is refused by that key [git.names]", async () => {
    const repository = await makeRepository("hostile");
    const section = Buffer.from('[filter "\xff"]\nclean = cat\n', "latin1");
    await appendFile(join(repository, ".git", "config"), section);
    for (const [tool, input] of [
      ["git_status", {}],
      ["git_diff", {}],
      ["git_log", {}],
      ["git_add", { files: ["."] }],
      ["git_commit", { message: "x" }],
    ] as [string, JsonObject][]) {
      const message = await refusal(tool, { repo: "hostile", ...input });
      expect(message).toContain("a key that is not UTF-8: filter.\\xff.clean");
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
