import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";
import type { Log } from "../machines/contracts/ports/clock.ts";
import type { Context } from "./command.ts";

/*
 * A copy of `dev` that `dev --watch` started (commands/watch-files.ts). It tells its parent which files it is made of as
 * it loads them, so that a file that breaks it is known too; reads its configuration and what that names; says that it
 * is valid; and starts when it is told to, which is when the copy before it has ended.
 */

/** Set for such a copy. */
export const watchedVariable = "STATEPLANE_WATCHED";

/** Set for a copy whose key its parent made up. */
export const madeUpKeyVariable = "STATEPLANE_KEY_MADE_UP";

/** What a copy tells its parent. */
export interface CopyNotice {
  /** Absolute paths, whether they are there or not. */
  files?: readonly string[];
  /** The configuration and what it names can be used. */
  isValid?: true;
}

const tell = (notice: CopyNotice) => void process.send?.(notice);

/** Tells the parent of every module that is loaded from now on, but for installed packages. */
export function reportLoadedFiles(): void {
  const report = (url: unknown) => {
    if (typeof url !== "string" || !url.startsWith("file:")) return;
    const file = fileURLToPath(url);
    if (!/[\\/]node_modules[\\/]/u.test(file)) tell({ files: [file] });
  };
  registerHooks({
    resolve: (specifier, context, next) => {
      try {
        return next(specifier, context);
      } catch (error) {
        // One that is missing may come to be.
        report((error as { url?: unknown }).url);
        throw error;
      }
    },
    load: (url, context, next) => {
      report(url);
      return next(url, context);
    },
  });
}

/**
 * Waits until the copy before this one has ended; every other process may start at once.
 *
 * @returns false when this process was asked to stop instead
 * @throws InvalidSetting for a file that the configuration names and that can't be used
 */
export async function mayStart({ config, env, stopping }: Context, log: Log): Promise<boolean> {
  if (env[watchedVariable] === undefined) return true;
  const { mcpConfigPath, modelScript, modelRecording, recordModels } = config.settings;
  // A recording that is being made changes at every call.
  const named = [mcpConfigPath, modelScript, recordModels === "yes" ? null : modelRecording];
  tell({ files: named.filter((file) => file !== null) });
  const { chooseTools } = await import("./compose/choose-tools.ts");
  const { composeModels, pricesOf } = await import("./compose/compose-models.ts");
  await chooseTools(config, env, (file) => tell({ files: [file] }));
  await composeModels(config, env, pricesOf(config.settings), log);
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const start = () => resolve(true);
  const stop = () => resolve(false);
  process.once("message", start);
  stopping.signal.addEventListener("abort", stop, { once: true });
  if (stopping.signal.aborted) stop();
  tell({ isValid: true });
  try {
    return await promise;
  } finally {
    process.off("message", start);
    stopping.signal.removeEventListener("abort", stop);
  }
}
