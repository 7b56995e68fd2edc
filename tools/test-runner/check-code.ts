import { type } from "arktype";
import type { Answer } from "../shared/server-tool.ts";
import { type Checker, checkers, type Finding } from "./checkers.ts";
import { lastLines, runIn, testTool } from "./context.ts";
import { existingPath, openProject, type Project } from "./project.ts";
import { believed, cleanLine } from "./report.ts";

/** How many findings an answer carries. */
const findingLimit = 200;

const shared = {
  readOnlyHint: true,
  destructiveHint: false,
  idempotentHint: true,
  openWorldHint: false,
} as const;

const about =
  "repo: the project's folder, relative to the root; the root itself unless given. tool: found out from the " +
  "project's files unless given. paths: files or folders, relative to the project. Runs in a sandbox " +
  "without network, which can't write to the project.";

export const lint = checkTool({
  name: "lint",
  kind: "lint",
  title: "Lint",
  description: `Checks a project with its linter and gives each finding with its place. ${about}`,
  tool: type("'ruff' | 'eslint' | 'oxlint' | 'clippy'"),
});

export const typeCheck = checkTool({
  name: "type_check",
  kind: "types",
  title: "Check types",
  description: `Checks a project's types and gives each error with its place. ${about}`,
  tool: type("'pyright' | 'mypy' | 'tsc'"),
});

function checkTool(options: {
  name: string;
  kind: Checker["kind"];
  title: string;
  description: string;
  tool: type.Any<string>;
}) {
  return testTool({
    name: options.name,
    description: options.description,
    annotations: { title: options.title, ...shared },
    input: type({
      "+": "reject",
      repo: "string <= 1000 = '.'",
      "tool?": options.tool,
      paths: type("string <= 1000")
        .array()
        .atMostLength(200)
        .default(() => []),
      "timeout_seconds?": "1 <= number.integer <= 86400",
    }),
    output: type({
      tool: "string",
      ok: "boolean",
      errors: "number.integer >= 0",
      warnings: "number.integer >= 0",
      durationMs: "number.integer >= 0",
      findings: type({
        file: "string",
        line: "number.integer | null",
        column: "number.integer | null",
        rule: "string | null",
        severity: "'error' | 'warning'",
        message: "string",
      }).array(),
      truncated: "boolean",
    }),
    async run(input, context) {
      const project = await openProject(context.root, input.repo);
      if (!project.ok) return project;
      const checker = chooseChecker(project.value, options.kind, input.tool as string | undefined);
      if (!checker.ok) return checker;
      const paths: string[] = [];
      for (const path of input.paths) {
        const there = await existingPath(project.value, path);
        if (!there.ok) return there;
        paths.push(there.value);
      }
      const line = checker.value.line(paths);
      if (!line.ok) return line;
      const seconds = input.timeout_seconds;
      const ran = await runIn(context, project.value, {
        program: checker.value.program,
        line: line.value,
        writable: false,
        files: [],
        ...(seconds === undefined ? {} : { timeoutMs: seconds * 1_000 }),
      });
      if (!ran.ok) return ran;
      const { exitCode, truncated, durationMs } = ran.value;
      const { name, done, read } = checker.value;
      const found =
        exitCode !== null && done.includes(exitCode)
          ? read({ ...ran.value, project: project.value.folder })
          : null;
      if (found === null || (found.length === 0 && exitCode !== 0)) {
        const why = truncated ? "its output is too large" : "its output is not a report";
        return {
          ok: false,
          problem: `${name} ended with exit code ${exitCode}, and ${why}${lastLines(ran.value)}`,
        };
      }
      const errors = found.filter(({ severity }) => severity === "error").length;
      const warnings = found.length - errors;
      const structured = {
        tool: name,
        ok: exitCode === 0 && errors === 0,
        errors,
        warnings,
        durationMs,
        findings: found.slice(0, findingLimit).map(cleanFinding),
        truncated: truncated || found.length > findingLimit,
      };
      const lines = structured.findings.map((one) => {
        const place = [one.file, one.line, one.column].filter((part) => part !== null).join(":");
        return `${place}: ${one.severity}${one.rule === null ? "" : ` ${one.rule}`}: ${one.message}`;
      });
      if (structured.truncated) lines.push("[cut off: there are more]");
      const head = `${structured.ok ? "PASSED" : "FAILED"} ${name}: ${errors} errors, ${warnings} warnings`;
      return { ok: true, value: { text: [head, ...lines].join("\n"), structured } };
    },
  });
}

/** A finding as it is told: each part in one line, of a bounded length. */
const cleanFinding = ({ file, line, column, rule, ...rest }: Finding): Finding => ({
  ...rest,
  file: cleanLine(file),
  line: believed(line),
  column: believed(column),
  rule: rule === null ? null : cleanLine(rule),
});

/** The checker that was asked for, or the first whose files the project has: the list begins with the surest. */
function chooseChecker(project: Project, kind: Checker["kind"], given?: string): Answer<Checker> {
  const ofKind = checkers.filter((checker) => checker.kind === kind);
  const asked = ofKind.find(({ name }) => name === given);
  if (asked !== undefined) return { ok: true, value: asked };
  const used = ofKind.filter((checker) => checker.isUsedBy(project));
  const [only] = used;
  if (only === undefined || used.length > 1) {
    const fits = used.length > 1 ? "several tools fit" : "no tool fits";
    const choice = (used.length > 1 ? used : ofKind).map(({ name }) => name).join(", ");
    return { ok: false, problem: `${fits} the project's files; say which: ${choice}` };
  }
  return { ok: true, value: only };
}
