import type { Answer } from "../shared/server-tool.ts";
import {
  countOf,
  type Loose,
  numberOf,
  objectOf,
  objectsOf,
  readJson,
  readJsonLines,
  textOf,
} from "./json.ts";
import {
  cleanMessage,
  findPlace,
  readJunit,
  relativeTo,
  type TestCase,
  type TestReport,
} from "./report.ts";

/** What a runner left: its files by the names that {@link TestRunner} gave them, and its standard output. */
export interface Leavings {
  project: string;
  report: string;
  coverage: string;
  stdout: string;
}

const ms = (seconds: number | null) => (seconds === null ? null : Math.round(seconds * 1000));

/** pytest's JUnit report of the family `xunit1`, which says file and line of a test (the line counted from 0). */
export function readPytest({ project, report, coverage }: Leavings): Answer<TestReport> {
  const cases = readJunit(report);
  if (!cases.ok) return cases;
  const tests = cases.value.map((test): TestCase => {
    const file = test.file === null ? null : relativeTo(project, test.file);
    const module = (file ?? "").replace(/\.py$/, "").replaceAll("/", ".");
    const inner = test.classname.startsWith(`${module}.`)
      ? `${test.classname.slice(module.length + 1).replaceAll(".", "::")}::`
      : "";
    const failed = test.failure;
    const place =
      failed === null ? null : lastPlace(failed.text, (path) => relativeTo(project, path) === file);
    const own = test.line === null ? null : test.line + 1;
    return {
      name: `${inner}${test.name}`,
      file,
      line: place ?? own,
      outcome: failed !== null ? "failed" : test.skipped !== null ? "skipped" : "passed",
      durationMs: ms(test.seconds),
      message:
        failed !== null
          ? cleanMessage(pytestMessage(failed.message, failed.text))
          : test.skipped === null
            ? null
            : cleanMessage(test.skipped),
    };
  });
  const totals = objectOf(objectOf(readJson(coverage))["totals"]);
  return { ok: true, value: { tests, coverage: numberOf(totals["percent_covered"]) } };
}

/** The `E` lines are what went wrong; the message attribute has only their beginning, or "collection failure". */
function pytestMessage(message: string, text: string): string {
  const wrong = text
    .split("\n")
    .filter((line) => line.startsWith("E  "))
    .map((line) => line.slice(1).replace(/^ {1,3}/, ""));
  return wrong.join("\n") || message || text;
}

/** The innermost frame in the test's own file. */
function lastPlace(text: string, isOurs: (file: string) => boolean): number | null {
  const lines = text.split("\n").flatMap((line) => {
    const place = /^[^\s:]+:\d+:/.test(line) ? findPlace(line, isOurs) : null;
    return place === null ? [] : [place.line];
  });
  return lines.at(-1) ?? null;
}

/** The JSON report that jest has (`--json`) and vitest imitates (`--reporter=json`). */
export function readJest({ project, report, coverage }: Leavings): Answer<TestReport> {
  const document = readJson(report);
  const files = objectsOf(objectOf(document)["testResults"]);
  if (document === undefined) return { ok: false, problem: "the JSON report can't be read" };
  const tests = files.flatMap((file) => {
    const path = textOf(file["name"]);
    const name = relativeTo(project, path);
    const cases = objectsOf(file["assertionResults"]).map((test) =>
      readAssertion(test, { path, name }),
    );
    // A file that could not be loaded has no tests, and is a failure of its own.
    if (file["status"] !== "failed" || cases.some(({ outcome }) => outcome === "failed")) {
      return cases;
    }
    const message = textOf(file["message"]);
    const place = findPlace(message, (at) => relativeTo(project, at) === name);
    return [...cases, failedFile(name, place?.line ?? null, message)];
  });
  const total = objectOf(objectOf(objectOf(readJson(coverage))["total"])["lines"]);
  return { ok: true, value: { tests, coverage: numberOf(total["pct"]) } };
}

const failedFile = (file: string, line: number | null, message: string): TestCase => ({
  name: file,
  file,
  line,
  outcome: "failed",
  durationMs: null,
  message: cleanMessage(message),
});

