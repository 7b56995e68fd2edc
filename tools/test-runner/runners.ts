import { join } from "node:path";
import type { CommandLine, Flag } from "../shared/command-line.ts";
import type { Answer } from "../shared/server-tool.ts";
import { objectOf, textOf } from "./json.ts";
import { type Project, readProjectFile } from "./project.ts";
import {
  type Leavings,
  readCargoTest,
  readGoTest,
  readJest,
  readNodeTest,
  readPytest,
} from "./read-tests.ts";
import type { TestReport } from "./report.ts";
import { reportFolder } from "./sandbox.ts";

/** What a caller may ask of a test run, checked: paths exist in the project, the name is a plain one. */
export interface TestRequest {
  paths: readonly string[];
  name: string | null;
  coverage: boolean;
}

export interface TestRunner {
  name: TestRunnerName;
  /** The program that is looked for. */
  program: string;
  isUsedBy(project: Project): boolean;
  /** The arguments, or what can't be asked of this runner. */
  line(request: TestRequest): Answer<CommandLine>;
  /** The package that it measures coverage by, where that is one of its own: without it, it runs no test. */
  coveredBy?: string;
  /** The names of its files in the report folder: the report and the coverage. */
  files: readonly [report: string, coverage: string];
  read(leavings: Leavings): Answer<TestReport>;
}

export type TestRunnerName = "pytest" | "vitest" | "jest" | "node" | "go" | "cargo";

const report = `${reportFolder}/report`;
/** Where Istanbul's summary lands, which vitest and jest both write. */
const summary = "coverage-summary.json";

const hasDependency = ({ manifest }: Project, name: string): boolean =>
  ["dependencies", "devDependencies"].some((kind) => name in objectOf(manifest[kind]));

const scripts = ({ manifest }: Project): string =>
  Object.values(objectOf(manifest["scripts"])).map(textOf).join("\n");

const hasConfig = ({ names }: Project, start: string): boolean =>
  [...names].some((name) => name.startsWith(`${start}.config.`));

/** A part of a test's name for a runner that takes a regular expression. */
const literal = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\/]/g, String.raw`\$&`);

const testFile = /\.(?:test|spec)\.[cm]?[jt]s$/;

