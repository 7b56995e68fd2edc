import { createHash } from "node:crypto";
import { type } from "arktype";
import { isJsonObject, type Json, type JsonObject } from "../machines/contracts/domain/json.ts";
import { type Shape, shapeProblems } from "../machines/contracts/domain/shape-problems.ts";
import type { EvalTask, Scorer } from "./contracts.ts";
import { type BadLine, isWanted } from "./datasets.ts";
import type { SuiteDefinition, SuiteSettings, TaskFilter } from "./define.ts";
import { digestOf } from "./digest.ts";
import { registry } from "./scorers/all.ts";
import { asLocked, placeOf, readTasks } from "./suite-tasks.ts";
import { expectedEnd } from "./scorers/judging.ts";
import { makeScorer, type ScorerContext, type SuiteScorer } from "./scorers/registry.ts";

const suiteShape = type({
  name: "0 < string <= 100",
  "description?": "string",
  "agent?": "string > 0",
  "datasets?": "object[]",
  "tasks?": "object[]",
  scorers: type("object").array().atLeastLength(1),
  "settings?": "object",
  "gates?": "object",
  "workflow?": "string > 0",
  "config?": "string > 0 | Function",
  "model?": "object",
  "run?": "Function",
});
const texts = "string[]";
const filterShape = type({
  "categories?": texts,
  "tags?": texts,
  "difficulty?": texts,
  "ids?": texts,
});
const datasetShape = type({
  path: "string > 0",
  "filter?": "object",
  "limit?": "number.integer >= 1",
});
const settingsShape = type({
  "timeout_ms?": "1 <= number.integer <= 86400000",
  "max_parallel?": "1 <= number.integer <= 1000",
  "runs?": "1 <= number.integer <= 1000",
  "retries?": "0 <= number.integer <= 100",
  "approvals?": "'approve' | 'reject' | 'none'",
  "pass_threshold?": "0 <= number <= 1",
  "workspace?": "string > 0",
});
const gatesShape = type({
  "pass_rate_threshold?": "0 <= number <= 1",
  "max_cost_increase_percent?": "number >= 0",
  "require_all_categories_pass?": "boolean",
  "max_broken_percent?": "0 <= number <= 100",
  "deterministic?": "boolean",
});

export const standardSettings = {
  timeout_ms: 300_000,
  max_parallel: 1,
  runs: 1,
  retries: 2,
  approvals: "none",
  pass_threshold: 0.5,
} as const satisfies SuiteSettings;

/** A suite, its tasks read and its scorers made. */
export interface Suite {
  definition: SuiteDefinition;
  /** Where its relative paths start. */
  folder: string;
  settings: SuiteSettings & Required<Omit<SuiteSettings, "workspace">>;
  scorers: readonly SuiteScorer[];
  tasks: readonly EvalTask[];
  bad: readonly BadLine[];
  /** Keys of `expected` that no scorer reads, with how many tasks have each. */
  unread: Readonly<Record<string, number>>;
  locks: Readonly<Record<string, string>>;
  /** Digest of all code that was loaded with it; null where it is no code. */
  code: string | null;
}

/** Where in a suite, and what is wrong there. */
export interface SuiteProblem {
  path: readonly (string | number)[];
  problem: string;
}

export interface SuiteSource {
  /** As it was read, functions included where it is TypeScript. */
  given: unknown;
  folder: string;
  /** The text of its file, which its lock is made of: what a function does is seen nowhere else. */
  text: string;
  /** Of a suite that is code, the digest of its file and of each that it imports. */
  code?: string | null;
}

/** What a command line changes of a suite. */
export interface SuiteChanges {
  /** A dataset in place of the suite's, absolute. */
  dataset?: string;
  filter: TaskFilter;
  maxTasks?: number;
  settings: SuiteSettings;
  agent?: string;
}

/**
 * Reads a suite whole: its datasets, and its scorers made. Lines of datasets that can't be used are in `bad`; whoever
 * runs the suite says whether they are passed over.
 */
