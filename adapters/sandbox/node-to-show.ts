import { realpathSync } from "node:fs";

/** The path of the Node we run on when a sandbox has to be given it; null when it is under /usr and there anyway. */
export function nodeToShow(): string | null {
  const path = realpathSync(process.execPath);
  return path.startsWith("/usr/") && path.endsWith("/bin/node") ? null : path;
}
