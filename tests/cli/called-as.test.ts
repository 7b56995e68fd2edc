import { globSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { programOf } from "../../cli/called-as.ts";
import { parseCommand } from "../../cli/program.ts";
import { groups, specs } from "../../cli/specs.ts";

const root = join(import.meta.dirname, "../..");

describe("the program's own name in hints and help", () => {
  const checkout = "/home/me/stateplane";
  const installed = "/home/me/project/node_modules/.bin/stateplane";
  it.each([
    ["on the PATH", { file: "/usr/local/bin/stateplane", folder: "/home/me" }, "stateplane"],
    [
      "installed for everybody, its link followed",
      { file: "/usr/lib/node_modules/stateplane/dist/cli/bin.js", folder: "/home/me" },
      "stateplane",
    ],
    ["in a project", { file: installed, folder: "/home/me/project" }, "npx stateplane"],
    [
      "below a project's folder",
      { file: installed, folder: "/home/me/project/a" },
      "npx stateplane",
    ],
    [
      "by npx, installed nowhere",
      {
        file: "/home/me/.npm/_npx/1/node_modules/.bin/stateplane",
        folder: "/tmp",
        env: { npm_command: "exec" },
      },
      "npx stateplane",
    ],
    [
      "by a checkout's npm script",
      {
        file: `${checkout}/cli/bin.ts`,
        folder: checkout,
        env: { npm_package_json: `${checkout}/package.json`, npm_command: "run-script" },
      },
      "npm run -s stateplane --",
    ],
    [
      "as a checkout's file",
      { file: `${checkout}/cli/bin.ts`, folder: checkout },
      "node cli/bin.ts",
    ],
    [
      "as a checkout's file, from far away, beside a space",
      { file: "/home/my own/cli/bin.ts", folder: "/tmp/a/b" },
      "node '/home/my own/cli/bin.ts'",
    ],
  ])("%s is what starts it again", (_where, start, expected) => {
    expect(programOf({ env: {}, ...start })).toBe(expected);
  });

  it("stands in every help text before every command", () => {
    const program = "npm run -s stateplane --";
    const words = [[], ...Object.keys(groups).map((name) => [name])].concat(
      Object.keys(specs).map((name) => name.split(" ")),
    );
    for (const argv of words) {
      const parsed = parseCommand([...argv, "--help"], 80, program);
      const text = parsed.kind === "help" ? parsed.text.replaceAll(/ \\\n\s+/gu, " ") : "";
      expect(text).toContain(`Usage: ${program}`);
      expect(text.replaceAll(program, "")).not.toMatch(/\bstateplane [a-z]/u);
    }
  });

  it("is written into no message by hand", async () => {
    const verbs = new Set(Object.keys(specs).map((name) => name.split(" ")[0]));
    const named = new RegExp(`stateplane (?:${[...verbs].join("|")})\\b`, "u");
    const found: string[] = [];
    for (const file of globSync("cli/**/*.ts", { cwd: root })) {
      // Those of the help are turned into the name by the help itself; in a project, npm finds the program by its own.
      if (
        /cli\/(?:specs|specs-of-[a-z]+|program|commands\/init|commands\/init-files)\.ts$/u.test(
          file,
        )
      )
        continue;
      const text = await readFile(join(root, file), "utf8");
      const code = text.split("\n").filter((line) => !/^\s*(?:\/?\*|\/\/)/u.test(line));
      found.push(
        ...code.filter((line) => named.test(line)).map((line) => `${file}: ${line.trim()}`),
      );
    }
    expect(found).toEqual([]);
  });
});
