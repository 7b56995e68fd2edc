import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** The first of these programs on the PATH, as a file's path; null when there is none. */
export function findProgram(names: readonly string[], path: string | undefined): string | null {
  for (const folder of (path ?? "").split(delimiter).filter((entry) => entry !== "")) {
    for (const name of names) {
      const file = join(folder, name);
      if (isExecutable(file)) return file;
    }
  }
  return null;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