export async function readSuite(
  { given, folder, text, code = null }: SuiteSource,
  context: Omit<ScorerContext, "folder">,
  changes: SuiteChanges,
): Promise<Suite | SuiteProblem[]> {
  const problems = findProblems(given);
  if (problems.length > 0) return problems;
  const own = given as SuiteDefinition;
  const definition = changes.agent === undefined ? own : { ...own, agent: changes.agent };
  const scorers = readScorers(definition, { ...context, folder }, problems);
  const { tasks: read, bad } = await readTasks(definition, folder, changes);
  if (definition.run === undefined && definition.workflow !== undefined) {
    const found = await placeOf(folder, definition.workflow);
    if (found === null)
      problems.push({ path: ["workflow"], problem: `there is no file ${definition.workflow}` });
  }
  if (problems.length > 0) return problems;
  const wanted = read.filter((task) => isWanted(task, changes.filter));
  const tasks = wanted.slice(0, changes.maxTasks);
  const settings = { ...standardSettings, ...definition.settings, ...changes.settings };
  return {
    definition,
    folder,
    settings,
    scorers,
    tasks,
    bad,
    unread: unreadOf(tasks, scorers),
    code,
    locks: {
      suite: createHash("sha256").update(text).digest("hex"),
      dataset: digestOf(await Promise.all(tasks.map(asLocked))),
      ...Object.fromEntries(scorers.flatMap(({ scorer }) => lockOf(scorer, definition.scorers))),
    },
  };
}

/** A judge's own, and the text of a scorer that the suite brings: it may stand in another file. */
function lockOf(
  scorer: Scorer,
  given: SuiteDefinition["scorers"],
): [name: string, digest: string][] {
  const { name, lock, score } = scorer;
  if (lock !== undefined) return [[`judge:${name}`, lock]];
  if (!given.some((entry) => entry === scorer)) return [];
  return [[`scorer:${name}`, createHash("sha256").update(String(score)).digest("hex")]];
}

function findProblems(given: unknown): SuiteProblem[] {
  const problems: SuiteProblem[] = [];
  const check = (value: unknown, shape: Shape, path: (string | number)[]) => {
    for (const found of shapeProblems(value as Json, shape))
      problems.push({ path: [...path, ...found.path], problem: found.problem });
  };
  check(given, suiteShape, []);
  if (!isJsonObject(given)) return problems;
  const { name, datasets, settings, gates } = given;
  // Reports and baselines are called by it.
  if (typeof name === "string" && /^\.|[/\\\p{Cc}]/u.test(name))
    problems.push({
      path: ["name"],
      problem: `expected a name that a file may have, without / and not begun by a dot, not ${JSON.stringify(name)}`,
    });
  if (settings !== undefined) check(settings, settingsShape, ["settings"]);
  if (gates !== undefined) check(gates, gatesShape, ["gates"]);
  if (isJsonObject(gates) && gates["require_all_categories_pass"] === true)
    if (gates["pass_rate_threshold"] === undefined)
      problems.push({
        path: ["gates", "require_all_categories_pass"],
        problem: "expected `pass_rate_threshold` beside it: what each category must reach",
      });
  for (const [at, dataset] of (Array.isArray(datasets) ? datasets : []).entries()) {
    check(dataset, datasetShape, ["datasets", at]);
    const filter = isJsonObject(dataset) ? dataset["filter"] : undefined;
    if (filter !== undefined) check(filter, filterShape, ["datasets", at, "filter"]);
  }
  if (datasets === undefined && given["tasks"] === undefined)
    problems.push({ path: [], problem: "expected `datasets`, or `tasks`" });
  return problems;
}

function readScorers(
  { scorers }: SuiteDefinition,
  context: ScorerContext,
  problems: SuiteProblem[],
): SuiteScorer[] {
  const made: SuiteScorer[] = [];
  for (const [at, entry] of scorers.entries()) {
    if ("score" in entry && typeof entry.score === "function") {
      made.push({ scorer: entry as SuiteScorer["scorer"], weight: 1, required: true });
      continue;
    }
    const one = makeScorer(entry as JsonObject, registry, context);
    if (Array.isArray(one))
      problems.push(
        ...one.map(({ path, problem }) => ({ path: ["scorers", at, ...path], problem })),
      );
    else made.push(one);
  }
  const names = made.map(({ scorer }) => scorer.name);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) {
    const problem = `two scorers are called "${twice}": give each a \`name\` of its own`;
    problems.push({ path: ["scorers"], problem });
  }
  return made;
}

function unreadOf(tasks: readonly EvalTask[], scorers: readonly SuiteScorer[]) {
  const read = new Set([expectedEnd, ...scorers.flatMap(({ scorer }) => scorer.reads)]);
  const unread: Record<string, number> = {};
  for (const { expected } of tasks) {
    for (const key of Object.keys(expected))
      if (!read.has(key)) unread[key] = (unread[key] ?? 0) + 1;
  }
  return unread;
}
