import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { checkPath } from "../../tools/shared/check-path.ts";
import { findRepository } from "../../tools/git/find-repository.ts";
import { guards } from "../../tools/git/guards.ts";

const laidOver = (config: [string, string | null][]) => new Map(guards(config, "refuse"));

// Hooks in the configuration run from git 2.54 on, which few machines have: what is laid over them is all to see.
it.each(["hook.mine.command", "hook.mine.event", "hook.a.b c.command", "hook.mine.anything"])(
  "the configured hook of %s is disabled and has no command of the repository's",
  (key) => {
    const name = key.slice(0, key.lastIndexOf(".") + 1);
    const over = laidOver([[key, "curl example.com"]]);
    expect(over.get(`${name}enabled`)).toBe("false");
    expect(over.get(`${name}command`)).toBe("false");
  },
);

it("a filter of the repository's choosing runs nothing, and a file that wants it is refused", () => {
  const over = laidOver([["filter.lfs.process", "git-lfs filter-process"]]);
  for (const name of ["clean", "smudge", "process"])
    expect(over.get(`filter.lfs.${name}`)).toBe("");
  expect(over.get("filter.lfs.required")).toBe("true");
});

it("no file outside the repository decides what of it is hidden, whatever it configures", () => {
  const over = laidOver([["core.excludesFile", "/home/somebody/.ignore"]]);
  expect(over.get("core.excludesFile")).toBe("/dev/null");
  expect(over.get("core.attributesFile")).toBe("/dev/null");
  expect(over.get("core.hooksPath")).toBe("/dev/null");
});

it("a .git of more entries than are looked at is refused, and one of as many is not", async () => {
  const workspace = await realpath(await mkdtemp(join(tmpdir(), "stateplane-git-")));
  try {
    await mkdir(join(workspace, "repo", ".git"), { recursive: true });
    for (let n = 0; n < 5; n += 1)
      await writeFile(join(workspace, "repo", ".git", `file-${n}`), "");
    expect(await findRepository(workspace, "repo", { entryLimit: 5 })).toMatchObject({ ok: true });
    expect(await findRepository(workspace, "repo", { entryLimit: 4 })).toEqual({
      ok: false,
      problem: '.git of repository "repo": more than 4 entries',
    });
  } finally {
    await rm(workspace, { recursive: true });
  }
});

it("a path is judged by checkPath alone, before git sees it: .git in any case, separators, real parents", async () => {
  const root = await realpath(await mkdtemp(join(tmpdir(), "stateplane-git-")));
  try {
    const folder = join(root, "repo");
    await mkdir(join(folder, "sub"), { recursive: true });
    // Begins as the repository's folder does, and is another.
    await mkdir(join(root, "repo-2"));
    await symlink(join(root, "repo-2"), join(folder, "beside"));
    await symlink(root, join(folder, "above"));
    await symlink(join(folder, "sub"), join(folder, "within"));
    await symlink(join(root, "not-there-yet"), join(folder, "dangling"));
    const inGit = { ok: false, problem: expect.stringContaining("must not lead into .git") };
    for (const path of [".git", ".GIT", ".gIt/config", "sub/.GIT/x", "./.git/", ".git//x"]) {
      expect(await checkPath(folder, path), path).toEqual(inGit);
    }
    const outside = { ok: false, problem: expect.stringContaining("inside the repository") };
    for (const path of [
      "..",
      "sub/../..",
      "/x",
      "beside/x",
      "above/x",
      "above/no/such/x",
      "dangling/x",
      "",
      "a\0",
    ]) {
      expect(await checkPath(folder, path), path).toEqual(outside);
    }
    for (const [path, normal] of [
      [".", "."],
      ["./sub//x/", "sub/x"],
      ["within/x", "within/x"],
      ["gone/with/its/folder", "gone/with/its/folder"],
      // A link itself is a file like any other; git reads its text.
      ["beside", "beside"],
      [".gitignore", ".gitignore"],
    ] as const) {
      expect(await checkPath(folder, path), path).toEqual({ ok: true, value: normal });
    }
  } finally {
    await rm(root, { recursive: true });
  }
});
