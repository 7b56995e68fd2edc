import type { CommandLine } from "../shared/command-line.ts";
import type { Answer } from "../shared/server-tool.ts";
import {
  countOf,
  type Loose,
  objectOf,
  objectsOf,
  readJson,
  readJsonLines,
  textOf,
} from "./json.ts";
import { type Project, readProjectFile } from "./project.ts";
import { join } from "node:path";
import { cleanMessage, relativeTo } from "./report.ts";

/** One remark of a linter or a type checker. */
export interface Finding {
  file: string;
  line: number | null;
  column: number | null;
  rule: string | null;
  severity: "error" | "warning";
  message: string;
}

export interface Checker {
  name: CheckerName;
  kind: "lint" | "types";
  program: string;
  isUsedBy(project: Project): boolean;
  line(paths: readonly string[]): Answer<CommandLine>;
  /** Exit codes by which it says that it has done its work, whatever it found. */
  done: readonly number[];
  /** Null where the output is not what the checker writes. */
  read(output: { project: string; stdout: string; stderr: string }): Finding[] | null;
}

export type CheckerName = "ruff" | "eslint" | "oxlint" | "clippy" | "pyright" | "mypy" | "tsc";

const names = ({ names: there }: Project, pattern: RegExp) =>
  [...there].some((name) => pattern.test(name));

const depends = ({ manifest }: Project, name: string) =>
  ["dependencies", "devDependencies"].some((kind) => name in objectOf(manifest[kind]));

const isPython = (project: Project) =>
  names(project, /^(?:pyproject\.toml|setup\.py|setup\.cfg)$|\.py$/);

const configures = ({ root, folder }: Project, tool: string) =>
  readProjectFile(root, join(folder, "pyproject.toml")).includes(`[tool.${tool}`);

/** The folder itself unless paths are given. */
const orAll = (paths: readonly string[]) => (paths.length === 0 ? ["."] : paths);

const positive = (value: unknown) => {
  const count = countOf(value);
  return count === null || count === 0 ? null : count;
};

const nothingToAsk = (program: string) => ({
  ok: false as const,
  problem: `${program} checks a whole project: give no paths`,
});

