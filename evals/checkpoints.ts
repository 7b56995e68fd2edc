import { writeSync } from "node:fs";
import { mkdir, open, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { type } from "arktype";
import { isJsonObject, parseJson } from "../machines/contracts/domain/json.ts";
import type { Trial } from "./contracts.ts";
import { trialShape } from "./report-file.ts";

/*
 * What an eval has done so far, a line of JSON each, kept as it happens:
 *
 *   started   a run was begun for a trial; without the trial's own line it was left in the middle
 *   trial     the trial is over
 *
 * A line is with the system before the next trial of its place begins, so that a kill loses none. It waits for no disk:
 * after a power cut, the trials of the last moments may be made again, as is the one whose line was torn.
 */

export interface Checkpoints {
  /** The trials that an eval before this one finished, by {@link trialKey}. */
  readonly finished: ReadonlyMap<string, Trial>;
  /** Runs that were begun and whose trials were not finished. */
  readonly left: readonly string[];
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
  for (const line of text.split("\n")) {
    const read = parseJson(line);
    if (!read.ok || !isJsonObject(read.value)) continue;
    const { kind, key, run_id: runId, trial } = read.value;
    if (kind === "started" && typeof key === "string" && typeof runId === "string")
      open_.set(key, runId);
    if (kind !== "trial" || trialShape(trial) instanceof type.errors) continue;
    const known = trial as unknown as Trial;
    finished.set(trialKey(known), known);
    open_.delete(trialKey(known));
  }
  const handle = await open(file, "a");
  // What comes next must not become a part of a torn line.
  if (text !== "" && !text.endsWith("\n")) await handle.write("\n");
  const add = async (line: object) => {
    writeSync(handle.fd, `${JSON.stringify(line)}\n`);
  };
  return {
    finished,
    left: [...open_.values()],
    started: (key, runId) => add({ kind: "started", key, run_id: runId }),
    finish: (trial) => add({ kind: "trial", trial }),
    async close() {
      await handle.datasync().finally(() => handle.close());
    },
  };
}
