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

/** Whether users' code was loaded since, as by an `import()` of a trial: nobody could know of it before. */
export function watchUsersModules(): { isLoaded: () => boolean } & Disposable {
  let isLoaded = false;
  const hook = registerHooks({
    load(url, context, next) {
      const path = url.startsWith("file:") ? fileURLToPath(url) : program;
      if (!path.startsWith(program) && !path.includes("/node_modules/")) isLoaded = true;
      return next(url, context);
    },
  });
  return { isLoaded: () => isLoaded, [Symbol.dispose]: () => hook.deregister() };
}
