import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, readlink, stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { stringify } from "safe-stable-stringify";
import type { Json } from "../machines/contracts/domain/json.ts";

/** Hex SHA-256 of a JSON value, whatever the order of its keys. */
export function digestOf(value: Json): string {
  return createHash("sha256")
    .update(stringify(value) ?? "")
    .digest("hex");
}

/** Hex SHA-256 of a file, or of a folder with the names and contents of all that is in it, but for git's own folder. */
export async function digestOfPath(path: string): Promise<string> {
  const hash = createHash("sha256");
  const found = await stat(path);
  if (!found.isDirectory()) {
    await pipeline(createReadStream(path), hash);
    return hash.digest("hex");
  }
  const entries = await readdir(path, { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name === ".git") continue;
    const inner = join(path, entry.name);
    const content = entry.isSymbolicLink() ? await readlink(inner) : await digestOfPath(inner);
    hash.update(JSON.stringify([entry.name, content]));
  }
  return hash.digest("hex");
}
