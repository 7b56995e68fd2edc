import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { checkers } from "../../tools/test-runner/checkers.ts";
import { type Leavings } from "../../tools/test-runner/read-tests.ts";
import { testRunners } from "../../tools/test-runner/runners.ts";
import { useTestRunnerRoom } from "../support/test-runner-room.ts";

const { makeProject, call, refusal } = useTestRunnerRoom();
const has = (...words: [string, ...string[]]) =>
  spawnSync(words[0], words.slice(1), { cwd: "/" }).status === 0;

const python = `import pytest

def add(a, b):
    return a - b

class TestSums:
    @pytest.mark.parametrize("a,b", [(1, 0), (1, 2)])
    def test_add(self, a, b):
        assert add(a, b) == a + b, "adds badly"

def test_ok():
    pass

@pytest.mark.skip(reason="not today")
def test_skipped():
    pass
`;

const script = (framework: string) => `import { it, describe } from "${framework}";
import assert from "node:assert";
describe("sums", () => {
  it("adds", () => {
    assert.equal(1 + 1, 3, "adds badly");
  });
  it("fine", () => {});
  it.skip("skipped", () => {});
});
`;

const manifest = (packages: object) =>
  JSON.stringify({ type: "module", devDependencies: packages });

describe("the test-runner server runs a real", () => {
  test.skipIf(!has("python3", "-m", "pytest", "--version"))(
    "pytest (install python3-pytest where this is skipped) [tests.report]",
    async () => {
      await makeProject("sums", { "test_sums.py": python, "pyproject.toml": "" });
      const all = await call("run_tests", { repo: "sums" });
      expect(all).toMatchObject({
        runner: "pytest",
        ok: false,
        passed: 2,
        failed: 1,
        skipped: 1,
        total: 4,
        failures: [
          {
            name: "TestSums::test_add[1-2]",
            file: "test_sums.py",
            line: 9,
            message: expect.stringContaining("AssertionError: adds badly"),
          },
        ],
      });
      const one = await call("run_tests", { repo: "sums", paths: ["test_sums.py"], name: "ok" });
      expect(one).toMatchObject({ ok: true, passed: 1, total: 1, failures: [] });
      await makeProject("sums", { "test_sums.py": "import nothing_of_the_kind\n" });
      const broken = (await call("run_tests", { repo: "sums" })) as JsonObject;
      expect(broken).toMatchObject({ ok: false, failed: 1 });
      expect(JSON.stringify(broken)).toContain("No module named 'nothing_of_the_kind'");
    },
  );

  test("vitest [tests.report]", async () => {
    const files = {
      "package.json": manifest({ vitest: "*" }),
      "sums.test.ts": script("vitest"),
      "vitest.config.ts":
        'import { defineConfig } from "vitest/config";\nexport default defineConfig({});\n',
      "sub/broken.test.ts": 'import "./nothing.ts";\n',
    };
    await makeProject("sums", files, ["vitest"]);
    const all = await call("run_tests", { repo: "sums" });
    expect(all).toMatchObject({ runner: "vitest", ok: false, passed: 1, failed: 2, skipped: 1 });
    const one = await call("run_tests", { repo: "sums", paths: ["sums.test.ts"] });
    expect(one).toMatchObject({
      failed: 1,
      failures: [
        { name: "sums > adds", file: "sums.test.ts", line: 5, message: expect.any(String) },
      ],
    });
    expect(JSON.stringify(one)).toContain("adds badly");
    expect(
      await call("run_tests", { repo: "sums", name: "fine", paths: ["sums.test.ts"] }),
    ).toMatchObject({
      ok: true,
      passed: 1,
    });
  });

  test("node:test [tests.report]", async () => {
    const files = {
      "package.json": JSON.stringify({ type: "module", scripts: { test: "node --test" } }),
      "test/sums.test.mts": script("node:test"),
    };
    await makeProject("sums", files);
    for (const paths of [[], ["test"], ["test/sums.test.mts"]]) {
      expect(await call("run_tests", { repo: "sums", paths })).toMatchObject({
        runner: "node",
        ok: false,
        passed: 1,
        failed: 1,
        skipped: 1,
        failures: [
          { name: "sums > adds", file: "test/sums.test.mts", line: 5, message: "adds badly" },
        ],
      });
    }
    const one = await call("run_tests", { repo: "sums", name: "fine" });
    expect(one).toMatchObject({ ok: true, failed: 0 });
  });

  test("node:test with coverage, and names what another runner lacks for it [tests.report]", async () => {
    await makeProject("sums", {
      "package.json": JSON.stringify({ type: "module", scripts: { test: "node --test" } }),
      "sums.js":
        "export const add = (a, b) => {\n  if (a === 7) {\n    return 0;\n  }\n  return a + b;\n};\n",
      "sums.test.js":
        'import { test } from "node:test";\nimport { add } from "./sums.js";\ntest("adds", () => {\n  if (add(1, 2) !== 3) throw new Error("adds badly");\n});\n',
    });
    const measured = (await call("run_tests", { repo: "sums", coverage: true })) as JsonObject;
    expect(measured).toMatchObject({ ok: true, passed: 1, failed: 0 });
    expect(measured["coverage"]).toBeGreaterThan(50);
    expect(measured["coverage"]).toBeLessThan(100);
    expect(await call("run_tests", { repo: "sums" })).toMatchObject({ coverage: null });

    await makeProject(
      "covered",
      { "package.json": manifest({ vitest: "*" }), "a.test.js": script("vitest") },
      ["vitest"],
    );
    const vitest = await refusal("run_tests", { repo: "covered", coverage: true });
    expect(vitest).toContain("to measure coverage it needs @vitest/coverage-v8");
    if (!has("python3", "-m", "pytest", "--version") || has("python3", "-c", "import pytest_cov")) {
      return;
    }
    await makeProject("snakes", { "test_sums.py": "def test_ok():\n    pass\n" });
    const pytest = await refusal("run_tests", { repo: "snakes", coverage: true });
    expect(pytest).toContain("to measure coverage it needs pytest-cov");
  });

  test.skipIf(!has("cargo", "--version"))("cargo test and clippy [tests.report]", async () => {
    await makeProject("sums", {
      "Cargo.toml": '[package]\nname = "sums"\nversion = "0.1.0"\nedition = "2021"\n',
      "src/lib.rs": '#[test]\nfn adds() {\n    let x = 1;\n    assert_eq!(1 + 1, 3, "badly");\n}\n',
    });
    expect(await call("run_tests", { repo: "sums" })).toMatchObject({
      runner: "cargo",
      failed: 1,
      failures: [
        { name: "adds", file: "src/lib.rs", line: 4, message: expect.stringContaining("badly") },
      ],
    });
    if (!has("cargo", "clippy", "--version")) return;
    expect(await call("lint", { repo: "sums" })).toMatchObject({
      tool: "clippy",
      ok: true,
      warnings: 1,
      findings: [{ file: "src/lib.rs", line: 3, rule: "unused_variables" }],
    });
  });

  test("oxlint and tsc [tests.report]", async () => {
    const files = {
      "package.json": manifest({ oxlint: "*", typescript: "*" }),
      "tsconfig.json":
        '{"compilerOptions":{"strict":true,"noEmit":true,"types":[]},"files":["a.ts"]}',
      "a.ts": 'const unused: number = "a";\n',
    };
    const project = await makeProject("sums", files, ["oxlint", "tsc", "typescript"].slice(0, 2));
    const before = await readdir(project, { recursive: true });
    expect(await call("lint", { repo: "sums", paths: ["a.ts"] })).toMatchObject({
      tool: "oxlint",
      warnings: 1,
      findings: [{ file: "a.ts", line: 1, column: 7, severity: "warning" }],
    });
    expect(await call("type_check", { repo: "sums" })).toMatchObject({
      tool: "tsc",
      ok: false,
      errors: 1,
      findings: [{ file: "a.ts", line: 1, column: 7, rule: "TS2322" }],
    });
    // They say that they only read.
    expect((await readdir(project, { recursive: true })).toSorted()).toEqual(before.toSorted());
    expect(await call("detect", { repo: "sums" })).toEqual({
      runners: [],
      linters: ["oxlint"],
      typeCheckers: ["tsc"],
      commands: [],
    });
  });

  test("nothing where no runner or several fit, and says which there are", async () => {
    await makeProject("none", { "README.md": "" });
    expect(await refusal("run_tests", { repo: "none" })).toContain("no test runner fits");
    await makeProject("both", { "pytest.ini": "", "go.mod": "" });
    expect(await refusal("run_tests", { repo: "both" })).toContain("say which: pytest, go");
    await makeProject("absent", { "package.json": manifest({ jest: "*" }) });
    expect(await refusal("run_tests", { repo: "absent" })).toContain("jest is not installed");
  });
});

