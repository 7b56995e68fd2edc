import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");

/** npm tells its children of the project that it runs in; one of its own must hear of the machine alone. */
export const npmEnv = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^npm_/iu.test(name) || /_(?:cafile|registry|proxy|cache)$/iu.test(name),
  ),
);
export const npm = (args: string[], cwd: string) => run("npm", args, { cwd, env: npmEnv });
export const quietly = ["--prefer-offline", "--no-audit", "--no-fund"];

export function newProject(path: string): void {
  mkdirSync(path);
  writeFileSync(join(path, "package.json"), '{ "private": true, "type": "module" }\n');
}

/** Packs this package as it would be published; returns the tarball's file. */
export async function packTarball(folder: string): Promise<string> {
  const { stdout } = await npm(["pack", "--json", "--pack-destination", folder], root);
  const [{ filename = "" } = {}] = JSON.parse(stdout) as { filename?: string }[];
  return join(folder, filename);
}