function readAssertion(test: Loose, file: { path: string; name: string }): TestCase {
  const status = textOf(test["status"]);
  const titles = [
    ...(Array.isArray(test["ancestorTitles"]) ? test["ancestorTitles"].map(textOf) : []),
    textOf(test["title"]),
  ];
  const failures = Array.isArray(test["failureMessages"])
    ? test["failureMessages"].map(textOf).join("\n")
    : "";
  const isOurs = (path: string) => path.replace(/^file:\/\//, "") === file.path;
  const place = findPlace(failures, isOurs);
  const duration = numberOf(test["duration"]);
  return {
    name: titles.filter(Boolean).join(" > "),
    file: file.name,
    line: place?.line ?? countOf(objectOf(test["location"])["line"]),
    outcome: status === "passed" ? "passed" : status === "failed" ? "failed" : "skipped",
    durationMs: duration === null ? null : Math.round(duration),
    message: status === "failed" ? cleanMessage(withoutStack(failures)) : null,
  };
}

/** The lines before the first frame of a JavaScript stack. */
function withoutStack(text: string): string {
  const lines = text.split("\n");
  const first = lines.findIndex((line) => /^\s+at .*(?::\d+|<anonymous>\)|native)/.test(line));
  return (first > 0 ? lines.slice(0, first) : lines).join("\n");
}

