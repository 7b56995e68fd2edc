import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { folderRecord } from "../support/folder-record.ts";
import { hostileInput, hostileString, rawByte, stringArguments } from "../support/hostile-input.ts";
import { RecordedServer, type Started, takeTraced, tracedGit } from "../support/recorded-server.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

/** More sequences of calls than the suite makes: FUZZ_RUNS=5000 npx vitest run tests/tools/git-fuzz.test.ts */
const runs = Number(process.env["FUZZ_RUNS"] ?? 60);
const server = fileURLToPath(new URL("../../tools/git/server.ts", import.meta.url));

const base = useTemporaryFolder();
const [root, outside, template, home, tmp] = ["root", "outside", "template", "home", "tmp"].map(
  (name) => join(base, name),
) as [string, string, string, string, string];
const canary = `canary-${randomUUID()}`;

/** What gets each argument through, so that the others are tried too. An argument without one fails the first test. */
const plain = {
  repo: ["project", "project", "project", "other", "linked-repository"],
  file: ["a.txt", "sub", "."],
  files: ["a.txt", "sub/b.txt", ".", "to-secret"],
  revision: ["HEAD", "main", "topic", "HEAD~1"],
  message: ["a message"],
  author: ["Ada <ada@example.org>"],
  branch: ["topic", "main", "fresh"],
  from: ["HEAD", "topic"],
  url: ["shared.git", "other", "https://localhost:1/x.git"],
  remote: ["origin", "away"],
  name: ["copy", "fresh", "topic"],
};

const git = (cwd: string, ...args: string[]): string =>
  execFileSync("git", args, {
    cwd,
    env: { PATH: process.env["PATH"], HOME: base, GIT_CONFIG_NOSYSTEM: "1" },
    encoding: "utf8",
  });

function makeRepository(folder: string): void {
  mkdirSync(join(folder, "sub"), { recursive: true });
  git(folder, "init", "--quiet", "--initial-branch=main");
  git(folder, "config", "user.name", "Ada");
  git(folder, "config", "user.email", "ada@example.org");
  writeFileSync(join(folder, "a.txt"), "one\n");
  writeFileSync(join(folder, "sub", "b.txt"), "b\n");
  symlinkSync(join(outside, "secret"), join(folder, "to-secret"));
  git(folder, "add", ".");
  git(folder, "commit", "--quiet", "--message=first");
  git(folder, "branch", "topic");
  git(folder, "commit", "--quiet", "--allow-empty", "--message=second");
  git(folder, "switch", "--quiet", "--create", "work");
  symlinkSync(outside, join(folder, "way-out"));
  appendFileSync(join(folder, "a.txt"), "two\n");
}

/** Programs that begin when git can be made to start something: each leaves a mark outside. */
function addHook(folder: string, name: string): void {
  mkdirSync(join(folder, "hooks"), { recursive: true });
  writeFileSync(join(folder, "hooks", name), `#!/bin/sh\ntouch '${outside}/made'\n`);
  chmodSync(join(folder, "hooks", name), 0o755);
}

let recorded: RecordedServer;
let tools: Awaited<ReturnType<RecordedServer["start"]>>;
beforeAll(async () => {
  for (const folder of [root, outside, template, home, tmp]) mkdirSync(folder);
  writeFileSync(join(outside, "secret"), `${canary}\n`);
  writeFileSync(join(outside, canary), canary);
  makeRepository(join(outside, "repository"));
  writeFileSync(join(outside, "repository", "a.txt"), canary);
  git(join(outside, "repository"), "commit", "--quiet", "--all", `--message=${canary}`);
  for (const name of ["project", "other"]) makeRepository(join(template, name));
  git(template, "clone", "--quiet", "--bare", "project", "shared.git");
  const project = join(template, "project");
  git(project, "remote", "add", "origin", join(root, "shared.git"));
  git(project, "remote", "add", "away", "https://localhost:1/x.git");
  for (const name of ["post-checkout", "reference-transaction", "pre-push", "post-index-change"]) {
    addHook(join(project, ".git"), name);
  }
  for (const name of ["pre-receive", "update", "post-receive"]) {
    addHook(join(template, "shared.git"), name);
  }
  symlinkSync(outside, join(template, "linked"));
  symlinkSync(join(outside, "repository"), join(template, "linked-repository"));
  mkdirSync(join(template, "borrowed"));
  writeFileSync(join(template, "borrowed", ".git"), `gitdir: ${outside}/repository/.git\n`);
  recorded = new RecordedServer(
    join(base, "records"),
    server,
    ["--root", root, "--allow-host", "localhost:1", "--protect", "main"],
    { cwd: home, env: { HOME: home, TMPDIR: tmp } },
  );
  tools = await recorded.start();
});
afterAll(() => recorded.stop());

