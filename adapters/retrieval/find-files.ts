import { isUtf8 } from "node:buffer";
import { readdir, stat } from "node:fs/promises";
import { basename, join, relative, sep } from "node:path";
import { fail, ok, type Outcome, terminal } from "../../machines/contracts/domain/failure.ts";
import type { DocumentKind } from "./chunks.ts";
import { kindOf } from "./read-document.ts";

export interface FoundFile {
  /** Absolute. */
  path: string;
  /** What results call it: from the base, with `/` between folders. */
  source: string;
  kind: DocumentKind;
}

export interface FoundFiles {
  files: FoundFile[];
  /** Folders that were looked through, absolute; what is gone from them is gone. */
  folders: string[];
  /** Folders in them that can't be read, and why. */
  unread: { path: string; source: string; problem: string }[];
  /** Files of a kind that is not read. */
  passedOver: number;
}

/**
 * The files to be read under these paths, in a fixed order. Names that begin with a dot, `node_modules` and symbolic
 * links are passed over; a file that is named itself is read whatever it is called.
 *
 * @param roots absolute paths of files and folders
 */
export async function findFiles(
  roots: readonly string[],
  base: string,
): Promise<Outcome<FoundFiles>> {
  const found: FoundFiles = { files: [], folders: [], unread: [], passedOver: 0 };
  const paths = new Set<string>();
  for (const root of roots) {
    const isInside = (path: string) => path === base || path.startsWith(withEnd(base));
    const nameOf = (path: string) => {
      const name = isInside(root)
        ? relative(base, path)
        : join(basename(root), relative(root, path));
      return name.split(sep).join("/");
    };
    try {
      const isFolder = (await stat(root)).isDirectory();
      if (isFolder) found.folders.push(root);
      const all = isFolder ? await walk(root, nameOf, found) : [root];
      for (const path of all) {
        const kind = kindOf(path) ?? (isFolder ? null : "text");
        if (kind === null) found.passedOver += 1;
        else if (!paths.has(path)) found.files.push({ path, source: nameOf(path), kind });
        paths.add(path);
      }
    } catch (error) {
      const { code = "failed" } = error as NodeJS.ErrnoException;
      return fail(terminal("invalid_input", `${root} can't be read (${code})`));
    }
  }
  return ok(found);
}

export const withEnd = (folder: string): string => (folder.endsWith(sep) ? folder : folder + sep);

const notUtf8 = "its name is not text in UTF-8: rename it to have it read";

async function walk(
  folder: string,
  nameOf: (path: string) => string,
  found: FoundFiles,
): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true, encoding: "buffer" });
  const named = entries.map((entry) => ({ entry, bytes: entry.name, name: entry.name.toString() }));
  const paths: string[] = [];
  for (const { entry, bytes, name } of named.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if (name.startsWith(".") || name === "node_modules") continue;
    const path = join(folder, name);
    // Decoded such a name is another one, by which nothing is there.
    if (!isUtf8(bytes)) {
      if (entry.isDirectory() || kindOf(name) !== null) {
        found.unread.push({ path, source: nameOf(path), problem: notUtf8 });
      } else found.passedOver += 1;
      continue;
    }
    if (entry.isFile()) paths.push(path);
    else if (entry.isDirectory()) {
      try {
        paths.push(...(await walk(path, nameOf, found)));
      } catch (error) {
        const { code = "failed" } = error as NodeJS.ErrnoException;
        found.unread.push({ path, source: nameOf(path), problem: `it can't be read (${code})` });
      }
    }
  }
  return paths;
}
