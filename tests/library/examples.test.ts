import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import * as library from "../../cli/library.ts";
import * as workflows from "../../adapters/workflows/define.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  exports: Record<string, { default: string }>;
};
const sources = [
  "cli/library.ts",
  "adapters/functions/define-tool.ts",
  "adapters/workflows/define.ts",
  "actors/runtime.ts",
];
const folder = useTemporaryFolder();

/** The examples of the docstrings of a file, by the function that each stands above. */
const examples = sources.flatMap((path) => {
  const text = readFileSync(join(root, path), "utf8");
  const pattern =
    /\/\*\*(?:(?!\*\/)[\s\S])*?@example\n((?:(?!\*\/)[\s\S])*)\*\/\s*export (?:async )?function (\w+)/gu;
  return [...text.matchAll(pattern)].map(([, lines = "", name = ""]) => ({
    name,
    code: lines.replaceAll(/^ \*(?: |$)/gmu, "").trimEnd(),
  }));
});

/** As a user would write it, with the package's entries replaced by the sources that they are built from. */
function fromSources(code: string): string {
  return code.replaceAll(/from "stateplane(\/[\w/-]+)?"/gu, (_, entry = "") => {
    const built = exports[`.${String(entry)}`]?.default ?? "";
    return `from "${join(root, built.replace("./dist/", "").replace(/\.js$/u, ".ts"))}"`;
  });
}

describe("the examples in docstrings", () => {
  it("are there for every function that begins something of a user's [library.examples]", () => {
    const begins = Object.keys({ ...library, ...workflows }).filter((name) =>
      /^(?:define|start)/u.test(name),
    );
    expect(examples.map(({ name }) => name).sort()).toEqual(begins.sort());
  });

  it.each(examples)(
    "of $name runs, and prints what it says [library.examples]",
    async ({ name, code }) => {
      const own = join(folder, name);
      mkdirSync(own);
      writeFileSync(join(own, "example.ts"), fromSources(code));
      const { stdout, stderr } = await run(process.execPath, ["example.ts"], {
        cwd: own,
        timeout: 100_000,
      });
      const said = [...code.matchAll(/^console\.log.*\/\/ (.*)$/gmu)].map(([, text]) => text);
      expect(stdout.split("\n").filter((line) => line !== "")).toEqual(said);
      expect(stderr).toBe("");
    },
  );
});
