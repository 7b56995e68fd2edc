import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { projectFiles } from "../../cli/commands/init-files.ts";
import { runCli } from "../support/run-cli.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const folder = useTemporaryFolder();

/** Runs `init` in a folder of this name that holds these files. */
async function initWhere(name: string, files: Record<string, string>) {
  const target = join(folder, name);
  await mkdir(target);
  for (const [file, text] of Object.entries(files)) await writeFile(join(target, file), text);
  return { target, result: await runCli(["init"], { cwd: target }) };
}

describe("stateplane init", () => {
  it("refuses where one of its files is there, names it, and writes nothing [cli.init]", async () => {
    const there = { "policy.ts": "mine", "steps.yaml": "mine too" };
    const { target, result } = await initWhere("a folder with files", there);
    expect(result).toMatchObject({ code: 2, stdout: "" });
    expect(result.stderr).toContain("already has policy.ts, steps.yaml; nothing was written");
    expect((await readdir(target)).toSorted()).toEqual(Object.keys(there));
    expect(await readFile(join(target, "policy.ts"), "utf8")).toBe("mine");
  });

  it("from a clone takes the package from there, and says how to make it [cli.init]", async () => {
    const { target, result } = await initWhere("of a clone", {});
    const root = join(import.meta.dirname, "../..");
    const manifest = JSON.parse(await readFile(join(target, "package.json"), "utf8"));
    expect(manifest.dependencies).toEqual({ stateplane: `file:${root}` });
    const [, next = ""] = result.stdout.split("Next:\n");
    // As a shell must be given it: a clone may lie anywhere.
    const quoted = /^[\w./-]+$/u.test(root) ? root : `'${root}'`;
    expect(next.split("\n").map((line) => line.trim())).toEqual([
      `npm --prefix ${quoted} run build`,
      "npm install",
      "npx stateplane dev --watch",
      "In another terminal, in the same folder:",
      "npx stateplane submit assistant --steps steps.yaml --watch",
      "",
    ]);
  });

  it("keeps what a package.json says, and refuses one that can't take modules [cli.init]", async () => {
    const scripts = { test: "mine" };
    const kept = await initWhere("kept", {
      "package.json": JSON.stringify({ name: "x", scripts }),
    });
    expect(kept.result.code).toBe(0);
    const manifest = await readFile(join(kept.target, "package.json"), "utf8");
    expect(JSON.parse(manifest)).toEqual({
      type: "module",
      name: "x",
      engines: { node: expect.stringMatching(/^>=22/u) },
      // What it lacked is added.
      scripts: { ...scripts, dev: expect.any(String) },
    });
    expect(await readdir(kept.target)).toEqual(expect.arrayContaining(Object.keys(projectFiles)));

    // What `npm init` writes fails every time, and is nobody's test.
    const noTests = { test: 'echo "Error: no test specified" && exit 1' };
    const fresh = await initWhere("fresh", {
      "package.json": JSON.stringify({ name: "x", scripts: noTests }),
    });
    const replaced = JSON.parse(await readFile(join(fresh.target, "package.json"), "utf8"));
    expect(replaced.scripts.test).toContain("node --test");

    const refused = await initWhere("refused", { "package.json": '{"type":"commonjs"}' });
    expect(refused.result).toMatchObject({ code: 2 });
    expect(refused.result.stderr).toContain("npm pkg set type=module");
    expect(await readdir(refused.target)).toEqual(["package.json"]);
  });
});
