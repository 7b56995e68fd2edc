import { execFile } from "node:child_process";
import { appendFile, chmod, mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, expect, it } from "vitest";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import { holdFolder } from "../../cli/commands/eval-lock.ts";
import { digestOfPath } from "../../evals/digest.ts";
import { prepareFolder } from "../../evals/fixtures.ts";
import { readSuite } from "../../evals/suite.ts";
import { isAlive } from "../support/is-alive.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const run = promisify(execFile);
const base = useTemporaryFolder();
const folder = join(base, "data");
beforeAll(async () => {
  await mkdir(join(folder, "good", "in"), { recursive: true });
  await mkdir(join(base, "outside"));
  await writeFile(join(base, "outside", "secret"), "secret");
  await writeFile(join(folder, "good", "in", "a"), "a");
  await symlink("in/a", join(folder, "good", "link"));
  await symlink("../outside", join(folder, "out"));
  for (const [name, target] of [
    ["absolute", join(base, "outside", "secret")],
    ["up", "../../outside/secret"],
    ["beside", "../good/in/a"],
  ] as const) {
    await mkdir(join(folder, name, "deep"), { recursive: true });
    await symlink(target, join(folder, name, "link"));
  }
});

const read = (given: object) =>
  readSuite(
    { given: { name: "s", scorers: [{ type: "lint" }], ...given }, folder, text: "" },
    { models: null, schemas: createSchemaChecker() },
    { filter: {}, settings: {} },
  );

it("a fixture stands beside its dataset, with all that its links lead to [evals.within]", async () => {
  const names = [
    "good",
    "../outside",
    join(base, "outside"),
    "out",
    "none",
    "absolute",
    "up",
    "beside",
  ];
  const tasks = names.map((fixture, at) => ({ id: `t${at}`, input: {}, fixture }));
  const suite = await read({ tasks });
  if (Array.isArray(suite)) throw new Error(JSON.stringify(suite));
  expect(suite.tasks.map(({ fixture }) => fixture)).toEqual(["good"]);
  expect(suite.bad.map(({ line, problem }) => `${line} ${problem}`)).toEqual([
    '2 fixture: expected a path within the dataset\'s folder, not "../outside"',
    `3 fixture: expected a path within the dataset's folder, not ${JSON.stringify(names[2])}`,
    '4 fixture: "out" is a link that leads out of the dataset\'s folder',
    '5 fixture: there is no file or folder "none" in the dataset\'s folder',
    `6 fixture: the link link leads out of it, to ${join(base, "outside", "secret")}`,
    "7 fixture: the link link leads out of it, to ../../outside/secret",
    "8 fixture: the link link leads out of it, to ../good/in/a",
  ]);
  // A link may have come after it was read, or in a bundle.
  const place = { workspace: join(base, "trials"), unseen: join(base, "seen") };
  await expect(prepareFolder(join(folder, "up"), place, "t")).rejects.toThrow("leads out of it");
});

it("neither links after links nor another's repository lead out of a fixture, and a pipe is not waited for [evals.within]", async () => {
  const made = (name: string) => mkdir(join(folder, name, "a", "b"), { recursive: true });
  const names = ["chain", "pipe", "worktree", "gitlink", "borrowing", "elsewhere", "own"];
  for (const name of names) if (name !== "worktree") await made(name);
  // Each by its words within: `top` is the fixture itself, and up of it is outside.
  await symlink("../..", join(folder, "chain", "a", "b", "top"));
  await symlink("a/b/top/../../outside/secret", join(folder, "chain", "out"));
  await run("mkfifo", [join(folder, "pipe", "a", "waits")]);
  const real = join(base, "real");
  const git = (...args: string[]) =>
    run("git", ["-c", "user.name=Me", "-c", "user.email=me@x", "-C", real, ...args]);
  await mkdir(real);
  await git("init", "-q");
  await git("commit", "-q", "--allow-empty", "-m", "one");
  await git("remote", "add", "origin", "https://example.com/real.git");
  await git("worktree", "add", "-q", "--force", join(folder, "worktree"), "-b", "other");
  await symlink(join(real, ".git"), join(folder, "gitlink", ".git"));
  await run("git", ["clone", "-q", "--shared", real, join(folder, "borrowing", "c")]);
  await run("git", ["clone", "-q", real, join(folder, "own", "c")]);
  await run("git", ["init", "-q", join(folder, "elsewhere")]);
  await run("git", ["-C", join(folder, "elsewhere"), "config", "core.worktree", real]);
  const before = await readFile(join(real, ".git", "config"), "utf8");
  const suite = await read({
    tasks: names.map((fixture, at) => ({ id: `t${at}`, input: {}, fixture })),
  });
  if (Array.isArray(suite)) throw new Error(JSON.stringify(suite));
  expect(suite.bad.map(({ line, problem }) => [line, problem.slice(9)])).toEqual([
    [1, "the link out leads out of it, to a/b/top/../../outside/secret"],
    [2, "a/waits is neither a file, nor a folder, nor a link"],
    [3, expect.stringContaining(`.git leads out of it, to ${real}`)],
    [4, expect.stringContaining("the link .git leads out of it")],
    [5, expect.stringContaining(`c/.git leads out of it, to ${real}`)],
  ]);
  const place = { workspace: join(base, "trials"), unseen: join(base, "seen") };
  for (const name of ["worktree", "gitlink", "elsewhere"])
    await expect(prepareFolder(join(folder, name), place, name)).rejects.toThrow(".git");
  expect(await readFile(join(real, ".git", "config"), "utf8")).toBe(before);
  await (await prepareFolder(join(folder, "own", "c"), place, "own")).remove();
});

