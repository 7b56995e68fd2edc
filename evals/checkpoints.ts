import { writeFileSync } from "node:fs";
import { mkdir, open, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { type } from "arktype";
import { isJsonObject, parseJson } from "../machines/contracts/domain/json.ts";
import type { Trial } from "./contracts.ts";
import { digestOfPath } from "./digest.ts";
import { trialShape } from "./report-file.ts";

/*
 * What an eval has done so far, a line of JSON each, kept as it happens:
 *
 *   started   a run was begun for a trial; without the trial's own line it was left in the middle
 *   trial     the trial is over
 *   code      a trial loaded a file of code that nobody knew of before, as by `import()`; with its digest
 *   changed   such a file is not as it was: the trials before this line are of other code, and made again
 *
 * A line is with the system before the next trial of its place begins, so that a kill loses none. It waits for no disk:
 * after a power cut, the trials of the last moments may be made again, as is the one whose line was torn. On a disk that
 * is full a line may be torn too: nothing that comes after it becomes a part of it.
 */

export interface Checkpoints {
  /** The trials that an eval before this one finished, by {@link trialKey}. */
  readonly finished: ReadonlyMap<string, Trial>;
  /** Runs that were begun and whose trials were not finished. */
  readonly left: readonly string[];
  /** Files of code that a trial before had loaded, and that have changed since: its trials are made again. */
  readonly changed: readonly string[];
  /**
   * A trial has loaded code, whose digest this is.
   *
   * @throws ChangedCode where trials before had loaded another
   */
  loaded(file: string, digest: string): Promise<void>;
  started(key: string, runId: string): Promise<void>;
  finish(trial: Trial): Promise<void>;
  close(): Promise<void>;
}

export const trialKey = ({ task_id, epoch }: Pick<Trial, "task_id" | "epoch">): string =>
  JSON.stringify([task_id, epoch]);

/** Opens the checkpoints of an eval, what was there before included. */
export async function openCheckpoints(file: string): Promise<Checkpoints> {
  await mkdir(dirname(file), { recursive: true });
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  const finished = new Map<string, Trial>();
  const open_ = new Map<string, string>();
  const code = new Map<string, string>();
  for (const line of text.split("\n")) {
    const read = parseJson(line);
    if (!read.ok || !isJsonObject(read.value)) continue;
    const { kind, key, run_id: runId, trial, file: loaded, digest } = read.value;
    if (kind === "started" && typeof key === "string" && typeof runId === "string")
      open_.set(key, runId);
    if (kind === "code") code.set(String(loaded), String(digest));
    if (kind === "changed") {
      finished.clear();
      code.clear();
    }
    if (kind !== "trial" || trialShape(trial) instanceof type.errors) continue;
    const known = trial as unknown as Trial;
    finished.set(trialKey(known), known);
    open_.delete(trialKey(known));
  }
  const changed: string[] = [];
  for (const [loaded, digest] of code)
    if ((await digestOfPath(loaded).catch(() => null)) !== digest) changed.push(loaded);
  const handle = await open(file, "a");
  let isTorn = text !== "" && !text.endsWith("\n");
  const add = async (line: object) => {
    const before = isTorn ? "\n" : "";
    isTorn = true;
    try {
      // All of it, however little the system takes at a time.
      writeFileSync(handle.fd, `${before}${JSON.stringify(line)}\n`);
    } catch (error) {
      throw new UnwrittenCheckpoint(file, error as NodeJS.ErrnoException);
    }
    isTorn = false;
  };
  if (changed.length > 0) {
    finished.clear();
    await add({ kind: "changed", files: changed });
  }
  return {
    finished,
    left: [...open_.values()],
    changed,
    async loaded(path, digest) {
      // It was changed after we had looked: the next start finds it so.
      if (finished.size > 0 && code.has(path) && code.get(path) !== digest)
        throw new ChangedCode(path);
      await add({ kind: "code", file: path, digest });
    },
    started: (key, runId) => add({ kind: "started", key, run_id: runId }),
    finish: (trial) => add({ kind: "trial", trial }),
    async close() {
      await handle.datasync().finally(() => handle.close());
    },
  };
}

export class ChangedCode extends Error {
  override readonly name = "ChangedCode";

  constructor(file: string) {
    super(
      `${file} was changed while the eval went on, and trials before had loaded it as it was; the same command makes them again`,
    );
  }
}

export class UnwrittenCheckpoint extends Error {
  override readonly name = "UnwrittenCheckpoint";

  constructor(file: string, cause: NodeJS.ErrnoException) {
    const why = cause.code === "ENOSPC" ? "the disk is full" : cause.message;
    const kept = "what was finished before is kept, and the same command goes on there";
    super(`${file}, where an eval keeps what it has done, can't be written: ${why}; ${kept}`, {
      cause,
    });
  }
}
