import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";

/** Every name below a folder, with its mode, the time it was changed and what it holds: equal where nothing was written. */
export function folderRecord(folder: string): Record<string, string> {
  const found: Record<string, string> = {};
  const pending = [""];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    const path = join(folder, at);
    const stat = lstatSync(path, { bigint: true });
    const held = stat.isSymbolicLink()
      ? readlinkSync(path)
      : stat.isFile()
        ? readFileSync(path, "base64")
        : "";
    found[at] = `${stat.mode.toString(8)} ${stat.mtimeNs} ${held}`;
    if (stat.isDirectory()) pending.push(...readdirSync(path).map((name) => join(at, name)));
  }
  return found;
}
