import { execFile } from "node:child_process";
import { existsSync, globSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, sep } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { chartText } from "../../machines/chart-text.ts";
import { stepMachine } from "../../machines/step/machine.ts";

/** The program that a script of package.json runs. */
const programOf = (script = "") => script.split(" ").find((word) => word.endsWith(".ts")) ?? "";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
const readme = await readFile(join(root, "README.md"), "utf8");
const blocks = [...readme.matchAll(/```(\w*)\n([\s\S]*?)```/g)].map(
  ([, language = "", text = ""]) => {
    return { language, text };
  },
);
const scripts = JSON.parse(await readFile(join(root, "package.json"), "utf8")).scripts as Record<
  string,
  string
>;

/** Runs the example as `npm start` does, its temporary folder inside one of ours. */
async function firstLight(...args: string[]) {
  const folder = await mkdtemp(join(tmpdir(), "stateplane-readme-"));
  const env = {
    ...process.env,
    TMPDIR: folder,
    REDIS_URL: "",
    ANTHROPIC_API_KEY: "",
    OPENAI_API_KEY: "",
  };
  const file = join(root, programOf(scripts["start"]));
  try {
    const running = run(process.execPath, [file, ...args], { env, cwd: root });
    // With --keep it stays up, and serves its console, until Ctrl-C.
    let said = "";
    running.child.stdout?.on("data", (chunk: string) => {
      const isUp = said.includes("Ctrl-C ends it.");
      said += chunk;
      // Once: a second one means that it is to end at once, and fail.
      if (!isUp && said.includes("Ctrl-C ends it.")) running.child.kill("SIGINT");
    });
    const { stdout } = await running;
    const repository = /git -C (\S+) log/.exec(stdout)?.[1] ?? "";
    const log = await run("git", ["-C", repository, "log", "--format=%s"]);
    return { stdout, commits: log.stdout.trim().split("\n") };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The table's lines without what changes from run to run, and without the width that this gives its columns. */
const timeless = (text: string) =>
  (text.split("\n\n")[0] ?? "")
    .split("\n")
    .filter((line) => !line.startsWith("─"))
    .map((line) =>
      line
        .replaceAll(/\s+\d+\s+/g, " N ")
        .replaceAll(/\s+/g, " ")
        .trim(),
    )
    .filter((line) => line !== "");

describe("the README", () => {
  it("shows the chart that the program itself prints", () => {
    expect(blocks[0]?.text.trimEnd()).toBe(chartText(stepMachine));
  });

  it("shows the table that its first command prints, the denied step denied and the commit made", async () => {
    const { stdout, commits } = await firstLight("--yes", "--keep", "--store", "sqlite");
    const shown = blocks.find(({ text }) => text.startsWith("step "))?.text ?? "";
    const printed = stdout.slice(stdout.indexOf("\nstep ") + 1);
    const wide = printed
      .split("\n\n")[0]
      ?.split("\n")
      .filter((line) => line.length > 80);
    expect(wide).toEqual([]);
    expect(timeless(printed)).toEqual(timeless(shown));
    expect(commits).toEqual(["Write down what is guaranteed", "Begin"]);
  });

  it("shows the program of its own step, and what that prints", async () => {
    const file = join(root, programOf(scripts["own-step"]));
    const source = await readFile(file, "utf8");
    const imported = source
      .replace("../../cli/library.ts", "stateplane")
      .replace("../../cli/entries/", "stateplane/")
      .replace('control-plane.ts"', 'control-plane"');
    const at = blocks.findIndex(({ text }) => text === imported);
    expect(blocks.map(({ text }) => text)).toContain(imported);
    const cwd = await mkdtemp(join(tmpdir(), "stateplane-readme-"));
    try {
      const { stdout } = await run(process.execPath, [file], { cwd, env: {} });
      expect(stdout).toBe(blocks[at + 1]?.text);
    } finally {
      await rm(cwd, { recursive: true, force: true });
    }
  });

  it("names only npm scripts that exist", () => {
    const named = [...readme.matchAll(/npm run (?:-s )?([\w:-]+)/g)].map(([, name = ""]) => name);
    expect(named.filter((name) => scripts[name] === undefined)).toEqual([]);
  });

  it("names the test command that CI runs", async () => {
    const ci = await readFile(join(root, ".ci/run"), "utf8");
    expect(readme).toContain("npm ci && npm run setup && npm test");
    for (const command of ["npm ci", "npm run setup", "npm test"]) expect(ci).toContain(command);
  });

  it("links only to files that exist and that the package has, as every page of docs/ does", async () => {
    const { files } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as {
      files: string[];
    };
    const pages = ["README.md", ...globSync("docs/**/*.md", { cwd: root })];
    const links = pages.flatMap((page) =>
      [...readFileSync(join(root, page), "utf8").matchAll(/\]\((?!http)([^)#]+)/g)].map(
        ([, path = ""]) => ({ page, path: join(dirname(page), path) }),
      ),
    );
    expect(links.length).toBeGreaterThan(50);
    const isThere = (path: string) =>
      existsSync(join(root, path)) && files.includes(path.split(sep)[0] ?? "");
    expect(links.filter(({ path }) => !isThere(path))).toEqual([]);
  });
});
