import { appendFile, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { useGitRoom } from "../support/git-room.ts";

const { root, workspace, git, makeRepository, call, refusal } = useGitRoom([
  "--protect",
  "main",
  "--protect",
  "release*",
]);
const show = async (revision: string) =>
  (await call("git_show", { repo: "app", revision })) as JsonObject;

/** A repository with a submodule that is at another commit than the one recorded. */
async function makeMoved(): Promise<{ app: string; before: string; after: string }> {
  const app = await makeRepository("app");
  const inner = await makeRepository("app/lib");
  const before = await git(inner, "rev-parse", "HEAD");
  await git(app, "update-index", "--add", "--cacheinfo", `160000,${before},lib`);
  await git(app, "commit", "--quiet", "--message=with lib");
  await writeFile(join(inner, "a.txt"), "evil\n");
  await git(inner, "commit", "--quiet", "--all", "--message=evil");
  return { app, before, after: await git(inner, "rev-parse", "HEAD") };
}

describe("a submodule's commit", () => {
  test("is not staged with the rest, and that is said [git.submodules]", async () => {
    const { app, before } = await makeMoved();
    await writeFile(join(app, "b.txt"), "b\n");
    expect(await call("git_add", { repo: "app", files: ["."] })).toMatchObject({
      files: ["b.txt"],
    });
    expect(await git(app, "ls-files", "--stage", "lib")).toContain(before);
    const asked = await refusal("git_add", { repo: "app", files: ["b.txt", "lib"] });
    expect(asked).toContain('"lib" is a submodule, whose commit is not staged here');
  });

  test("that somebody else has staged is in the status, the diff, and what is shown of the commit [git.submodules]", async () => {
    const { app, after } = await makeMoved();
    await git(app, "add", "lib");
    const said = `+Subproject commit ${after}`;
    expect(await call("git_status", { repo: "app" })).toMatchObject({
      clean: false,
      files: [{ path: "lib", state: "M." }],
    });
    expect(
      ((await call("git_diff", { repo: "app", staged: true })) as JsonObject)["diff"],
    ).toContain(said);
    await call("git_commit", { repo: "app", message: "docs: fix a typo" });
    expect((await show("HEAD"))["diff"]).toContain(said);
  });

  test("is never read from where a .git file leads, whatever lies in the repository [git.submodules]", async () => {
    const app = await makeRepository("app");
    const outside = join(root, "elsewhere");
    await mkdir(outside);
    await git(outside, "init", "--quiet");
    await git(
      outside,
      "-c",
      "user.name=x",
      "-c",
      "user.email=x@y",
      "commit",
      "--quiet",
      "--allow-empty",
      "--message=secret",
    );
    const secret = await git(outside, "rev-parse", "HEAD");
    const shape = fc.constantFrom(
      "gitfile",
      "gitlink",
      "both",
      "file that became a folder",
      "plain",
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(shape, { minLength: 1, maxLength: 3 }),
        fc.boolean(),
        async (shapes, all) => {
          await git(app, "reset", "--quiet", "--hard");
          const names = shapes.map((_, at) => `part${at}`);
          for (const [at, kind] of shapes.entries()) {
            const folder = join(app, names[at] ?? "");
            await rm(folder, { recursive: true, force: true });
            if (kind === "file that became a folder") {
              await writeFile(folder, "x");
              await git(app, "add", names[at] ?? "");
              await rm(folder);
            }
            if (/gitlink|both/.test(kind)) {
              await git(
                app,
                "update-index",
                "--add",
                "--cacheinfo",
                `160000,${"1".repeat(40)},${names[at]}`,
              );
            }
            await mkdir(folder);
            if (kind === "plain" || kind === "gitlink") await writeFile(join(folder, "x"), "x");
            else await writeFile(join(folder, ".git"), `gitdir: ${outside}/.git\n`);
          }
          for (const files of all ? [["."]] : names.map((name) => [name])) {
            await call("git_add", { repo: "app", files }).catch(() => undefined);
          }
          expect(await git(app, "ls-files", "--stage")).not.toContain(secret);
        },
      ),
      { numRuns: 25 },
    );
  });
});

describe("a repository's own files", () => {
  test("do not decide whether its first commit is shown [git.told]", async () => {
    const app = await makeRepository("app");
    await git(app, "config", "log.showRoot", "false");
    await git(app, "config", "diff.orderFile", join(root, "no-such-file"));
    expect((await show("HEAD"))["diff"]).toContain("+one");
  });

  test("do not make up its history: grafts are refused, and no commit-graph is believed [git.told]", async () => {
    const app = await makeRepository("app");
    await git(app, "commit", "--quiet", "--allow-empty", "--message=second");
    await git(app, "commit-graph", "write", "--reachable");
    const graph = join(app, ".git", "objects", "info", "commit-graph");
    await git(app, "config", "core.commitGraph", "true");
    await rm(graph);
    await writeFile(graph, "CGPH, but forged");
    expect(((await call("git_log", { repo: "app" })) as JsonObject)["commits"]).toHaveLength(2);
    await mkdir(join(app, ".git", "info"), { recursive: true });
    await appendFile(
      join(app, ".git", "info", "grafts"),
      `${await git(app, "rev-parse", "HEAD")}\n`,
    );
    expect(await refusal("git_log", { repo: "app" })).toContain(
      '"info/grafts" makes up another history',
    );
  });
});

describe("a branch is the one of exactly that name", () => {
  test("and no tag called as its reference is pushed, checked out or deleted in its place [git.exact-branch]", async () => {
    const app = await makeRepository("app");
    await git(workspace, "init", "--quiet", "--bare", "up");
    await git(app, "remote", "add", "origin", "up");
    await git(app, "update-ref", "refs/tags/refs/heads/topic", "HEAD");
    const repo = "app";
    expect(await refusal("git_push", { repo, branch: "topic" })).toContain('no branch "topic"');
    expect(await refusal("git_checkout", { repo, branch: "topic" })).toContain(
      'there is no branch "topic"',
    );
    expect(await refusal("git_branch", { repo, name: "topic", delete: true })).toContain(
      'there is no branch "topic"',
    );
    expect(await git(join(workspace, "up"), "for-each-ref")).toBe("");
  });

  test("and none that another name leads to is pushed to [git.exact-branch]", async () => {
    const app = await makeRepository("app");
    await git(workspace, "init", "--quiet", "--bare", "up");
    await git(join(workspace, "up"), "symbolic-ref", "refs/heads/dev", "refs/heads/main");
    await git(app, "remote", "add", "origin", "up");
    await git(app, "branch", "dev");
    expect(await refusal("git_push", { repo: "app", branch: "dev" })).toContain(
      'branch "dev" of origin is another name of "main" there',
    );
    expect(await git(join(workspace, "up"), "for-each-ref")).toBe("");
  });

  test.each(["main", "MAIN", "release", "release-1", "release/1.0", "release/a/b"])(
    "and %s is protected, since a star does not stop at a slash [git.exact-branch]",
    async (branch) => {
      const app = await makeRepository("app");
      await git(workspace, "init", "--quiet", "--bare", "up");
      await git(app, "remote", "add", "origin", "up");
      await git(app, "branch", branch).catch(() => undefined);
      expect(await refusal("git_push", { repo: "app", branch })).toContain("is protected");
    },
  );
});
