import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { types } from "node:util";
import { placeOf, stackOf } from "../../machines/contracts/domain/users-code.ts";

/*
 * Code of users' that this process loads, and which files it is made of: what an eval did with the code before is not what
 * it would do with this. A module is loaded once, whoever imports it first, so that files are counted for the process.
 */

const files = new Set<string>();

/** Loads a module, and says which files users' code is made of so far: this module may import any of them. */
export async function loadUsersModule(
  file: string,
): Promise<{ loaded: { default?: unknown }; files: readonly string[] }> {
  const hook = registerHooks({
    load(url, context, next) {
      if (url.startsWith("file:")) files.add(fileURLToPath(url));
      return next(url, context);
    },
  });
  try {
    const loaded = (await import(pathToFileURL(file).href)) as { default?: unknown };
    return { loaded, files: [...files].sort() };
  } finally {
    hook.deregister();
  }
}

/** How a stack begins that Node made of code that it can't read. */
const unreadPlace = /^(?:file:\/\/)?(\/.*|[A-Za-z]:\\.*):(\d+)$/u;

/** What kept a user's module from being loaded, in its words, and where it stands: `at FILE:LINE`. */
export async function withPlace(words: string, error: unknown): Promise<string> {
  const place = await placeOfFault(error, process.cwd());
  return place === null ? words : `${words}, at ${place}`;
}

/**
 * Where a module threw, or where it can't be read; null where nobody knows. V8 says of JavaScript only what it did not
 * expect, so Node is asked to check each file that was read.
 */
async function placeOfFault(error: unknown, folder: string): Promise<string | null> {
  const [, path, line] = unreadPlace.exec(stackOf(error).split("\n")[0] ?? "") ?? [];
  if (path !== undefined) return `${fromFolder(path, folder)}:${line}`;
  const thrown = placeOf(error, folder);
  if (thrown !== null || !types.isNativeError(error) || error.name !== "SyntaxError") return thrown;
  for (const file of [...files].filter(isUsers)) {
    const told = await check(file);
    const [, unread, at] = unreadPlace.exec(told.split("\n")[0] ?? "") ?? [];
    if (unread !== undefined) return `${fromFolder(unread, folder)}:${at}`;
  }
  return null;
}

/** What Node says of a file that it only reads. */
const check = (file: string): Promise<string> =>
  new Promise((resolve) => {
    const options = { timeout: 5_000, env: {} };
    execFile(process.execPath, ["--check", file], options, (_, __, said) => resolve(said));
  });

const fromFolder = (path: string, folder: string): string =>
  path.startsWith(`${folder}/`) ? path.slice(folder.length + 1) : path;

const isUsers = (path: string): boolean =>
  !path.startsWith(program) && !path.includes("/node_modules/");

const program = fileURLToPath(new URL("../../", import.meta.url));

export interface LaterModules extends Disposable {
  isLoaded(): boolean;
  /** Those that were loaded since the last look, each with the hex SHA-256 of what was loaded. */
  taken(): [file: string, digest: string][];
}

/** Users' code that is loaded from now on, as by an `import()` of a trial: nobody could know of it before. */
export function watchUsersModules(): LaterModules {
  let isLoaded = false;
  const fresh: [string, string][] = [];
  const hook = registerHooks({
    load(url, context, next) {
      const path = url.startsWith("file:") ? fileURLToPath(url) : program;
      if (isUsers(path)) {
        isLoaded = true;
        fresh.push([path, digestIn(path)]);
      }
      return next(url, context);
    },
  });
  return {
    isLoaded: () => isLoaded,
    taken: () => fresh.splice(0),
    [Symbol.dispose]: () => hook.deregister(),
  };
}

/** Now, and not when it is asked for: the file may change meanwhile. What can't be read is told by whoever loads it. */
function digestIn(path: string): string {
  try {
    return createHash("sha256").update(readFileSync(path)).digest("hex");
  } catch {
    return "";
  }
}