export const checkers: readonly Checker[] = [
  {
    name: "ruff",
    kind: "lint",
    program: "ruff",
    isUsedBy: (project) =>
      isPython(project) || names(project, /^\.?ruff\.toml$/) || configures(project, "ruff"),
    line: (paths) => ({
      ok: true,
      value: {
        command: ["check"],
        flags: ["--no-cache", "--no-fix", "--output-format=json"],
        paths: orAll(paths),
      },
    }),
    done: [0, 1],
    read({ project, stdout }) {
      const list = readJson(stdout);
      if (!Array.isArray(list)) return null;
      return objectsOf(list).map((one) => ({
        file: relativeTo(project, textOf(one["filename"])),
        line: positive(objectOf(one["location"])["row"]),
        column: positive(objectOf(one["location"])["column"]),
        rule: textOf(one["code"]) || null,
        severity: "error",
        message: cleanMessage(textOf(one["message"])),
      }));
    },
  },
  {
    name: "eslint",
    kind: "lint",
    program: "eslint",
    isUsedBy: (project) =>
      depends(project, "eslint") || names(project, /^(?:eslint\.config\.|\.eslintrc)/),
    line: (paths) => ({
      ok: true,
      value: { command: [], flags: ["--format=json", "--no-color"], paths: orAll(paths) },
    }),
    done: [0, 1],
    read({ project, stdout }) {
      const list = readJson(stdout);
      if (!Array.isArray(list)) return null;
      return objectsOf(list).flatMap((file) =>
        objectsOf(file["messages"]).map((one) => ({
          file: relativeTo(project, textOf(file["filePath"])),
          line: positive(one["line"]),
          column: positive(one["column"]),
          rule: textOf(one["ruleId"]) || null,
          severity: one["severity"] === 1 ? ("warning" as const) : ("error" as const),
          message: cleanMessage(textOf(one["message"])),
        })),
      );
    },
  },
  {
    name: "oxlint",
    kind: "lint",
    program: "oxlint",
    isUsedBy: (project) => depends(project, "oxlint") || names(project, /^\.?oxlintrc\.json$/),
    line: (paths) => ({
      ok: true,
      value: { command: [], flags: ["--format=json"], paths: orAll(paths) },
    }),
    done: [0, 1],
    read({ project, stdout }) {
      const document = readJson(stdout);
      if (!Array.isArray(objectOf(document)["diagnostics"])) return null;
      return objectsOf(objectOf(document)["diagnostics"]).map((one) => {
        const span = objectOf(objectOf(objectsOf(one["labels"])[0])["span"]);
        return {
          file: relativeTo(project, textOf(one["filename"])),
          line: positive(span["line"]),
          column: positive(span["column"]),
          rule: textOf(one["code"]) || null,
          severity: one["severity"] === "error" ? ("error" as const) : ("warning" as const),
          message: cleanMessage(textOf(one["message"])),
        };
      });
    },
  },
  {
    name: "clippy",
    kind: "lint",
    program: "cargo",
    isUsedBy: ({ names: there }) => there.has("Cargo.toml"),
    line: (paths) =>
      paths.length > 0
        ? nothingToAsk("clippy")
        : {
            ok: true,
            value: {
              command: ["clippy"],
              flags: ["--offline", "--all-targets", "--message-format=json", "--quiet"],
              values: [["--target-dir", "/tmp/target"]],
            },
          },
    done: [0, 101],
    read({ project, stdout }) {
      const messages = readJsonLines(stdout).filter(({ reason }) => reason !== undefined);
      if (messages.length === 0) return null;
      const found = messages
        .filter(({ reason }) => reason === "compiler-message")
        .flatMap(({ message }) => readRustc(project, objectOf(message)));
      // The tests' build says again what the library's did.
      return [...new Map(found.map((one) => [JSON.stringify(one), one])).values()];
    },
  },
  {
    name: "pyright",
    kind: "types",
    program: "pyright",
    isUsedBy: (project) =>
      names(project, /^pyrightconfig\.json$/) ||
      configures(project, "pyright") ||
      depends(project, "pyright"),
    line: (paths) => ({
      ok: true,
      value: { command: [], flags: ["--outputjson"], operands: paths },
    }),
    done: [0, 1],
    read({ project, stdout }) {
      const document = readJson(stdout);
      if (!Array.isArray(objectOf(document)["generalDiagnostics"])) return null;
      return objectsOf(objectOf(document)["generalDiagnostics"])
        .filter(({ severity }) => severity !== "information")
        .map((one) => {
          const start = objectOf(objectOf(one["range"])["start"]);
          const [line, column] = [countOf(start["line"]), countOf(start["character"])];
          return {
            file: relativeTo(project, textOf(one["file"])),
            line: line === null ? null : line + 1,
            column: column === null ? null : column + 1,
            rule: textOf(one["rule"]) || null,
            severity: one["severity"] === "error" ? ("error" as const) : ("warning" as const),
            message: cleanMessage(textOf(one["message"])),
          };
        });
    },
  },
  {
    name: "mypy",
    kind: "types",
    program: "mypy",
    isUsedBy: (project) =>
      names(project, /^\.?mypy\.ini$/) || configures(project, "mypy") || isPython(project),
    line: (paths) => ({
      ok: true,
      value: {
        command: [],
        flags: ["--output=json", "--no-color-output", "--no-error-summary"],
        values: [["--cache-dir", "/dev/null"]],
        paths: orAll(paths),
      },
    }),
    done: [0, 1],
    read({ project, stdout }) {
      if (stdout.trim() !== "" && readJsonLines(stdout).length === 0) return null;
      return readJsonLines(stdout)
        .filter(({ severity }) => severity !== "note")
        .map((one) => {
          const column = countOf(one["column"]);
          return {
            file: relativeTo(project, textOf(one["file"])),
            line: positive(one["line"]),
            column: column === null ? null : column + 1,
            rule: textOf(one["code"]) || null,
            severity: one["severity"] === "error" ? ("error" as const) : ("warning" as const),
            message: cleanMessage(textOf(one["message"])),
          };
        });
    },
  },
  {
    name: "tsc",
    kind: "types",
    program: "tsc",
    isUsedBy: ({ names: there }) => there.has("tsconfig.json"),
    line: (paths) =>
      paths.length > 0
        ? nothingToAsk("tsc")
        : { ok: true, value: { command: ["--noEmit", "--pretty", "false"] } },
    done: [0, 1, 2],
    read({ project, stdout }) {
      const found = [
        ...stdout.matchAll(/^(?:(.+)\((\d+),(\d+)\): )?(error|warning) (TS\d+): (.*(?:\n +.*)*)/gm),
      ];
      if (found.length === 0 && stdout.trim() !== "") return null;
      return found.map(([, file = "", line, column, severity, rule = "", message = ""]) => ({
        file: relativeTo(project, file),
        line: line === undefined ? null : Number(line),
        column: column === undefined ? null : Number(column),
        rule,
        severity: severity === "error" ? "error" : "warning",
        message: cleanMessage(message),
      }));
    },
  },
];

/** A message of rustc's JSON (https://doc.rust-lang.org/rustc/json.html) that has a place. */
function readRustc(project: string, message: Loose): Finding[] {
  const span = objectsOf(message["spans"]).find((one) => one["is_primary"] === true);
  const { level } = message;
  if (span === undefined || (level !== "error" && level !== "warning")) return [];
  return [
    {
      file: relativeTo(project, textOf(span["file_name"])),
      line: positive(span["line_start"]),
      column: positive(span["column_start"]),
      rule: textOf(objectOf(message["code"])["code"]) || null,
      severity: level,
      message: cleanMessage(textOf(message["message"])),
    },
  ];
}
