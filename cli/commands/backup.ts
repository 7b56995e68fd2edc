import { access, open, rename, rm, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Command } from "../command.ts";
import { CliError, isFileTrouble } from "../output/errors.ts";
import { withControlPlane } from "./with-control-plane.ts";

const silenceMs = 60_000;

/** `backup FILE`: the file is there once it is whole, and never half. */
export const backup: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const { output, invocation, folder } = context;
    const [given = ""] = invocation.args;
    const file = resolve(folder, given);
    const isThere = await access(file).then(
      () => true,
      () => false,
    );
    if (isThere) throw new CliError(2, `${given} already exists: expected the name of a new file`);
    const part = `${file}.part`;
    try {
      // For its owner alone: runs hold prompts and what tools read. Opened first: a folder that is not there costs nothing.
      const target = await open(part, "w", 0o600);
      const write = target.createWriteStream({ flush: true });
      const type = "application/vnd.sqlite3";
      const body = await value(api.http.stream("/v1/backup", silenceMs, signal, type));
      await pipeline(Readable.from(body), write, { signal });
      await rename(part, file);
    } catch (error) {
      await rm(part, { force: true }).catch(() => {});
      if (signal.aborted || !(error instanceof Error) || error instanceof CliError) throw error;
      if (!isFileTrouble(error)) {
        throw new CliError(3, `${given} was not written: ${error.message}`, { cause: error });
      }
      const { code } = error as NodeJS.ErrnoException;
      const why =
        code === "ENOENT" ? "there is no such folder" : `the file can't be made (${code})`;
      throw new CliError(2, `${given} was not written: ${why}`, { cause: error });
    }
    const { size } = await stat(file);
    if (output.isJson) output.json({ file, bytes: size });
    else output.pairs([["backup", `${given} (${size} bytes)`]]);
    return 0;
  });
