import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { type Leavings, readCargoTest, readGoTest } from "../../tools/test-runner/read-tests.ts";
import { RecordedServer } from "../support/recorded-server.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const base = useTemporaryFolder();
const none: Leavings = { project: "/p", report: "", coverage: "", stdout: "" };
const go = (count: number, event: (at: number) => object) => ({
  ...none,
  stdout: Array.from({ length: count }, (_, at) => JSON.stringify(event(at))).join("\n"),
});

/** Each took time by the square of its size; at these sizes, minutes. */
test.each([
  [
    "go: failing tests",
    () => readGoTest(go(60_000, (at) => ({ Action: "fail", Package: "p", Test: `T${at}` }))),
  ],
  [
    "go: one test inside the other",
    () => readGoTest(go(1_000, (at) => ({ Action: "fail", Package: "p", Test: "T/".repeat(at) }))),
  ],
  [
    "go: a long output, and the outcome again and again",
    () =>
      readGoTest(
        go(20_000, (at) =>
          at === 0
            ? { Action: "output", Package: "p", Test: "T", Output: " \n".repeat(400_000) }
            : { Action: "fail", Package: "p", Test: "T" },
        ),
      ),
  ],
  [
    "cargo: one test again and again, and much that it said",
    () =>
      readCargoTest({
        ...none,
        stdout: `running 1 test\n${"test a ... FAILED\n".repeat(100_000)}\n---- a stdout ----\n${"panicked at x:".repeat(300_000)}`,
      }),
  ],
])("a report of many tests costs no more than its size: %s [tests.bounds]", (_, read) => {
  const before = process.cpuUsage();
  expect(read().ok).toBe(true);
  expect(process.cpuUsage(before).user / 1_000).toBeLessThan(5_000);
});

test.each(["git", "test-runner"])(
  "where TMPDIR is no folder, the %s server says so in a sentence [tests.bounds]",
  async (name) => {
    const run = promisify(execFile);
    const root = join(base, `root-${name}`);
    const repository = join(root, "a");
    for (const args of [
      ["init", "--quiet", "--initial-branch=main", repository],
      ["init", "--quiet", "--bare", join(root, "up")],
      [
        "-C",
        repository,
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@y",
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "x",
      ],
      ["-C", repository, "branch", "topic"],
      ["-C", repository, "remote", "add", "origin", "up"],
    ]) {
      await run("git", args);
    }
    const server = fileURLToPath(new URL(`../../tools/${name}/server.ts`, import.meta.url));
    const recorded = new RecordedServer(join(base, `records-${name}`), server, ["--root", root], {
      cwd: base,
      env: { TMPDIR: join(base, "no-such-folder") },
    });
    await recorded.start();
    const { error, result } = await (name === "git"
      ? recorded.call("git_push", { repo: "a", branch: "topic" })
      : recorded.call("run_tests", { repo: "a", runner: "node" }));
    await recorded.stop();
    expect(error).toBeUndefined();
    expect(result?.isError).toBe(true);
    expect(result?.content?.[0]?.text).toMatch(/no-such-folder/);
  },
);
