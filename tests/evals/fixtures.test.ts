import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { prepareFolder } from "../../evals/fixtures.ts";

const run = promisify(execFile);
let base: string;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "stateplane fixture-"));
  await mkdir(join(base, "project", "src"), { recursive: true });
  await writeFile(join(base, "project", "src", "a b.py"), "a = 1\n");
  await writeFile(join(base, "project", "old.txt"), "old\n");
});
afterAll(() => rm(base, { recursive: true, force: true }));

const place = () => ({ workspace: join(base, "trials"), unseen: join(base, "seen") });

it("sees what an agent changed, whatever it did to its own git, and runs nothing of it [evals.seen]", async () => {
  const trial = await prepareFolder(join(base, "project"), place(), "t-1");
  const git = (...args: string[]) => run("git", ["-C", trial.folder, ...args]);
  expect(await trial.look()).toEqual({
    files: { changed: [], created: [], deleted: [] },
    diff: "",
  });
  const ran = join(base, "ran");
  for (const key of ["core.fsmonitor", "diff.external", "filter.x.clean", "core.pager"])
    await git("config", key, `touch '${ran}'`);
  await writeFile(join(trial.folder, ".gitattributes"), "*.py filter=x diff=x\n");
  await writeFile(join(trial.folder, "src", "a b.py"), "a = 2\n");
  await writeFile(join(trial.folder, "n\u00e9w.txt"), "new\n");
  await rm(join(trial.folder, "old.txt"));
  await rm(join(trial.folder, ".git"), { recursive: true });
  const { files, diff } = await trial.look();
  expect(files).toEqual({
    changed: ["src/a b.py"],
    created: [".gitattributes", "n\u00e9w.txt"],
    deleted: ["old.txt"],
  });
  expect(diff).toContain("+a = 2");
  expect(await readdir(base)).not.toContain("ran");
  await trial.remove();
  expect(await readdir(join(base, "trials"))).toEqual([]);
  expect(await readdir(join(base, "seen"))).toEqual([]);
});

it("hides nothing by an agent's ignore rules, attributes or repositories within [evals.seen]", async () => {
  const source = join(base, "ignoring");
  await mkdir(join(source, "n"), { recursive: true });
  await writeFile(join(source, ".gitignore"), "built/\n*.log\n");
  await writeFile(join(source, "a.txt"), "a\n");
  await writeFile(join(source, "n", "b.txt"), "b\n");
  const trial = await prepareFolder(source, place(), "t-3");
  const put = async (path: string, text: string) => {
    await mkdir(join(trial.folder, path, ".."), { recursive: true });
    await writeFile(join(trial.folder, path), text);
  };
  await put(".gitignore", "*\n");
  await put("evil.sh", "1\n");
  await put("d/.gitignore", "*\n");
  await put("d/evil.sh", "2\n");
  await put(".gitattributes", "*.txt -diff working-tree-encoding=UTF-16\n");
  await put("a.txt", "changed\n");
  await run("git", ["init", "--quiet", join(trial.folder, "n")]);
  await put("n/evil.sh", "3\n");
  await put("built/x", "by the fixture's own rules\n");
  await put("d/x.log", "likewise\n");
  const { files, diff } = await trial.look();
  expect(files).toEqual({
    changed: [".gitignore", "a.txt"],
    created: [".gitattributes", "d/.gitignore", "d/evil.sh", "evil.sh", "n/evil.sh"],
    deleted: [],
  });
  expect(diff).toContain("+changed");
  // A file that became a folder, and a folder that became a file.
  await rm(join(trial.folder, "a.txt"));
  await put("a.txt/in", "1\n");
  await rm(join(trial.folder, "n"), { recursive: true });
  await put("n", "1\n");
  expect((await trial.look()).files).toMatchObject({
    created: expect.arrayContaining(["a.txt/in", "n"]) as unknown,
    deleted: ["a.txt", "n/b.txt"],
  });
  await trial.remove();
});

it("makes a git bundle ready, with its history and a remote to push to", async () => {
  const source = await prepareFolder(join(base, "project"), place(), "source");
  const bundle = join(base, "project.bundle");
  await run("git", ["-C", source.folder, "bundle", "create", "--quiet", bundle, "main"]);
  await source.remove();
  const trial = await prepareFolder(bundle, place(), "t-2");
  const git = async (...args: string[]) => (await run("git", ["-C", trial.folder, ...args])).stdout;
  expect(await git("log", "--format=%s")).toBe("Begin\n");
  await git("checkout", "--quiet", "-b", "mend");
  await git("push", "--quiet", "origin", "mend");
  expect(await git("ls-remote", "--heads", "origin")).toContain("refs/heads/mend");
  await trial.remove();
});