const recorded = (name: string) =>
  readFileSync(join(import.meta.dirname, "recorded", `${name}.txt`), "utf8");

/** What the readers make of what the programs of 2026 really wrote, with their folders renamed. */
describe("a recorded report of", () => {
  const read = (name: string, leavings: Partial<Leavings>) => {
    const runner = testRunners.find((one) => one.name === name);
    const empty = { project: "/project", report: "", coverage: "", stdout: "" };
    const answer = runner?.read({ ...empty, ...leavings });
    if (answer?.ok !== true) throw new Error(JSON.stringify(answer));
    return answer.value.tests.map(({ outcome, name: title, file, line, message }) =>
      outcome === "failed" ? [title, file, line, message?.split("\n")[0]] : [outcome, title],
    );
  };

  it("jest is read [tests.report]", () => {
    expect(read("jest", { report: recorded("jest") })).toEqual(
      expect.arrayContaining([
        [
          "sums > adds",
          "sums.test.js",
          3,
          "Error: expect(received).toBe(expected) // Object.is equality",
        ],
        ["passed", "sums > fine"],
        ["skipped", "sums > skipped"],
        ["skipped", "sums > later"],
        ["broken.test.js", "broken.test.js", expect.anything(), expect.any(String)],
      ]),
    );
  });

  it("go test is read [tests.report]", () => {
    expect(read("go", { stdout: recorded("go") })).toEqual([
      [
        "example.com/sums/bad",
        "bad/bad_test.go",
        3,
        "bad/bad_test.go:3:32: declared and not used: x",
      ],
      ["passed", "example.com/sums.TestAdd/zero"],
      ["example.com/sums.TestAdd/one", "sums_test.go", 9, "Add(1, 1) = 0, want 2"],
      ["skipped", "example.com/sums.TestSkip"],
      ["example.com/sums.TestPanic", "sums_test.go", 14, "panic: boom [recovered, repanicked]"],
    ]);
  });

  it("cargo test is read [tests.report]", () => {
    expect(read("cargo", { stdout: recorded("cargo") })).toEqual([
      ["passed", "tests::fine"],
      ["skipped", "tests::ignored"],
      ["tests::result", null, null, 'Error: "went wrong"'],
      [
        "tests::should",
        "src/lib.rs",
        27,
        "note: test did not panic as expected at src/lib.rs:27:8",
      ],
      ["tests::adds", "src/lib.rs", 15, "assertion `left == right` failed: adds"],
      ["src/lib.rs - add (line 1)", "src/lib.rs", 1, "assertion `left == right` failed"],
    ]);
  });

  it("pytest, vitest and node:test is read [tests.report]", () => {
    expect(read("pytest", { report: recorded("pytest") })).toContainEqual([
      "test_error",
      "test_sums.py",
      23,
      "RuntimeError: no fixture",
    ]);
    expect(read("vitest", { report: recorded("vitest") })).toContainEqual([
      "sums > adds",
      "a.test.ts",
      4,
      "AssertionError: expected 2 to be 3 // Object.is equality",
    ]);
    expect(read("node", { report: recorded("node") })).toContainEqual([
      "throws",
      "a.test.mjs",
      9,
      "boom <&> red",
    ]);
  });

  it.each([
    ["ruff", ["bad.py:1:8 F401 error"]],
    ["mypy", ["bad.py:5:12 return-value error", "bad.py:8:5 arg-type error"]],
    ["pyright", ["bad.py:5:12 reportReturnType error", "bad.py:8:5 reportArgumentType error"]],
    ["eslint", ["bad.mjs:1:7 no-unused-vars warning", "bad.mjs:2:18 eqeqeq error"]],
    ["oxlint", ["bad.mjs:1:7 eslint(no-unused-vars) warning"]],
    ["tsc", ["bad.ts:1:7 TS2322 error", "bad.ts:2:7 TS2322 error"]],
    [
      "clippy",
      [
        "src/lib.rs:2:9 unused_variables warning",
        "src/lib.rs:3:5 clippy::needless_return warning",
        "src/lib.rs:3:12 clippy::len_zero warning",
      ],
    ],
  ])("%s is read [tests.report]", (name, expected) => {
    const checker = checkers.find((one) => one.name === name);
    const found = checker?.read({ project: "/project", stdout: recorded(name), stderr: "" }) ?? [];
    const places = found.map(
      ({ file, line, column, rule, severity }) => `${file}:${line}:${column} ${rule} ${severity}`,
    );
    expect(places).toEqual(expected);
    expect(found.every(({ message }) => message !== "")).toBe(true);
  });

  it("whatever stands in a report, its reader gives tests or a problem and never throws [tests.report]", () => {
    const pieces = [
      ...["jest", "go", "cargo", "pytest", "vitest", "node", "clippy", "oxlint", "mypy"].map(
        recorded,
      ),
      '<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z "&x;&x;">]><testsuites><testcase name="&z;&#x110000;"/></testsuites>',
      '{"testResults":[{"assertionResults":[null,{"ancestorTitles":3}],"name":{}}]}',
      '{"testResults":{"__proto__":1}}\n{"Action":{}}\n[[[',
    ];
    const damaged = fc
      .tuple(fc.constantFrom(...pieces), fc.nat(2_000), fc.nat(200), fc.string({ unit: "binary" }))
      .map(([text, at, gone, put]) => text.slice(0, at) + put + text.slice(at + gone));
    fc.assert(
      fc.property(damaged, (text) => {
        for (const runner of testRunners) {
          const answer = runner.read({
            project: "/project",
            report: text,
            coverage: text,
            stdout: text,
          });
          if (!answer.ok) expect(answer.problem).not.toBe("");
          else expect(JSON.stringify(answer.value).isWellFormed()).toBe(true);
        }
        for (const checker of checkers) {
          const found = checker.read({ project: "/project", stdout: text, stderr: text });
          expect(found === null || Array.isArray(found)).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });
});