function resetRoot(): void {
  rmSync(root, { recursive: true });
  mkdirSync(root);
  execFileSync("cp", ["-a", `${template}/.`, root]);
}

/** What git may start: itself, and for a repository of the root the other side, by the shell line that we make. */
function isGit({ program, args, byShell }: Started): boolean {
  if (!byShell) return /^git(?:-[a-z-]+)?$/.test(program) && program !== "git-shell";
  const [, command, path] =
    /^(?:GIT_CONFIG_[A-Z0-9_]+='(?:[^']|'\\'')*' )+git (upload|receive)-pack '([^']*)'$/.exec(
      program,
    ) ?? [];
  return command !== undefined && args.length === 0 && path?.startsWith(`${root}/`) === true;
}

test("each string argument of each tool has a plain value to begin with", () => {
  const named = tools.flatMap(({ inputSchema }) => stringArguments(inputSchema));
  expect(tools.length).toBe(10);
  expect([...new Set(named)].sort()).toEqual(Object.keys(plain).sort());
});

test("a program that git starts is seen: a hook, where git is run without the server", () => {
  resetRoot();
  const folder = join(base, "records", "seen");
  mkdirSync(folder, { recursive: true });
  tracedGit(join(folder, "..", "traced"), folder);
  const project = join(root, "project");
  execFileSync(join(folder, "..", "traced"), ["switch", "--quiet", "--force", "topic"], {
    cwd: project,
  });
  const started = takeTraced(folder);
  expect(started.some(({ program }) => program.includes("post-checkout"))).toBe(true);
  expect(started.every(isGit)).toBe(false);
  rmSync(join(outside, "made"));
});

test(
  "whatever a caller says: nothing outside the root is read or written, and nothing but git starts [git.hostile]",
  { timeout: 60_000 + runs * 3_000 },
  async () => {
    const hostile = hostileString(outside, Object.values(plain).flat());
    const calls = fc.array(
      fc.oneof(
        ...tools.map(({ name, inputSchema }) =>
          hostileInput(inputSchema, plain, hostile).map((input) => ({ name, input })),
        ),
      ),
      { minLength: 1, maxLength: 4 },
    );
    const before = folderRecord(outside);
    const config = readFileSync(join(template, "project", ".git", "config"), "utf8");
    const hooks = folderRecord(join(template, "project", ".git", "hooks"));
    let [done, refused] = [0, 0];
    await fc.assert(
      fc.asyncProperty(calls, async (sequence) => {
        resetRoot();
        recorded.takeStarted();
        for (const { name, input } of sequence) {
          const answer = await recorded.call(name, input, rawByte);
          const started = recorded.takeStarted();
          expect(JSON.stringify(answer)).not.toContain(canary);
          expect(started.filter((one) => !isGit(one))).toEqual([]);
          if (answer.result?.isError === false || answer.result?.structuredContent) done += 1;
          else refused += 1;
        }
        expect(folderRecord(outside)).toEqual(before);
        expect([readdirSync(home), readdirSync(tmp)]).toEqual([[], []]);
        const own = join(root, "project", ".git");
        expect(folderRecord(join(own, "hooks"))).toEqual(hooks);
        const now = readFileSync(join(own, "config"), "utf8");
        expect(now.slice(0, config.length)).toBe(config);
        expect(now.slice(config.length)).toMatch(
          /^(?:\[branch "[^"\n]*"\]\n(?:\t(?:remote|merge) = \S+\n)+)*$/,
        );
      }),
      { numRuns: runs },
    );
    // Both ways were tried: calls that get through, and calls that don't.
    expect(Math.min(done, refused)).toBeGreaterThan(runs / 4);
  },
);
