import { createHash } from "node:crypto";
import { createReadStream, type Dirent } from "node:fs";
import { readdir, readFile, readlink, stat } from "node:fs/promises";
import { join, relative } from "node:path";
import { pipeline } from "node:stream/promises";
import { stringify } from "safe-stable-stringify";
import type { Json } from "../machines/contracts/domain/json.ts";

/** Hex SHA-256 of a JSON value, whatever the order of its keys. */
export function digestOf(value: Json): string {
  return createHash("sha256")
    .update(stringify(value) ?? "")
    .digest("hex");
}

/**
 * Hex SHA-256 of a file, or of a folder with the names and contents of all that is in it, and which can be run. Of git's own folder it is what
 * an agent would see: its branches and tags, which of them is checked out, its settings and hooks. How git packs its
 * objects, and when it last looked at a file, is not.
 */
export async function digestOfPath(path: string): Promise<string> {
  const hash = createHash("sha256");
  const found = await stat(path);
  if (!found.isDirectory()) {
    await pipeline(createReadStream(path), hash);
    return hash.digest("hex");
  }
  const entries = await readdir(path, { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const inner = join(path, entry.name);
    const content = entry.isSymbolicLink()
      ? await readlink(inner)
      : entry.name === ".git" && entry.isDirectory()
        ? await digestOfGit(inner)
        : await digestOfPath(inner);
    hash.update(JSON.stringify([entry.name, content, ...(await kindOf(inner, entry))]));
  }
  return hash.digest("hex");
}

/** What the content does not tell: a file that can be run, and of what is empty whether it is a folder. */
async function kindOf(path: string, entry: Dirent): Promise<string[]> {
  if (entry.isDirectory()) return (await readdir(path)).length === 0 ? ["folder"] : [];
  return entry.isFile() && ((await stat(path)).mode & 0o100) !== 0 ? ["executable"] : [];
}

async function digestOfGit(folder: string): Promise<string> {
  const text = (name: string) => readFile(join(folder, name), "utf8").catch(() => "");
  const refs = new Map<string, string>();
  for (const line of (await text("packed-refs")).split("\n")) {
    const [, object = "", name = ""] = /^([0-9a-f]+) (\S+)$/u.exec(line) ?? [];
    if (name !== "") refs.set(name, object);
  }
  // One that stands alone goes before what it was when all were packed.
  const all = { recursive: true, withFileTypes: true } as const;
  for (const entry of await readdir(join(folder, "refs"), all).catch(() => [])) {
    if (!entry.isFile()) continue;
    const name = relative(folder, join(entry.parentPath, entry.name));
    refs.set(name, (await text(name)).trim());
  }
  const hooks: [string, string][] = [];
  for (const name of await readdir(join(folder, "hooks")).catch(() => []))
    if (!name.endsWith(".sample")) hooks.push([name, await text(join("hooks", name))]);
  const sorted = (pairs: Iterable<[string, string]>) =>
    [...pairs].sort(([one], [other]) => (one < other ? -1 : 1));
  const plain = ["HEAD", "config", "info/exclude", "info/attributes", "shallow"];
  const texts = await Promise.all(plain.map(text));
  return digestOf([texts, sorted(refs), sorted(hooks)]);
}
