import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { isJsonObject, parseJson } from "../../machines/contracts/domain/json.ts";
import { calledAs, word } from "../called-as.ts";
import type { Command } from "../command.ts";
import { version } from "../main.ts";
import { CliError } from "../output/errors.ts";
import { projectFiles } from "./init-files.ts";

/** `init [FOLDER]`: a project of one's own, which runs as it is. Overwrites nothing. */
export const init: Command = async ({ invocation, folder, output }) => {
  const target = resolve(folder, invocation.args[0] ?? ".");
  const there = Object.keys(projectFiles).filter((name) => existsSync(join(target, name)));
  if (there.length > 0) {
    const where = `${target} already has ${there.join(", ")}`;
    throw new CliError(2, `init: ${where}; nothing was written. Choose another folder.`);
  }
  const manifest = await readManifest(target);
  await mkdir(target, { recursive: true });
  for (const [name, text] of Object.entries(projectFiles)) {
    await writeFile(join(target, name), text, { flag: "wx" });
  }
  const isNew = manifest === null;
  const wanted = isNew ? newManifest(target) : withAdditions(manifest);
  await writeFile(join(target, "package.json"), `${JSON.stringify(wanted, null, 2)}\n`);
  if (output.isJson) {
    output.json({ folder: target, files: [...Object.keys(projectFiles), "package.json"] });
    return 0;
  }
  const note = isNew ? "" : " (what it said stays)";
  output.line(`Wrote to ${target}:`);
  for (const name of Object.keys(projectFiles)) output.line(`  ${name}`);
  output.line(`  package.json${note}`);
  output.line("");
  output.line("Next:");
  // The registry may not have what a clone is: it is made a package here, and taken from here.
  if (isNew && clone !== null) output.line(`  ${buildLine(clone, folder)}`);
  if (target !== folder) output.line(`  cd ${word(relative(folder, target))}`);
  if (isNew) output.line("  npm install");
  // In the new project it is npx that finds the program, however it was found here.
  const program = isNew ? "npx stateplane" : calledAs();
  output.line(`  ${program} dev --watch`);
  output.line("In another terminal, in the same folder:");
  output.line(`  ${program} submit assistant --steps steps.yaml --watch`);
  return 0;
};

/** The folder of the clone that this program runs in; null where it is installed. */
const clone = findClone();

function findClone(): string | null {
  if (import.meta.dirname.split(sep).includes("node_modules")) return null;
  const own = join(import.meta.dirname, "../..");
  // As it is compiled, it lies a folder deeper.
  return existsSync(join(own, "package.json")) ? own : dirname(own);
}

const buildLine = (root: string, folder: string): string =>
  root === folder ? "npm run build" : `npm --prefix ${word(root)} run build`;

// A pattern of its own: an older Node finds no TypeScript by itself, and passes with no test run.
const scripts = { dev: "stateplane dev --watch", test: "node --test '*.test.ts'" };
const additions = { type: "module", engines: { node: ">=22.19" } };
/** What `npm init` writes where nobody has tests yet. */
const noTests = /^echo "Error: no test specified" && exit 1$/u;

function newManifest(target: string) {
  const name =
    basename(target)
      .toLowerCase()
      .replaceAll(/[^a-z\d-]+/gu, "-") || "my-agent";
  const dependencies = { stateplane: clone === null ? version : `file:${clone}` };
  return { name, private: true, ...additions, scripts, dependencies };
}

/** What it says stays. */
function withAdditions(manifest: Record<string, unknown>) {
  const said = isJsonObject(manifest["scripts"]) ? manifest["scripts"] : {};
  const { test, ...others } = said;
  const own = noTests.test(String(test)) || test === undefined ? others : said;
  return { ...additions, ...manifest, scripts: { ...scripts, ...own } };
}

/** Null where there is none. */
async function readManifest(target: string): Promise<Record<string, unknown> | null> {
  const file = join(target, "package.json");
  if (!existsSync(file)) return null;
  const read = parseJson(await readFile(file, "utf8"));
  const manifest = read.ok ? read.value : null;
  if (!isJsonObject(manifest)) throw new CliError(2, `init: ${file} is not a JSON object`);
  if (manifest["type"] !== undefined && manifest["type"] !== "module") {
    throw new CliError(
      2,
      `init: ${file} says "type": ${JSON.stringify(manifest["type"])}; expected "module" (npm pkg set type=module)`,
    );
  }
  return manifest;
}
