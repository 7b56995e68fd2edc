import { spawnSync } from "node:child_process";
import * as fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { existingPath, openProject } from "../../tools/test-runner/project.ts";
import { cleanTest } from "../../tools/test-runner/report.ts";
import { useTestRunnerRoom } from "../support/test-runner-room.ts";

const { root, makeProject, refusal } = useTestRunnerRoom();
const hasPytest = spawnSync("python3", ["-m", "pytest", "--version"], { cwd: "/" }).status === 0;
const plainTest = {
  name: "adds > one",
  file: "a.test.ts",
  line: 3,
  outcome: "passed" as const,
  durationMs: 0,
  message: null,
};

describe("a test's own words", () => {
  const rubbish = fc.oneof(
    fc.string({ unit: "binary", maxLength: 20 }),
    fc.constantFrom("\n", "\r\n", "\u001b[31m", "\0", "\ud800", "\u2028", "n".repeat(70_000)),
  );
  const text = fc.array(rubbish, { maxLength: 5 }).map((parts) => parts.join(""));
  const number = fc.oneof(fc.double(), fc.constantFrom(Infinity, -1, 2 ** 53 - 1, 7));

  it("are told in one line each, bounded, and with numbers that can be [tests.report]", () => {
    fc.assert(
      fc.property(text, text, number, number, (name, file, line, durationMs) => {
        const outcome = "failed" as const;
        const told = cleanTest({ name, file, line, durationMs, outcome, message: null });
        for (const said of [told.name, told.file ?? ""]) {
          expect(said).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u);
          expect(said.isWellFormed()).toBe(true);
          expect(said.length).toBeLessThanOrEqual(510);
        }
        for (const [at, given] of [
          [told.line, line],
          [told.durationMs, durationMs],
        ] as const) {
          expect(at === null || (at === given && at >= 0 && at < 2 ** 31)).toBe(true);
        }
      }),
    );
    expect(cleanTest({ ...plainTest, name: "a\nFAILED forged (x.py:1)" }).name).toBe(
      "a FAILED forged (x.py:1)",
    );
    expect(cleanTest(plainTest)).toEqual(plainTest);
  });

  it("begin no option's file: a path with an @ is told from a file of arguments [tests.report]", async () => {
    await makeProject("at", { "@args.txt": "--collect-only", "test_a.py": "" });
    const project = await openProject(root, "at");
    if (!project.ok) throw new Error(project.problem);
    expect(await existingPath(project.value, "@args.txt")).toEqual({
      ok: true,
      value: "./@args.txt",
    });
  });

  test.skipIf(!hasPytest)(
    "that make the report unreadable are said to do so [tests.report]",
    async () => {
      const lie = `import atexit, os
[report] = [a[11:] for a in open("/proc/self/cmdline").read().split("\\0") if a.startswith("--junitxml=")]
def write():
    open(report, "w").write("<testsuites><a></b></testsuites>")
    os._exit(0)
atexit.register(write)
def test_a():
    pass
`;
      await makeProject("lies", { "test_a.py": lie });
      const said = await refusal("run_tests", { repo: "lies", runner: "pytest" });
      expect(said).toContain("the JUnit report can't be read");
    },
  );
});