it("a file that may be run now, or an empty one in an empty folder's place, makes a fixture another [evals.resumed]", async () => {
  const at = join(base, "kinds");
  await mkdir(join(at, "x"), { recursive: true });
  const digests = [await digestOfPath(at)];
  await rm(join(at, "x"), { recursive: true });
  await writeFile(join(at, "x"), "");
  digests.push(await digestOfPath(at));
  await chmod(join(at, "x"), 0o755);
  digests.push(await digestOfPath(at));
  expect(new Set(digests).size).toBe(3);
});

it("a suite is called what a file may be called [evals.within]", async () => {
  for (const name of ["../x", "a/b", "a\\b", ".hidden", "..", "a\nb"])
    expect(await read({ name, tasks: [{ id: "t", input: {} }] })).toMatchObject([
      { path: ["name"] },
    ]);
  expect(await read({ name: "A suite: ö", tasks: [{ id: "t", input: {} }] })).not.toBeInstanceOf(
    Array,
  );
});

it("branches, tags, settings and hooks of a fixture's repository are a part of it, how git packs them is not [evals.resumed]", async () => {
  const repo = join(base, "repo");
  const git = (...args: string[]) =>
    run("git", ["-C", repo, "-c", "user.name=a", "-c", "user.email=a@b", ...args]);
  await mkdir(repo);
  await git("init", "-q", "-b", "main");
  const digests = [await digestOfPath(repo)];
  const changes: [string, () => Promise<unknown>][] = [
    ["commit", () => git("commit", "-q", "--allow-empty", "-m", "one")],
    ["branch", () => git("branch", "other")],
    ["checkout", () => git("checkout", "-q", "other")],
    ["tag", () => git("tag", "v1")],
    ["config", () => git("config", "core.pager", "less")],
    ["exclude", () => appendFile(join(repo, ".git", "info", "exclude"), "x\n")],
    ["hook", () => writeFile(join(repo, ".git", "hooks", "pre-commit"), "exit 1")],
  ];
  for (const [, change] of changes) {
    await change();
    digests.push(await digestOfPath(repo));
  }
  expect(new Set(digests).size).toBe(changes.length + 1);
  await git("pack-refs", "--all");
  await git("gc", "-q");
  await git("status");
  expect(await digestOfPath(repo)).toBe(digests.at(-1));
});

it("code that a suite imports is a part of what an eval is known by [evals.resumed]", async () => {
  const at = join(base, "code");
  await mkdir(at);
  await writeFile(
    join(at, "s.mjs"),
    `import { say } from "./agent.mjs";
export default { name: "s", tasks: [{ id: "t", input: {} }], scorers: [{ type: "lint" }], run: () => ({ output: say }) };\n`,
  );
  const module = new URL("../../cli/commands/eval-suites.ts", import.meta.url).href;
  await writeFile(join(at, "config.mjs"), 'import "./agent.mjs";\nexport default {};\n');
  await writeFile(join(at, "late.mjs"), "");
  const users = new URL("../../cli/config/users-modules.ts", import.meta.url).href;
  // In a process of its own: what was loaded once is not loaded again, as what the configuration imports too.
  const script = `import { openSuite } from ${JSON.stringify(module)};
import { loadUsersModule, watchUsersModules } from ${JSON.stringify(users)};
const config = await loadUsersModule(${JSON.stringify(join(at, "config.mjs"))});
if (!config.files.some((file) => file.endsWith("agent.mjs"))) throw new Error("not seen");
const given = { folder: ${JSON.stringify(at)}, output: { remark() {} }, invocation: { flags: {} } };
console.log((await openSuite("s.mjs", given, { filter: {}, settings: {} }, null)).code);
using later = watchUsersModules();
if (later.isLoaded()) throw new Error("nothing is late yet");
await import(${JSON.stringify(join(at, "late.mjs"))});
if (!later.isLoaded()) throw new Error("late code was not seen");`;
  const code = async (agent: string) => {
    await writeFile(join(at, "agent.mjs"), `export const say = ${JSON.stringify(agent)};\n`);
    return (await run(process.execPath, ["--input-type=module", "-e", script])).stdout.trim();
  };
  const one = await code("a");
  expect(one).toMatch(/^[0-9a-f]{64}$/u);
  expect(await code("b")).not.toBe(one);
  expect(await code("a")).toBe(one);
});

it("the folder of an eval is one process's alone until that is gone, whatever ids processes have [evals.resumed]", async () => {
  const at = join(base, "held");
  await mkdir(at);
  // What a process before this one may have left, of the same id or of none.
  for (const left of [String(process.pid), ""]) await writeFile(join(at, "process"), left);
  await writeFile(join(at, "checkpoints.jsonl"), "kept\n");
  const first = await holdFolder(at, false);
  const module = new URL("../../cli/commands/eval-lock.ts", import.meta.url).href;
  const other = (then: string) => [
    "--input-type=module",
    "-e",
    `import { holdFolder } from ${JSON.stringify(module)}; await holdFolder(${JSON.stringify(at)}, false); ${then}`,
  ];
  await expect(run(process.execPath, other(""))).rejects.toThrow(
    "another process runs this eval already",
  );
  await first[Symbol.asyncDispose]();
  const dies = await run(
    process.execPath,
    other("console.log(process.pid); process.kill(process.pid, 'SIGKILL')"),
  ).catch((error: { stdout: string }) => error);
  expect(isAlive(Number(dies.stdout))).toBe(false);
  const again = await holdFolder(at, false);
  expect(await readFile(join(at, "checkpoints.jsonl"), "utf8")).toBe("kept\n");
  await again.forget();
  await rm(join(at, "process"));
  await again[Symbol.asyncDispose]();
  await expect(readFile(at)).rejects.toMatchObject({ code: "ENOENT" });
});
