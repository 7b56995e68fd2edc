import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type } from "arktype";
import writeFileAtomic from "write-file-atomic";
import { type Json, parseJson } from "../machines/contracts/domain/json.ts";
import type { EvalTask, Observation } from "./contracts.ts";
import { digestOf, digestOfPath } from "./digest.ts";
import { fixtureOf } from "./fixtures.ts";
import { observationShape } from "./report-file.ts";
import type { EvalOptions } from "./run-eval.ts";

/**
 * Observations by the digest of all that they depend on: the task and its fixture, which repetition it is, and what runs
 * it. What only judges them is not part of it: scorers may change, and old observations are judged anew.
 *
 * @param runBy agent, workflow, configuration, models, control plane, version: whatever else makes a trial what it is
 * @param isAllKnown false once code was loaded that `runBy` could not know of: what is seen from then on is not kept
 */
export function openCache(
  folder: string,
  runBy: Json,
  isAllKnown: () => boolean = () => true,
): NonNullable<EvalOptions["cache"]> {
  const fileOf = async (task: EvalTask, epoch: number) => {
    const fixture = fixtureOf(task);
    const { id, input, config } = task;
    const key = digestOf({
      task: { id, input, config },
      // Of the expectations a mock alone would make anything, and it is never kept.
      fixture: fixture === null ? null : await digestOfPath(fixture),
      epoch,
      runBy,
    });
    return join(folder, `${key}.json`);
  };
  return {
    async find(task, epoch) {
      const text = await fileOf(task, epoch)
        .then((file) => readFile(file, "utf8"))
        .catch(() => null);
      const read = text === null ? null : parseJson(text);
      if (read?.ok !== true || observationShape(read.value) instanceof type.errors) return null;
      return read.value as unknown as Observation;
    },
    async keep(task, epoch, seen) {
      if (!isAllKnown()) return;
      const file = await fileOf(task, epoch);
      await mkdir(folder, { recursive: true });
      await writeFileAtomic(file, JSON.stringify(seen));
    },
  };
}
