import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

export interface SourceFile {
  /** Relative to the project, with forward slashes. */
  path: string;
  lines: number;
  /** What it imports: a path relative to the project for our own files, else the specifier. */
  imports: string[];
}

const root = join(import.meta.dirname, "../..");
const folders = ["machines", "actors", "adapters", "tools", "evals", "cli", "tests", "examples"];
const specifiers = /\b(?:from|import)\s*\(?\s*"([^"\n]+)"/g;

/** Every TypeScript file of the project, with its imports. */
export function sourceFiles(): SourceFile[] {
  return globSync(`{${folders.join(",")}}/**/*.ts`, { cwd: root }).map((path) => {
    const text = readFileSync(join(root, path), "utf8");
    const imports = [...text.matchAll(specifiers)].map(([, specifier = ""]) =>
      specifier.startsWith(".") ? normalize(join(dirname(path), specifier)) : specifier,
    );
    return { path, lines: text.split("\n").length - 1, imports };
  });
}