export const testRunners: readonly TestRunner[] = [
  {
    name: "pytest",
    program: "python3",
    coveredBy: "pytest-cov",
    isUsedBy: (project) =>
      ["pytest.ini", "conftest.py", "pyproject.toml", "setup.py", "setup.cfg", "tox.ini"].some(
        (name) => project.names.has(name),
      ) || [...project.names].some((name) => /^test_.*\.py$|_test\.py$/.test(name)),
    line({ paths, name, coverage }) {
      if (name !== null && !/^[\w\s()[\].:-]+$/u.test(name)) {
        const problem =
          "pytest finds tests by words, joined by `and`, `or` and `not`: give such a name";
        return { ok: false, problem };
      }
      const covered: Flag[] = coverage
        ? ["--cov", `--cov-report=json:${reportFolder}/coverage`]
        : [];
      return {
        ok: true,
        value: {
          command: ["-m", "pytest"],
          flags: [
            "-q",
            "--tb=short",
            "--color=no",
            "-pno:cacheprovider",
            "--override-ini=junit_family=xunit1",
            ...covered,
            // There is no long form; in the same word, the name can't become an option.
            ...(name === null ? [] : ([`-k${name}`] as const)),
          ],
          values: [["--junitxml", report]],
          paths,
        },
      };
    },
    files: ["report", "coverage"],
    read: readPytest,
  },
  {
    name: "vitest",
    program: "vitest",
    coveredBy: "@vitest/coverage-v8 or @vitest/coverage-istanbul",
    isUsedBy: (project) => hasDependency(project, "vitest") || hasConfig(project, "vitest"),
    line: ({ paths, name, coverage }) => ({
      ok: true,
      value: {
        command: ["run"],
        flags: [
          "--includeTaskLocation",
          "--reporter=default",
          "--reporter=json",
          "--watch=false",
          ...(coverage
            ? ([
                "--coverage.enabled",
                "--coverage.reporter=json-summary",
                "--coverage.reportOnFailure",
              ] as const)
            : []),
        ],
        values: [
          ["--outputFile.json", report],
          ...(coverage ? ([["--coverage.reportsDirectory", reportFolder]] as const) : []),
          ...(name === null ? [] : ([["--testNamePattern", literal(name)]] as const)),
        ],
        // What stands after `--` is nothing to it.
        operands: paths,
      },
    }),
    files: ["report", summary],
    read: readJest,
  },
  {
    name: "jest",
    program: "jest",
    isUsedBy: (project) =>
      hasDependency(project, "jest") || hasConfig(project, "jest") || "jest" in project.manifest,
    line: ({ paths, name, coverage }) => ({
      ok: true,
      value: {
        command: [],
        flags: [
          "--ci",
          "--json",
          "--testLocationInResults",
          "--watchAll=false",
          "--cache=false",
          ...(coverage ? (["--coverage", "--coverageReporters=json-summary"] as const) : []),
          ...(paths.length > 0 ? (["--runTestsByPath"] as const) : []),
        ],
        values: [
          ["--outputFile", report],
          ...(coverage ? ([["--coverageDirectory", reportFolder]] as const) : []),
          ...(name === null ? [] : ([["--testNamePattern", literal(name)]] as const)),
        ],
        paths,
      },
    }),
    files: ["report", summary],
    read: readJest,
  },
  {
    name: "node",
    program: "node",
    isUsedBy: (project) =>
      !hasDependency(project, "vitest") &&
      !hasDependency(project, "jest") &&
      (/\bnode\b.* --test\b/.test(scripts(project)) ||
        (project.names.has("package.json") &&
          [...project.names].some(
            (name) =>
              testFile.test(name) &&
              /["']node:test["']/.test(readProjectFile(project.root, join(project.folder, name))),
          ))),
    line({ paths, name, coverage }) {
      const globbing = paths.find((path) => /[*?[\]{}!()]/.test(path));
      if (globbing !== undefined) {
        return { ok: false, problem: `node takes ${JSON.stringify(globbing)} for a pattern` };
      }
      return {
        ok: true,
        value: {
          command: [],
          flags: [
            "--test",
            "--test-reporter=spec",
            "--test-reporter-destination=stdout",
            "--test-reporter=junit",
            `--test-reporter-destination=${report}`,
            ...(coverage
              ? ([
                  "--experimental-test-coverage",
                  "--test-reporter=lcov",
                  `--test-reporter-destination=${reportFolder}/lcov`,
                ] as const)
              : []),
          ],
          values: name === null ? [] : [["--test-name-pattern", literal(name)]],
          // A folder is no test file; what is in it that looks like one, is.
          operands: paths.map((path) =>
            /\.[cm]?[jt]s$/.test(path) ? path : `${path}/**/*.{test,spec}.{js,cjs,mjs,ts,cts,mts}`,
          ),
        },
      };
    },
    files: ["report", "lcov"],
    read: readNodeTest,
  },
  {
    name: "go",
    program: "go",
    isUsedBy: ({ names }) => names.has("go.mod"),
    line: ({ paths, name, coverage }) => ({
      ok: true,
      value: {
        command: ["test"],
        flags: ["-json", ...(coverage ? (["-cover"] as const) : [])],
        values: name === null ? [] : [["--run", name.split("/").map(literal).join("/")]],
        operands:
          paths.length === 0
            ? ["./..."]
            : paths.map((path) => (path.endsWith(".go") ? `./${folderOf(path)}` : `./${path}/...`)),
      },
    }),
    files: ["report", "coverage"],
    read: readGoTest,
  },
  {
    name: "cargo",
    program: "cargo",
    isUsedBy: ({ names }) => names.has("Cargo.toml"),
    line({ paths, name, coverage }) {
      if (paths.length > 0) {
        return { ok: false, problem: "cargo test takes no paths: give a name, such as a module's" };
      }
      if (coverage) return { ok: false, problem: "cargo test measures no coverage" };
      return {
        ok: true,
        value: {
          command: ["test"],
          flags: ["--offline", "--no-fail-fast"],
          operands: name === null ? [] : [name],
        },
      };
    },
    files: ["report", "coverage"],
    read: readCargoTest,
  },
];

const folderOf = (file: string): string => file.replace(/\/?[^/]*$/, "") || ".";