/** The JUnit report of node:test. Its suites are the `describe` blocks; its frames begin in the `cause`. */
export function readNodeTest({ project, report, coverage }: Leavings): Answer<TestReport> {
  const cases = readJunit(report);
  if (!cases.ok) return cases;
  const tests = cases.value.map((test): TestCase => {
    const path = test.file ?? "";
    const failed = test.failure;
    const place =
      failed === null
        ? null
        : findPlace(failed.text, (at) => at.replace(/^file:\/\//, "") === path);
    return {
      name: unquote([...test.suites, test.name].join(" > ")),
      file: test.file === null ? null : relativeTo(project, path),
      line: place?.line ?? null,
      outcome: failed !== null ? "failed" : test.skipped !== null ? "skipped" : "passed",
      durationMs: ms(test.seconds),
      message: failed === null ? null : cleanMessage(unquote(failed.message) || failed.text),
    };
  });
  return { ok: true, value: { tests, coverage: readLcov(coverage) } };
}

/** Node escapes a quotation mark in an attribute, and then the escape's own ampersand. */
const unquote = (text: string): string => text.replaceAll("&quot;", '"');

/** Percent of the lines that ran (LF: found, LH: hit), of all files; geninfo(1). */
function readLcov(text: string): number | null {
  const sum = (key: string) =>
    [...text.matchAll(new RegExp(`^${key}:(\\d+)$`, "gm"))].reduce(
      (n, [, at]) => n + Number(at),
      0,
    );
  const found = sum("LF");
  return found === 0 ? null : Math.round((sum("LH") / found) * 10_000) / 100;
}

/** The events of `go test -json` (`go doc test2json`), a JSON object a line. */
export function readGoTest({ stdout }: Leavings): Answer<TestReport> {
  const tests: TestCase[] = [];
  const outputs = new Map<string, string>();
  const coverages: number[] = [];
  for (const event of readJsonLines(stdout)) {
    const action = textOf(event["Action"]);
    const at = textOf(event["Package"]) || textOf(event["ImportPath"]);
    const test = textOf(event["Test"]);
    const key = `${at}\n${test}`;
    const said = outputs.get(key) ?? "";
    if (action === "output" || action === "build-output") {
      const output = textOf(event["Output"]);
      if (said.length < 100_000) outputs.set(key, said + output);
      const [, percent] = /^coverage: (\d+(?:\.\d+)?)% of statements/.exec(output) ?? [];
      if (percent !== undefined) coverages.push(Number(percent));
    }
    const outcome = { pass: "passed", fail: "failed", skip: "skipped" } as const;
    // What a test has said is its first outcome's: a report may repeat one without end.
    if (action in outcome || action === "build-fail") outputs.delete(key);
    if (test !== "" && action in outcome) {
      tests.push({
        ...readGoOutput(said),
        name: `${at}.${test}`,
        outcome: outcome[action as keyof typeof outcome],
        durationMs: ms(numberOf(event["Elapsed"])),
      });
    }
    if (action === "build-fail") {
      const file = /^(?:\.\/)?([^\s:]+\.go):(\d+)/m.exec(said);
      tests.push({
        name: at.replace(/ \[.*$/, ""),
        file: file?.[1] ?? null,
        line: file === null ? null : Number(file[2]),
        outcome: "failed",
        durationMs: null,
        message: cleanMessage(said.replace(/^#.*\n/, "")),
      });
    }
  }
  // A test that fails by its subtests alone has nothing to say.
  const failed = tests.filter(({ outcome }) => outcome === "failed");
  const parents = withSubtests(failed.map(({ name }) => name));
  const told = tests.filter((test) => !parents.has(test.name));
  const mean = coverages.reduce((sum, one) => sum + one, 0) / coverages.length;
  return {
    ok: true,
    value: { tests: told, coverage: coverages.length === 0 ? null : Math.round(mean * 100) / 100 },
  };
}

/** The names that others go on from, behind a slash. Sorted, those stand right behind it. */
function withSubtests(names: readonly string[]): Set<string> {
  const sorted = [...new Set(names.map((name) => `${name}/`))].sort();
  const above = sorted.filter((name, at) => sorted[at + 1]?.startsWith(name));
  return new Set(above.map((name) => name.slice(0, -1)));
}

function readGoOutput(output: string): Pick<TestCase, "file" | "line" | "message"> {
  const lines = output.split("\n").filter((line) => !/^\s*(?:===|---) /.test(line) && line !== "");
  const [, file, line] = /^[^\S\n]+(\S+_test\.go):(\d+)/m.exec(lines.join("\n")) ?? [];
  const isPanic = lines.findIndex((one) => one.startsWith("goroutine "));
  const own = (isPanic > 0 ? lines.slice(0, isPanic) : lines)
    .map((one) => one.replace(/^\s+\S+\.go:\d+: /, ""))
    .join("\n");
  return {
    file: file === undefined ? null : (file.split("/").at(-1) ?? file),
    line: line === undefined ? null : Number(line),
    message: own === "" ? null : cleanMessage(own),
  };
}

/** libtest's own text, `cargo test`'s only stable format. */
export function readCargoTest({ stdout }: Leavings): Answer<TestReport> {
  const tests: TestCase[] = [];
  for (const part of stdout.split(/^running \d+ tests?$/m).slice(1)) {
    const sections = readSections(part);
    for (const line of part.split("\n")) {
      const [, name = "", status = ""] =
        /^test (.+?)(?: - should panic)? \.\.\. (ok|FAILED|ignored)(?:, .*)?$/.exec(line) ?? [];
      if (status === "") continue;
      const said = sections.get(name) ?? "";
      // Read once: a report may repeat a test without end.
      sections.delete(name);
      const place = /panicked at ([^\s:]+):(\d+):\d+|did not panic as expected at ([^\s:]+):(\d+)/;
      const [, file, at, file2, at2] = place.exec(said) ?? [];
      // A documentation test says where it stands in its name.
      const [, docFile, docLine] = /^(\S+) - .*\(line (\d+)\)$/.exec(name) ?? [];
      const where = docFile ?? file ?? file2 ?? null;
      const number = docLine ?? at ?? at2;
      tests.push({
        name,
        file: where,
        line: number === undefined ? null : Number(number),
        outcome: status === "ok" ? "passed" : status === "FAILED" ? "failed" : "skipped",
        durationMs: null,
        message: status === "FAILED" ? cleanMessage(panicMessage(said)) : null,
      });
    }
  }
  return { ok: true, value: { tests, coverage: null } };
}

/** What each failed test printed, by its name. */
function readSections(part: string): Map<string, string> {
  const pieces = part.split(/^---- (.+) stdout ----$/m);
  const sections = new Map<string, string>();
  for (let at = 1; at < pieces.length; at += 2) {
    sections.set(pieces[at] ?? "", (pieces[at + 1] ?? "").split(/^failures:$/m)[0] ?? "");
  }
  return sections;
}

function panicMessage(said: string): string {
  const panic = said.indexOf("panicked at ");
  const end = panic === -1 ? -1 : said.indexOf("\n", panic);
  const after = end === -1 ? said : said.slice(end + 1);
  return after.split(/^(?:stack backtrace:|note: (?:run with|Some details))/m)[0] ?? said;
}
