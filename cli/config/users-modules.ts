import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";

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
      const isUsers = !path.startsWith(program) && !path.includes("/node_modules/");
      if (isUsers) {
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
