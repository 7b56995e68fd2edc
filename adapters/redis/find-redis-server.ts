import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** The first `redis-server` or `valkey-server` on the PATH, or null. */
export function findRedisServer(path: string): string | null {
  for (const folder of path.split(delimiter).filter((entry) => entry !== "")) {
    for (const name of ["redis-server", "valkey-server"]) {
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
