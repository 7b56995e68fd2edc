import { stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { Json } from "../machines/contracts/domain/json.ts";
import type { EvalTask } from "./contracts.ts";
import { type BadLine, isWanted, readDataset, readTask, refuseDoubles } from "./datasets.ts";
import type { SuiteDefinition } from "./define.ts";
import { digestOfPath } from "./digest.ts";
import { fixtureOf } from "./fixtures.ts";
import type { SuiteChanges } from "./suite.ts";
import { pathProblem } from "./within.ts";

/* The tasks of a suite: of its datasets, and its own. */

/** Those that can be used, and the lines of those that can not. */
export async function readTasks(
  { datasets = [], tasks: inline = [] }: SuiteDefinition,
  folder: string,
  { dataset: instead }: Pick<SuiteChanges, "dataset">,
): Promise<{ tasks: EvalTask[]; bad: BadLine[] }> {
  const tasks: EvalTask[] = [];
  const bad: BadLine[] = [];
  const entries = instead === undefined ? datasets : [{ path: instead }];
  for (const { path, filter = {}, limit } of entries as NonNullable<typeof datasets>) {
    const read = await readDataset((await placeOf(folder, path)) ?? resolve(folder, path));
    tasks.push(...read.tasks.filter((task) => isWanted(task, filter)).slice(0, limit));
    bad.push(...read.bad);
  }
  for (const [at, value] of instead === undefined ? inline.entries() : []) {
    const from = { file: join(folder, "tasks"), line: at + 1 };
    const read = readTask(value, from);
    if (Array.isArray(read)) bad.push(...read.map((problem) => ({ ...from, problem })));
    else tasks.push(read);
  }
  const single = refuseDoubles(tasks);
  const usable: EvalTask[] = [];
  for (const task of single.tasks) {
    const { fixture, from } = task;
    const problem = fixture === undefined ? null : await pathProblem(dirname(from.file), fixture);
    if (problem === null) usable.push(task);
    else bad.push({ ...from, problem: `fixture: ${problem}` });
  }
  return { tasks: usable, bad: [...bad, ...single.bad] };
}

/** A task with what is in its fixture: another content under the same name is another task. */
export async function asLocked(task: EvalTask): Promise<Json> {
  const { from: _from, ...rest } = task;
  const fixture = fixtureOf(task);
  if (fixture === null) return rest as unknown as Json;
  return { ...rest, content: await digestOfPath(fixture).catch(() => null) } as unknown as Json;
}

/** A path of a suite: beside it, or, as in FerrumDeck's layout, beside the folder of suites. */
export async function placeOf(folder: string, path: string): Promise<string | null> {
  for (const from of [folder, join(folder, "..")]) {
    const place = resolve(from, path);
    if ((await stat(place).catch(() => null)) !== null) return place;
  }
  return null;
}
