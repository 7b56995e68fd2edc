import { type } from "arktype";
import type { Answer } from "../shared/server-tool.ts";
import { describeRemoved, lastLines, runIn, testTool } from "./context.ts";
import { existingPath, openProject, type Project } from "./project.ts";
import { cleanLine, cleanTest, type TestCase } from "./report.ts";
import { type TestRunner, testRunners } from "./runners.ts";

/** How many failing tests an answer carries. */
const failureLimit = 100;

export const runTests = testTool({
  name: "run_tests",
  description:
    "Runs a project's tests and says which failed, why and where. repo: the project's folder, relative to " +
    "the root; the root itself unless given. runner: found out from the project's files unless given. " +
    "paths: test files or folders, relative to the project. name: only tests whose name has this in it. " +
    "coverage: measure it too, if the project has what its runner needs. The tests run in a sandbox without " +
    "network; they may write in the project's folder, but a git folder, node_modules or virtual environment " +
    "that they make there is removed.",
  annotations: {
    title: "Run tests",
    readOnlyHint: false,
    destructiveHint: true,
    idempotentHint: true,
    openWorldHint: false,
  },
  input: type({
    "+": "reject",
    repo: "string <= 1000 = '.'",
    "runner?": "'pytest' | 'vitest' | 'jest' | 'node' | 'go' | 'cargo'",
    paths: type("string <= 1000")
      .array()
      .atMostLength(200)
      .default(() => []),
    "name?": "1 <= string <= 500",
    coverage: "boolean = false",
    "timeout_seconds?": "1 <= number.integer <= 86400",
  }),
  output: type({
    runner: "string",
    ok: "boolean",
    passed: "number.integer >= 0",
    failed: "number.integer >= 0",
    skipped: "number.integer >= 0",
    total: "number.integer >= 0",
    durationMs: "number.integer >= 0",
    failures: type({
      name: "string",
      file: "string | null",
      line: "number.integer | null",
      message: "string",
      durationMs: "number.integer | null",
    }).array(),
    /** The five that took longest. */
    slowest: type({ name: "string", durationMs: "number.integer" }).array(),
    coverage: "number | null",
    /** What the run had made and did not stay: git folders, node_modules, virtual environments. */
    removed: "string[]",
    truncated: "boolean",
  }),
  async run({ repo, runner: given, paths, name, coverage, timeout_seconds: seconds }, context) {
    if (name !== undefined && (/^-|\p{Cc}/u.test(name) || !name.isWellFormed())) {
      const problem =
        "name must be a part of a test's name: no leading dash, no control characters";
      return { ok: false, problem };
    }
    const project = await openProject(context.root, repo);
    if (!project.ok) return project;
    const runner = chooseRunner(project.value, given);
    if (!runner.ok) return runner;
    const checked: string[] = [];
    for (const path of paths) {
      const there = await existingPath(project.value, path);
      if (!there.ok) return there;
      checked.push(there.value);
    }
    const line = runner.value.line({ paths: checked, name: name ?? null, coverage });
    if (!line.ok) return line;
    const ran = await runIn(context, project.value, {
      program: runner.value.program,
      line: line.value,
      writable: true,
      files: runner.value.files,
      ...(seconds === undefined ? {} : { timeoutMs: seconds * 1_000 }),
    });
    if (!ran.ok) return ran;
    const { contents, stdout, exitCode, durationMs } = ran.value;
    const [report = "", covered = ""] = contents;
    const read = runner.value.read({
      project: project.value.folder,
      report,
      coverage: covered,
      stdout,
    });
    const tests = read.ok ? read.value.tests.map(cleanTest) : [];
    const isCut = ran.value.truncated || ran.value.reportTruncated;
    if (!read.ok || (tests.length === 0 && exitCode !== 0)) {
      const unread = read.ok || report === "" ? "it reported no tests" : cleanLine(read.problem);
      const why = isCut ? "its report is too large" : unread;
      const { name: runnerName, coveredBy } = runner.value;
      const needs =
        coverage && coveredBy !== undefined ? `; to measure coverage it needs ${coveredBy}` : "";
      const problem = `${runnerName} ended with exit code ${exitCode}, and ${why}${needs}${lastLines(ran.value)}`;
      return { ok: false, problem };
    }
    const count = (outcome: TestCase["outcome"]) =>
      tests.filter((test) => test.outcome === outcome).length;
    const failures = tests
      .filter(({ outcome }) => outcome === "failed")
      .map((test) => ({
        name: test.name,
        file: test.file,
        line: test.line,
        message: test.message ?? "no message",
        durationMs: test.durationMs,
      }));
    const structured = {
      runner: runner.value.name,
      ok: exitCode === 0 && failures.length === 0 && tests.length > 0,
      passed: count("passed"),
      failed: failures.length,
      skipped: count("skipped"),
      total: tests.length,
      durationMs,
      failures: failures.slice(0, failureLimit),
      slowest: slowest(tests),
      coverage: read.value.coverage,
      removed: ran.value.removed,
      truncated: failures.length > failureLimit || isCut,
    };
    return { ok: true, value: { text: describe(structured, exitCode), structured } };
  },
});

function slowest(tests: readonly TestCase[]): { name: string; durationMs: number }[] {
  return tests
    .flatMap(({ name, durationMs }) => (durationMs === null ? [] : [{ name, durationMs }]))
    .sort((one, other) => other.durationMs - one.durationMs)
    .slice(0, 5);
}

function describe(
  result: {
    runner: string;
    ok: boolean;
    passed: number;
    failed: number;
    skipped: number;
    total: number;
    durationMs: number;
    failures: { name: string; file: string | null; line: number | null; message: string }[];
    coverage: number | null;
    removed: readonly string[];
    truncated: boolean;
  },
  exitCode: number | null,
): string {
  const { runner, failed, passed, skipped, durationMs, failures, coverage } = result;
  const time = `${(durationMs / 1_000).toFixed(1)} s`;
  const covered = coverage === null ? "" : `; ${coverage}% covered`;
  const head = `${result.ok ? "PASSED" : "FAILED"} ${runner}: ${failed} failed, ${passed} passed, ${skipped} skipped in ${time}${covered}`;
  const parts = failures.map(({ name, file, line, message }) => {
    const place = file === null ? "" : ` (${file}${line === null ? "" : `:${line}`})`;
    return `FAILED ${name}${place}\n${message.replaceAll(/^/gm, "    ")}`;
  });
  if (result.total === 0) parts.push("No test was found.");
  else if (!result.ok && failed === 0) {
    parts.push(`Every test passed, and ${runner} ended with exit code ${exitCode}.`);
  }
  if (result.removed.length > 0) parts.push(describeRemoved(result.removed));
  if (result.truncated) parts.push("[cut off: there is more than is shown]");
  return [head, ...parts].join("\n\n");
}

/** The runner that was asked for, or the only one whose files the project has. */
function chooseRunner(project: Project, given?: string): Answer<TestRunner> {
  const used = testRunners.filter((runner) => runner.isUsedBy(project));
  const asked = testRunners.find(({ name }) => name === given);
  const [only, another] = used;
  if (asked !== undefined) return { ok: true, value: asked };
  if (only === undefined) {
    const all = testRunners.map(({ name }) => name).join(", ");
    return { ok: false, problem: `no test runner fits the project's files; say which: ${all}` };
  }
  if (another !== undefined) {
    const several = used.map(({ name }) => name).join(", ");
    return {
      ok: false,
      problem: `several test runners fit the project's files; say which: ${several}`,
    };
  }
  return { ok: true, value: only };
}
