import { execFile } from "node:child_process";
import { existsSync, lstatSync, readFileSync } from "node:fs";
import { appendFile, mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import * as fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { callTool } from "../support/call-tool.ts";
import { folderRecord } from "../support/folder-record.ts";
import { useTestRunnerRoom } from "../support/test-runner-room.ts";

const run = promisify(execFile);
const never = new AbortController().signal;
const { outside, root, host, makeProject, call } = useTestRunnerRoom([
  "--command",
  "sh=sh act.sh",
  "--command",
  "slow=sh slow.sh",
]);
const project = join(root, "project");
const canary = join(outside, "canary");

const git = (cwd: string, ...args: string[]) =>
  run(
    "git",
    ["-c", "protocol.file.allow=always", "-c", "user.name=x", "-c", "user.email=x@y", ...args],
    {
      cwd,
      env: { PATH: process.env["PATH"], HOME: outside, GIT_CONFIG_NOSYSTEM: "1" },
    },
  );

/** A git folder that runs a program of its choosing whenever somebody asks for the status there. */
const evil = (folder: string) =>
  `mkdir -p ${folder}/objects ${folder}/refs/heads && echo 'ref: refs/heads/main' > ${folder}/HEAD && ` +
  `printf '[core]\\nrepositoryformatversion = 0\\nfsmonitor = "touch ${canary}; false"\\n' > ${folder}/config`;

async function act(script: string, repo = "project"): Promise<JsonObject> {
  await writeFile(join(root, repo, "act.sh"), `${script}\n`);
  return (await call("run_command", { repo, command: "sh" })) as JsonObject;
}

describe("what runs later outside of the sandbox, and nobody reviews", () => {
  beforeEach(() => makeProject("project", { "package.json": "{}", "lib/a.txt": "" }));

  test("a project without a git folder gets none by its tests, not even for a while [tests.unplanted]", async () => {
    const seen: boolean[] = [];
    await writeFile(join(project, "slow.sh"), `${evil(".git")}; touch done; sleep 1`);
    const running = call("run_command", { repo: "project", command: "slow" });
    await expect.poll(() => existsSync(join(project, "done")), { timeout: 20_000 }).toBe(true);
    seen.push(existsSync(join(project, ".git", "HEAD")));
    await running;
    expect(seen).toEqual([false]);
    expect(existsSync(join(project, ".git"))).toBe(false);
  });

  test.each([
    ["a git folder further in", evil("lib/.git"), ["lib/.git"]],
    [
      "a .git that is a file",
      `${evil("lib/data")}; echo 'gitdir: data' > lib/.git`,
      ["lib/.git", "lib/data"],
    ],
    ["a .git that is a link", "ln -s ../other lib/.git", ["lib/.git"]],
    ["a repository without a working tree", evil("lib/bare"), ["lib/bare"]],
    [
      "a program of a package",
      "mkdir -p lib/node_modules/.bin; touch lib/node_modules/.bin/eslint",
      ["lib/node_modules"],
    ],
    [
      "a node_modules of its own",
      "mkdir -p node_modules/.bin; touch node_modules/.bin/eslint",
      ["node_modules"],
    ],
    [
      "a virtual environment",
      "mkdir -p lib/env/bin; touch lib/env/pyvenv.cfg lib/env/bin/python",
      ["lib/env"],
    ],
    ["a folder that nobody may list", "mkdir -p lib/.git/x; chmod 000 lib/.git/x", ["lib/.git"]],
    ["a name that is no text", `d="$(printf 'l\\377')"; mkdir -p "$d/.git"`, ["l\\xff/.git"]],
  ])("is removed where a run made it: %s [tests.unplanted]", async (_, script, removed) => {
    const done = await act(script);
    expect([...(done["removed"] as string[])].sort()).toEqual(removed);
    expect(
      (await readdir(project, { recursive: true })).filter((name) =>
        /\.git|node_modules|env|bare|data/.test(name),
      ),
    ).toEqual([]);
  });

  test("stays as it was where it is, however deep, and by whatever name it is reached [tests.unplanted]", async () => {
    await git(project, "init", "--quiet");
    await makeProject("library", { "a.txt": "x" });
    await git(join(root, "library"), "init", "--quiet");
    await git(join(root, "library"), "add", ".");
    await git(join(root, "library"), "commit", "--quiet", "--message=x");
    await git(project, "submodule", "add", "--quiet", join(root, "library"), "sub");
    await git(project, "worktree", "add", "--quiet", "--orphan", "tree").catch(() => undefined);
    await git(project, "init", "--quiet", "--bare", "lib/bare.git");
    await makeProject("project", {
      "packages/é/node_modules/.bin/eslint": "#!/bin/sh\n",
      // What a run of Vite makes is made for it.
      "packages/é/node_modules/.vite/x": "",
      "packages/é/node_modules/.vite-temp/x": "",
      "deps/.bin/eslint": "#!/bin/sh\n",
      "lib/env/pyvenv.cfg": "",
    });
    await symlink("../deps", join(project, "lib", "node_modules"));
    const guarded = [
      ".git",
      "sub/.git",
      "lib/bare.git",
      "packages/é/node_modules",
      "deps",
      "lib/env",
    ];
    const before = guarded.map((path) => record(join(project, path)));
    const tries = guarded.flatMap((path) => [
      `echo evil >> ${path}`,
      `echo evil >> ${path}/config`,
      `echo evil >> ${path}/.bin/eslint`,
      `touch ${path}/made`,
      `rm -rf ${path}`,
      `mv ${path} moved`,
      `ln -sfn /tmp ${path}`,
    ]);
    await act(tries.join("\n"));
    expect(guarded.map((path) => record(join(project, path)))).toEqual(before);
  });

  test("is not replaced by moving the folder that it lies in [tests.unplanted]", async () => {
    await git(project, "init", "--quiet", "lib");
    const done = await act(`mv lib kept; mkdir lib; ${evil("lib/.git")}`);
    expect(done["removed"]).toEqual(["lib/.git"]);
    expect(readFileSync(join(project, "kept", ".git", "HEAD"), "utf8")).toMatch(/^ref: /);
  });

  test("is no place for a project: in a git folder or node_modules nothing may write [tests.unplanted]", async () => {
    await git(root, "init", "--quiet", "--bare", "bare.git");
    await makeProject("project", { "node_modules/dep/package.json": "{}" });
    for (const repo of ["bare.git", "bare.git/hooks", "project/node_modules/dep"]) {
      await writeFile(join(root, repo, "act.sh"), "touch made");
      const asked = await callTool(host, "run_command", { repo, command: "sh" }, never);
      expect(asked, repo).toMatchObject({
        ok: false,
        failure: { message: expect.stringContaining("nothing may write in") },
      });
      expect(existsSync(join(root, repo, "made"))).toBe(false);
    }
  });

  test("whatever a run does with names: afterwards a person's git runs nothing of it [tests.unplanted]", async () => {
    await git(project, "init", "--quiet");
    await makeProject("library", { "a.txt": "x" });
    await git(join(root, "library"), "init", "--quiet");
    await git(join(root, "library"), "add", ".");
    await git(join(root, "library"), "commit", "--quiet", "--message=x");
    await git(project, "submodule", "add", "--quiet", join(root, "library"), "sub");
    const place = fc.constantFrom(
      ".git",
      "sub/.git",
      "sub",
      "lib",
      "lib/.git",
      "new",
      "new/.git",
      "x",
    );
    const step = fc.oneof(
      place.map((at) => `(${evil(at)})`),
      fc.tuple(place, place).map(([from, to]) => `mv ${from} ${to}`),
      fc.tuple(place, place).map(([from, to]) => `cp -r ${from} ${to}`),
      fc.tuple(place, place).map(([to, at]) => `ln -sfn ${to} ${at}`),
      fc.tuple(place, place).map(([to, at]) => `echo 'gitdir: ${project}/${to}' > ${at}`),
      place.map((at) => `rm -rf ${at}`),
    );
    await run("cp", ["-a", project, join(outside, "pristine")]);
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), async (steps) => {
        await run("sh", ["-c", `rm -rf '${project}' && cp -a '${outside}/pristine' '${project}'`]);
        await act(steps.join("\n"));
        const folders = (await readdir(project, { recursive: true, withFileTypes: true }))
          .filter(
            (entry) => entry.isDirectory() && !join(entry.parentPath, entry.name).includes("/.git"),
          )
          .map((entry) => join(entry.parentPath, entry.name));
        for (const folder of [project, ...folders])
          await git(folder, "status").catch(() => undefined);
        expect(existsSync(canary)).toBe(false);
      }),
      { numRuns: 25 },
    );
  }, 120_000);
});

