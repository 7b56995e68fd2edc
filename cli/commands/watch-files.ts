import type { ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { type FSWatcher, statSync, watch } from "node:fs";
import { dirname, join } from "node:path";
import { freePort } from "../../adapters/redis/redis-process.ts";
import type { Context } from "../command.ts";
import { configFileNames } from "../config/config-file.ts";
import { endCopiesAtOnce, spawnCopy } from "../spawn-copy.ts";
import { type CopyNotice, madeUpKeyVariable, watchedVariable } from "../watched.ts";

/** Saving a file is several changes in a row, and so is a change of branch. */
const quietMs = 100;

/**
 * `dev --watch`: the same command line in a copy of this process, started again when a file that it is made of changes:
 * the configuration, what that imports, and the files that it names.
 *
 * A change starts a second copy, which reads its configuration and waits. When that is valid, the first one ends, its
 * steps finished, and the second one starts; when it is not, the first one goes on. So a mistake ends nothing. Port and
 * key stay the same, so that a client which watches a run finds the new copy; all else is in the data folder.
 *
 * @returns the exit code of the copy that ran when this process was asked to stop
 */
export async function watchFiles(context: Context): Promise<number> {
  const { config, env, folder, output, stopping } = context;
  const { apiKey, port } = config.settings;
  const copyEnv = {
    ...env,
    [watchedVariable]: "1",
    ...(apiKey === null
      ? { FD_API_KEY: `fd_dev_${randomBytes(16).toString("hex")}`, [madeUpKeyVariable]: "1" }
      : {}),
    ...(port === null ? { STATEPLANE_PORT: String(await freePort()) } : {}),
  };
  const { promise, resolve } = Promise.withResolvers<number>();
  let running: { child: ChildProcess; isReplaced: boolean } | null = null;
  let next: { child: ChildProcess; isValid: boolean } | null = null;
  let exitCode = 0;

  const advance = () => {
    if (next?.isValid !== true || stopping.signal.aborted) return;
    if (running === null) {
      running = { child: next.child, isReplaced: false };
      next = null;
      running.child.send("start");
    } else if (!running.isReplaced) {
      running.isReplaced = true;
      output.remark("a file changed: starting again");
      running.child.kill("SIGTERM");
    }
  };
  const onExit = (child: ChildProcess, code: number) => {
    const { signal } = stopping;
    if (child === running?.child) {
      const { isReplaced } = running;
      running = null;
      if (signal.aborted) exitCode = code;
      else if (!isReplaced && next === null)
        output.remark(`dev ended with exit code ${code}; it starts again when a file changes`);
    } else if (child === next?.child) {
      next = null;
      if (!signal.aborted)
        output.remark(
          running === null
            ? "dev could not start; it tries again when a file changes"
            : "the change can't be used: dev goes on as it was before",
        );
    }
    advance();
    if (signal.aborted && running === null && next === null) resolve(exitCode);
  };
  const begin = () => {
    if (stopping.signal.aborted) return;
    next?.child.kill("SIGTERM");
    const child = startCopy(copyEnv, onExit);
    next = { child, isValid: false };
    child.on("message", ({ files = [], isValid }: CopyNotice) => {
      files.forEach(changes.watch);
      if (isValid !== true || child !== next?.child) return;
      next.isValid = true;
      advance();
    });
  };
  const changes = watchChanges(begin);
  const places = configFileNames.map((name) => join(folder, name));
  (config.file === null ? places : [config.file]).forEach(changes.watch);
  const stop = () => {
    next?.child.kill("SIGTERM");
    running?.child.kill("SIGTERM");
    if (running === null && next === null) resolve(exitCode);
  };
  for (const signal of [stopping.signal, stopping.now]) signal.addEventListener("abort", stop);
  const keep = endCopiesAtOnce(() => [running?.child, next?.child]);
  begin();
  try {
    return await promise;
  } finally {
    keep();
    changes.close();
  }
}

function startCopy(
  given: NodeJS.ProcessEnv,
  onExit: (child: ChildProcess, code: number) => void,
): ChildProcess {
  const args = process.argv.slice(1).filter((arg) => arg !== "--watch");
  const child = spawnCopy(args, given);
  child.once("exit", (code) => onExit(child, code ?? 1));
  child.once("error", () => {
    if (child.pid === undefined) onExit(child, 1);
  });
  return child;
}

/** Looks at files by their folders, since an editor often puts another file in a file's place. */
function watchChanges(onChange: () => void): { watch(file: string): void; close(): void } {
  const seen = new Map<string, string>();
  const folders = new Map<string, FSWatcher | null>();
  let timer: NodeJS.Timeout | undefined;
  const look = () => {
    const changed = [...seen].filter(([file, state]) => stateOf(file) !== state);
    for (const [file] of changed) seen.set(file, stateOf(file));
    if (changed.length > 0) onChange();
  };
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(look, quietMs);
  };
  const open = (folder: string): FSWatcher | null => {
    try {
      return watch(folder, (_, name) => {
        if (name === null || seen.has(join(folder, name))) soon();
      }).on("error", () => {});
    } catch {
      // A folder that is not there.
      return null;
    }
  };
  return {
    watch(file) {
      if (seen.has(file)) return;
      seen.set(file, stateOf(file));
      const folder = dirname(file);
      if (!folders.has(folder)) folders.set(folder, open(folder));
    },
    close() {
      clearTimeout(timer);
      for (const watcher of folders.values()) watcher?.close();
    },
  };
}

/** Changes with the file. */
function stateOf(file: string): string {
  const found = statSync(file, { throwIfNoEntry: false });
  return found === undefined ? "" : `${found.mtimeMs} ${found.size} ${found.ino}`;
}