function record(path: string): unknown {
  return lstatSync(path).isDirectory() ? folderRecord(path) : readFileSync(path, "utf8");
}

test("a run whose folder is exchanged for a link while it is being started sees nothing outside [tests.sandbox]", async () => {
  const victim = join(outside, "victim");
  await mkdir(victim, { recursive: true });
  await writeFile(join(victim, "secret"), "the secret");
  const script = "cat secret; touch owned; true\n";
  await writeFile(join(victim, "act.sh"), script);
  await makeProject("above", { "sub/act.sh": script });
  // Two servers, so that the runs don't wait for each other: here the other one is a process of this test.
  await appendFile(
    join(root, "above", "swap.py"),
    `import ctypes, os, time
libc = ctypes.CDLL(None, use_errno=True)
os.symlink(${JSON.stringify(victim)}, "link")
while not os.path.exists("enough"):
    libc.renameat2(-100, b"sub", -100, b"link", 2)
    time.sleep(0.0004)
`,
  );
  const swapping = run("python3", ["swap.py"], { cwd: join(root, "above") });
  let ran = 0;
  const until = Date.now() + 8_000;
  try {
    // For some seconds, and for longer where the machine has other work: it is nothing worth if nothing ran.
    while (Date.now() < until || ran === 0) {
      const input = { repo: "above/sub", command: "sh" };
      const answer = await callTool(host, "run_command", input, never);
      const told = answer.ok ? JSON.stringify(answer.value.content) : answer.failure.message;
      expect(told).not.toContain("the secret");
      if (answer.ok) ran += 1;
    }
  } finally {
    await writeFile(join(root, "above", "enough"), "");
    await swapping;
  }
  expect(await readdir(victim)).toEqual(["act.sh", "secret"]);
});

test("runs that write in the same folders wait for each other, and a cancelled one waits no longer [tests.sandbox]", async () => {
  await makeProject("project", {
    "slow.sh": "echo first >> log; sleep 2; echo first >> log",
    "lib/act.sh": "echo second >> ../log || true; ls .. ",
    "act.sh": "echo second >> log",
  });
  const slow = call("run_command", { repo: "project", command: "slow" });
  await expect.poll(() => existsSync(join(project, "log")), { timeout: 20_000 }).toBe(true);
  const gone = new AbortController();
  const waiting = callTool(
    host,
    "run_command",
    { repo: "project/lib", command: "sh" },
    gone.signal,
  );
  const after = call("run_command", { repo: "project", command: "sh" });
  gone.abort();
  expect(await waiting).toMatchObject({ ok: false });
  await Promise.all([slow, after]);
  expect(readFileSync(join(project, "log"), "utf8")).toBe("first\nfirst\nsecond\n");
});
